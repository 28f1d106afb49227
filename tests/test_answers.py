"""Answers without SQL: the WikiTableQuestions rules, and that returning everything earns nothing."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.errors import ConfigError
from finer_rewards.rewards.answer import answer_overlap, answer_recall, answers_equal, normalized, value_of
from finer_rewards.types import Answer, Evidence, Execution, Sample, Status

ITEMS = st.lists(
    st.sampled_from(
        ["Oslo", "oslo", "Ósló", "12", 12, 12.0, "12.0", "2011-05-06", "2011-5-6", "x (y)", "", None, 0.1]
    )
    | st.integers(0, 3),
    max_size=5,
)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("  Two   words\n", "two words"),
        ("Café Zürich", "cafe zurich"),
        ("“quoted”", "quoted"),
        ("rock ’n’ roll", "rock 'n' roll"),
        ("1990–91", "1990-91"),
        ("Name[1][note 2]", "name"),
        ("Name†‡*", "name"),
        ("Name (born 1970) (died)", "name"),
        ("(all of it)", "(all of it)"),
        ("End.", "end"),
        ("[5]", ""),
        ("[x]", "[x]"),
    ],
)
def test_normalisation_rule_by_rule(text, expected):
    assert normalized(text) == expected


def test_normalisation_takes_linear_time_on_hostile_text():
    for piece in ("[1]", "[", " (a", "*", '"', "[1"):
        normalized(piece * 600 + "x")
        normalized(piece * 30_000)


def test_values():
    assert value_of("1,234.5").number == 1234.5
    assert value_of("1,23").number is None
    assert value_of("2011-xx-xx").number == 2011
    assert value_of("xx-13-01").date is None
    assert value_of(3.0000001).number == 3
    assert value_of(None) != value_of("None") and value_of(b"a") != value_of("a")
    assert value_of("nan").number is None and value_of(float("inf")).number is None


def rows(items):
    return [(item,) for item in items]


@given(ITEMS, st.randoms())
def test_an_answer_is_itself_in_any_order_and_shape(items, random):
    shuffled = random.sample(items, len(items)) + items[:1]
    assert answers_equal(rows(items), rows(shuffled))
    assert answers_equal(rows(items), [tuple(shuffled)] if shuffled else [])
    if items:
        assert answer_overlap(rows(items), rows(shuffled)) == 1


@given(ITEMS, ITEMS)
def test_equal_is_the_top_of_overlap_and_more_items_are_a_hedge(gold, predicted):
    overlap = answer_overlap(rows(gold), rows(predicted))
    distinct = [len({value_of(item).key for item in side}) for side in (gold, predicted)]
    if distinct[1] > distinct[0]:
        assert overlap == 0 and not answers_equal(rows(gold), rows(predicted))
    else:
        assert overlap == answer_recall(rows(gold), rows(predicted))
        assert answers_equal(rows(gold), rows(predicted)) == (overlap == 1 and distinct[0] == distinct[1])


def test_answers_of_several_columns_keep_their_rows():
    gold = [("a", 1), ("b", 2)]
    assert answers_equal(gold, [("B", 2.0), ("a", "1")])
    assert not answers_equal(gold, [("a", 2), ("b", 1)])
    assert not answers_equal(gold, [("a",), ("b",)])
    assert answer_overlap(gold, [("b", 2)]) == 0.5


def against(answer, predicted):
    return Evidence(Sample("", (), "x", answer=answer), Answer(None, "SELECT a FROM t"), predicted=predicted)


@pytest.mark.parametrize("cell", [date(2020, 1, 1), datetime(2020, 1, 1), Decimal("1.5"), ("a",)])
def test_an_answer_of_other_types_is_refused_when_it_is_given(cell):
    with pytest.raises(ConfigError, match="numbers, text, bytes or None"):
        Sample("", (), "x", answer=((1, "a"), (cell, "b")))


def test_blame_and_guesses():
    run = Execution(Status.ok, ("a",), (("Oslo",),), tables=frozenset({"t"}))
    guess = Execution(Status.ok, ("a",), (("Oslo",),), tables=frozenset())
    for factory in (r.answer_match, r.answer_coverage):
        assert factory()(against((("oslo",),), run)).value == 1
        assert factory()(against((("oslo",),), guess)).value == 0
        assert factory(require_base_table=False)(against((("oslo",),), guess)).value == 1
        assert factory()(against((("oslo",),), Execution(Status.timeout))).value == 0
        assert factory()(against((("oslo",),), None)).value == 0
        assert factory()(against((), run)).status is Status.gold_empty
        assert factory()(against(None, run)).status is Status.no_gold
        assert factory()(against((("oslo",),), Execution(Status.unavailable))).value is None


def test_answers_end_to_end(make_db):
    db = make_db(
        "cities",
        "CREATE TABLE city (name TEXT, people INT); INSERT INTO city VALUES ('Oslo', 700000), ('Rome', 2800000)",
    )
    queries = {
        "SELECT name FROM city WHERE people < 1000000": (1.0, 1.0),
        "SELECT people FROM city WHERE name = 'Oslo'": (0.0, 0.0),
        "SELECT * FROM city": (0.0, 0.0),
        "SELECT 'Oslo'": (0.0, 0.0),
        "SELECT nothing FROM city": (0.0, 0.0),
    }
    samples = [fr.Sample(sql, gold=(), db=str(db), answer=(("oslo",),)) for sql in queries]
    reward = r.answer_match() + 10 * r.answer_coverage()
    with fr.Scorer(reward, fr.SQLite(timeout=5)) as scorer:
        scores = scorer.score(samples)
    assert [score.value for score in scores] == [match + 10 * share for match, share in queries.values()]


def wtq(folder, step):
    """Every `step`-th question: its answer, and the name of its table."""
    lines = (folder / "questions" / "wtq.tsv").read_text(encoding="utf-8").split("\n")[1:]
    for line in [line for line in lines if line][::step]:
        _, _, context, target = line.split("\t")
        _, batch, file = context.split("/")
        items = (
            item.replace("\\n", "\n").replace("\\p", "|").replace("\\\\", "\\") for item in target.split("|")
        )
        yield tuple((item,) for item in items), f"{batch.removesuffix('-csv')}_{file.removesuffix('.csv')}"


@pytest.mark.parametrize("step", [100, pytest.param(1, marks=pytest.mark.slow)])
def test_wikitablequestions_pays_answers_and_not_the_whole_table(shared_data, step):
    questions = list(wtq(shared_data, step))
    assert len(questions) >= 79
    samples = []
    for answer, table in questions:
        values = ", ".join("('" + item.replace("'", "''") + "')" for (item,) in answer)
        itself = f"SELECT column1 FROM (VALUES {values}) WHERE (SELECT count(*) FROM w) > 0"
        for sql in (itself, "SELECT * FROM w", f"SELECT column1 FROM (VALUES {values})"):
            samples.append(fr.Sample(sql, gold=(), db=table, answer=answer))
    tables = shared_data / "other" / "squall" / "tables" / "db"
    with fr.Scorer(r.answer_match() + r.answer_coverage(), fr.SQLite(tables, timeout=30)) as scorer:
        values = [score.value for score in scorer.score(samples)]
    assert values[0::3] == [2.0] * len(questions)
    assert values[1::3] == [0.0] * len(questions)
    assert values[2::3] == [0.0] * len(questions)
