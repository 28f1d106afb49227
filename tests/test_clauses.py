"""Clause credit: what each clause is worth, where it stands, and which tokens get it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.adapters.trl import TRLReward
from finer_rewards.adapters.trl_clauses import ClauseCredit, clause_gains, token_credit
from finer_rewards.errors import ConfigError
from finer_rewards.testing import queries
from finer_rewards.types import Answer, Evidence, Span

GOLD = "SELECT a, count(*) FROM t WHERE b > 1 GROUP BY a HAVING count(*) > 2"


def score(completion: str, gold: str = GOLD, right: float = 0.0) -> fr.Score:
    sample = fr.Sample(completion, gold, "x.sqlite")
    return r.clause_credit(right=r.constant(right))(Evidence(sample, fr.parse_completion(completion)))


def credits(found: fr.Score) -> list[tuple[str, float]]:
    return [(span.clause, span.credit) for span in found.spans]


def texts(completion: str, found: fr.Score) -> list[str]:
    return [completion[span.start : span.end] for span in found.spans]


def test_each_clause_stands_where_it_is_written_and_is_worth_what_is_right_in_it() -> None:
    completion = (
        "<think>SELECT a FROM t, I say</think>SELECT a, count(*) FROM t WHERE b > 7 GROUP BY a LIMIT 3"
    )
    found = score(completion)
    assert credits(found)[1:] == [
        ("from", 1.0), ("where", 0.0), ("group_by", 1.0), ("having", 0.0), ("order_by", 1.0), ("limit", 0.0),
    ]  # fmt: skip
    assert found.spans[0].credit == 1
    assert texts(completion, found) == [
        "SELECT a, count(*) ", "FROM t ", "WHERE b > 7 ", "GROUP BY a ", "", "", "LIMIT 3",
    ]  # fmt: skip
    there = [span.credit for span in found.spans if span.clause != "order_by"]  # neither has one
    assert found.value == pytest.approx(sum(there) / 6)


def test_what_is_in_brackets_belongs_to_the_clause_around_it() -> None:
    sql = "SELECT a, (SELECT max(x) FROM u WHERE y) FROM t JOIN u ON t.i = u.i WHERE a IN (SELECT 1 FROM u) LIMIT 3"
    found = score(sql, sql)
    assert [text.split()[0] for text in texts(sql, found) if text] == ["SELECT", "FROM", "WHERE", "LIMIT"]
    assert {credit for _, credit in credits(found)} == {1.0}


def test_a_right_answer_has_full_credit_however_it_is_written() -> None:
    found = score("SELECT a FROM t WHERE b > 0", right=1.0)
    assert found.value == 1
    assert {credit for _, credit in credits(found)} == {1.0}


def test_what_has_no_sql_has_no_spans(tmp_path: Path) -> None:
    for completion in ("<think>I do not know.</think>", "SELECT FROM WHERE (", ""):
        found = score(completion)
        assert (found.value, found.spans) == (0.0, ())
    broken = score("SELECT a FROM t", "SELECT FROM (")
    assert broken.value is None
    missing = fr.Scorer("clause_credit()", fr.SQLite(tmp_path, workers=1))
    assert missing.score_one(fr.Sample("SELECT 1", "SELECT 1", "none")).value is None


@given(queries(), queries())
def test_spans_follow_one_another_and_lie_in_the_text(predicted: object, gold: object) -> None:
    sql = str(predicted)
    found = score(sql, str(gold))
    assert found.value is not None and 0 <= found.value <= 1
    assert {span.clause for span in found.spans} >= {"select", "from", "where", "limit"}
    ends = [0, *(span.end for span in found.spans)]
    for end, span in zip(ends, found.spans, strict=False):
        assert span.start == end <= span.end <= len(sql)
        assert 0 <= span.credit <= 1


SPANS = st.lists(st.tuples(st.integers(0, 6), st.floats(0, 1)), min_size=1, max_size=7)


@given(SPANS, st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_every_span_reaches_a_token(made: list[tuple[int, float]], lengths: list[int]) -> None:
    spans, at = [], 0
    for number, (length, credit) in enumerate(made):
        spans.append(Span(str(number), at, at + length, credit))
        at += length
    ends = [sum(lengths[: n + 1]) for n in range(len(lengths))]
    found = token_credit(spans, ends)
    assert len(found) == len(ends)
    for value, end in zip(found[:-1], ends[:-1], strict=True):
        own = sum(span.credit for span in spans if span.start < end <= span.end)
        assert value >= own - 1e-9
    assert token_credit([], ends) == [0.0] * len(ends)
    assert token_credit(spans, []) == []


def test_clauses_are_compared_within_their_group() -> None:
    def one(*credit: float) -> list[Span]:
        return [Span(f"{n}", n, n + 1, value) for n, value in enumerate(credit)]

    found = clause_gains([one(1, 0), one(0, 0), [], one(1, 1), one(1, 0)], 3)
    assert [[span.credit for span in spans] for spans in found] == [
        [0.5, 0],
        [-0.5, 0],
        [],
        [0, 0.5],
        [0, -0.5],
    ]


@pytest.fixture
def reward(tmp_path: Path) -> Iterator[TRLReward]:
    with fr.Scorer("execution_match()", fr.SQLite(tmp_path, workers=1)) as scorer:
        yield TRLReward(scorer)


def test_the_mixin_asks_for_a_reward_with_spans(reward: TRLReward) -> None:
    with pytest.raises(ConfigError, match="with clause_credit"):
        ClauseCredit(clauses=reward)


def test_an_answer_is_found_after_the_thought_that_tried_it() -> None:
    sql = "SELECT a FROM t"
    completion = f"<think>{sql}?</think>{sql}"
    sample = fr.Sample(completion, sql, "x.sqlite")
    found = r.clause_credit(right=r.constant())(Evidence(sample, Answer("", sql)))
    assert found.spans[0].start == completion.rfind(sql)
