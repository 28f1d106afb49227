"""The atomic reward on top of the operations."""

from __future__ import annotations

import pytest

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.errors import ConfigError
from finer_rewards.reward import Reward

GOLD = "SELECT name FROM singer WHERE age > 40 ORDER BY age LIMIT 3"


def score(sql: str, reward: Reward | None = None, gold: str | tuple[str, ...] = GOLD) -> fr.Score:
    return fr.Scorer(reward or r.atomic_f1(), parse=lambda text: fr.Answer(None, text or None)).score_one(
        fr.Sample(sql, gold, "x.sqlite")
    )


def test_rank_follows_how_much_is_right() -> None:
    ladder = [
        "SELECT name FROM singer WHERE age > 40 ORDER BY age LIMIT 3",
        "SELECT name FROM singer WHERE age > 40 ORDER BY age",
        "SELECT name FROM singer WHERE age > 40",
        "SELECT name FROM singer",
        "SELECT id FROM concert",
    ]
    values = [float(score(sql)) for sql in ladder]
    assert values[0] == 1.0 and values == sorted(values, reverse=True) and len(set(values)) == len(values)


def test_text_that_is_no_query_scores_0_and_says_where() -> None:
    broken = score("SELECT name FROM singer WHERE (age > 40")
    assert broken.value == 0.0 and broken.status is fr.Status.failed and "line 1" in broken.reason
    assert score("").value == 0.0
    assert score("DROP TABLE singer").value == 0.0


def test_a_broken_gold_has_no_value_but_one_good_gold_is_enough() -> None:
    assert score(GOLD, gold="SELECT FROM WHERE").status is fr.Status.gold_unparsed
    assert score(GOLD, gold=("SELECT FROM WHERE", GOLD)).value == 1.0
    assert score(GOLD, gold=()).status is fr.Status.no_gold


def test_leaving_out_a_clause_shows_in_recall_and_can_be_made_to_hurt() -> None:
    short = "SELECT name FROM singer"
    plain = score(short)
    assert plain.metrics["precision"] > plain.metrics["recall"]
    assert (plain.metrics["where_gold"], plain.metrics["where_predicted"]) == (1.0, 0.0)
    assert float(score(short, r.atomic_f1(beta=3.0))) < float(plain)
    assert float(score(short, r.atomic_f1(ignore=("from", "query", "columns")))) < float(plain)


def test_jaccard_and_f1_agree_on_the_order() -> None:
    for sql in ("SELECT name FROM singer", "SELECT name FROM singer WHERE age > 41 LIMIT 3"):
        f1, jaccard = float(score(sql)), float(score(sql, r.atomic_f1(metric="jaccard")))
        assert jaccard == pytest.approx(f1 / (2 - f1))


def test_the_published_shape() -> None:
    sql = "SELECT name FROM singer"
    plain = float(score(sql, r.atomic_f1(metric="jaccard")))
    shaped = float(score(sql, r.atomic_f1(metric="jaccard", shape=(0.05, 0.79, 0.2))))
    assert shaped == pytest.approx(0.05 * plain + 0.95 * 0.79 * plain**0.2)


def test_partial_credit_lies_between_nothing_and_all() -> None:
    near, far = "SELECT name FROM singer WHERE age > 41", "SELECT name FROM singer WHERE id IS NULL"
    gold = "SELECT name FROM singer WHERE age > 40"
    partial = r.atomic_f1(partial=0.5)
    assert float(score(near, gold=gold)) == float(score(far, gold=gold))
    assert float(score(near, gold=gold)) < float(score(near, partial, gold)) < 1.0
    assert float(score(far, partial, gold)) < float(score(near, partial, gold))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: r.atomic_f1(ignore=("form",)), "Did you mean 'from'"),
        (lambda: r.atomic_f1(beta=0.0), "positive"),
        (lambda: r.atomic_f1(partial=1.0), "from 0 to below 1"),
        (lambda: r.atomic_f1(shape=(2.0, 0.5, 0.2)), r"\(0.05, 0.79, 0.2\)"),
        (lambda: r.atomic_f1(metric="f2"), "should be 'f1' or 'jaccard'"),  # type: ignore[arg-type]
    ],
)
def test_a_parameter_out_of_range_is_refused_when_built(build: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT a FROM t", "SELECT a FROM u"),
        ("SELECT a FROM t JOIN u ON t.i = u.i", "SELECT a FROM t LEFT JOIN u ON t.i = u.i"),
        ("WITH x AS (SELECT a FROM t WHERE b > 1) SELECT a FROM x", "SELECT a FROM x"),
        ("SELECT SUM(a) - SUM(b) FROM t", "SELECT SUM(a) - SUM(c) FROM t"),
    ],
)
def test_the_published_code_takes_different_queries_for_equal_and_ours_does_not(one: str, other: str) -> None:
    assert score(one, r.atomic_reference(), other).value == pytest.approx(0.05 + 0.95 * 0.79)
    assert float(score(one, r.atomic_f1(), other)) < 1.0


def test_the_published_code_cannot_read_a_literal_column() -> None:
    assert score("SELECT 1, a FROM t", r.atomic_reference(), "SELECT 1, a FROM t").value == 0.0


def test_one_operation_in_common_is_worth_much_to_the_published_code() -> None:
    sql, gold = "SELECT x FROM t LIMIT 1", "SELECT a, b FROM u WHERE c > 2 AND d = 3 LIMIT 1"
    assert 0.4 < float(score(sql, r.atomic_reference(), gold)) < 0.6
