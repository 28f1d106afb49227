"""Component names are fixed by the reward; values follow the branch taken."""

from __future__ import annotations

import pytest

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.components import (
    component_metrics,
    component_names,
    component_values,
    distinct_names,
    reason_of,
)
from finer_rewards.types import Evidence

REWARD = fr.rewards.gate(
    condition=r.well_formed(policy="plain"),
    then=2 * r.execution_match() + r.executable() + 0.25 * r.constant(),
)


def evidence(sql: str | None, *, gold_ok: bool = True) -> Evidence:
    rows = fr.Execution(fr.Status.ok, ("a",), ((1,),), tables=frozenset({"t"}))
    sample = fr.Sample(sql or "", "SELECT a FROM t", "db")
    gold = rows if gold_ok else fr.Execution(fr.Status.failed, error="no such table")
    predicted = rows if sql else fr.Execution(fr.Status.no_sql)
    problem = "" if sql else "nothing there"
    return Evidence(sample, fr.Answer("thought", sql, problem), predicted=predicted, gold=gold)


def test_names_are_the_leaves_and_leave_constants_out() -> None:
    assert component_names(REWARD) == ("well_formed", "execution_match", "executable")


def test_a_name_used_twice_is_written_in_full() -> None:
    assert component_names(r.execution_match() + r.execution_match(mode="bird") + r.executable()) == (
        "execution_match()",
        "execution_match(mode='bird')",
        "executable",
    )


def test_distinct_names_of_compositions() -> None:
    assert distinct_names([REWARD, r.executable()]) == ("gate", "executable")


@pytest.mark.parametrize(
    ("sql", "gold_ok", "expected"),
    [
        ("SELECT a FROM t", True, {"well_formed": 1.0, "execution_match": 1.0, "executable": 1.0}),
        ("SELECT a FROM t", False, {"well_formed": 1.0, "execution_match": None, "executable": 1.0}),
        (None, True, {"well_formed": 0.0, "execution_match": None, "executable": None}),
    ],
)
def test_values_have_the_same_keys_whatever_happened(
    sql: str | None, gold_ok: bool, expected: dict[str, float | None]
) -> None:
    assert component_values(REWARD, REWARD(evidence(sql, gold_ok=gold_ok))) == expected


def test_metrics_are_named_after_their_component() -> None:
    leaf = fr.Score(0.5, name="executable()", metrics={"precision": 0.25})
    assert component_metrics(REWARD, fr.Score(1.0, parts=((1, leaf),))) == {"executable/precision": 0.25}


def test_the_reason_of_a_sum_is_that_of_its_parts_once() -> None:
    parts = tuple((1.0, fr.Score(1.0, "it runs", name="executable()")) for _ in range(2))
    assert reason_of(fr.Score(2.0, parts=parts)) == "executable(): it runs"
    assert reason_of(fr.Score(2.0, "own", parts=parts)) == "own"


def test_what_a_tracker_gets_is_numbers_and_the_reasons_that_matter(make_db) -> None:
    db = make_db("tracked", "CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")
    samples = [
        fr.Sample(sql, gold="SELECT a FROM t", db=str(db))
        for sql in (
            "SELECT a FROM t",
            "SELECT a FROM t WHERE a > 1",
            "SELECT a FROM t WHERE a < 2",
            "SELECT b FROM t",
        )
    ]
    with fr.Scorer("execution_match() + executable()", fr.SQLite()) as scorer:
        scores = scorer.score([*samples, fr.Sample("SELECT a FROM t", gold="SELECT nope FROM t", db=str(db))])
        metrics = fr.batch_metrics(scorer.reward, scores)
        assert "execution_match() + executable()" in scorer._repr_html_()
    assert metrics["reward"] == pytest.approx((2 + 1 + 1 + 0) / 4) and metrics["unscorable"] == 0.2
    assert metrics["executable"] == pytest.approx(4 / 5)  # that of an unusable gold runs too
    whys = {name: value for name, value in metrics.items() if name.startswith("why/")}
    assert max(whys.values()) == pytest.approx(0.4) and not any(
        sign.isdigit() for name in whys for sign in name
    )
