"""Presets of 2025 and 2026: their formulas written out again, and what their sources' code does on chosen results."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards import presets, testing
from finer_rewards import rewards as r
from finer_rewards.rewards.aligned import aligned_columns_of
from finer_rewards.rewards.trajectory import each_call
from finer_rewards.types import Answer, Evidence, Execution, Sample, Status

GOLD = "SELECT name, seats FROM boat WHERE seats > 5 ORDER BY seats"
TRIES = [
    GOLD,
    "SELECT name, seats FROM boat WHERE seats > 5",
    "SELECT seats, name FROM boat",
    "SELECT name FROM boat LIMIT 1",
    "SELECT nme FROM boat",
    "SELECT name, seats FROM boat WHERE seats > 500",
    "```sql\n```",
]


@pytest.fixture(scope="module")
def boats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("db") / "boats.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE boat (name TEXT, seats INT); INSERT INTO boat VALUES ('Ahti', 10), ('Bore', 20), ('Vega', 3)"
    )
    connection.close()
    return path


@pytest.fixture(scope="module")
def seen(boats: Path) -> list[Evidence]:
    parts = [preset() for preset in presets.PRESETS.values() if "memory" not in preset().needs]
    with fr.Scorer(sum(parts[1:], parts[0]), fr.SQLite(workers=1), neighbours=0) as scorer:
        chats = [
            fr.Sample(sql, GOLD, str(boats), "?", calls=TRIES[: number % 4])
            for number, sql in enumerate(TRIES)
        ]
        return scorer.observe(chats)


def of(reward: fr.Reward, evidence: Evidence) -> float:
    found = reward(evidence).value
    assert found is not None
    return found


def match(evidence: Evidence, mode: str = "bird") -> float:
    return of(r.execution_match(mode), evidence)


FORMULAS: dict[str, Any] = {
    "mars_sql": lambda e: match(e) if of(r.executable(), e) else -1,
    "serl_sql": lambda e: match(e) if of(r.executable(), e) else -1,
    "retool_sql": lambda e: (
        2 * match(e)
        + 0.2 * of(r.well_formed(), e)
        + 0.5 * of(r.parses(), e)
        + of(r.schema_linking(), e)
        + 0.1 * (e.predicted is not None and len(e.predicted.rows) > 0)
        - 0.1 * of(r.overlong(), e)
    ),
    "reex_sql": lambda e: (
        2 * of(r.well_formed(), e)
        + 3 * match(e)
        + of(r.exact_set_match(), e)
        + of(r.schema_linking(), e)
        + 2 * (sum(call.predicted.ok for call in e.calls) / len(e.calls) if e.calls else 0)
    ),
    "mtsql_r1": lambda e: (
        match(e, "test_suite")
        + of(r.exact_set_match(), e)
        + 0.8 * (sum(of(r.clause_similarity(), call) for call in e.calls) / len(e.calls) if e.calls else 0)
    ),
    "paverl_sql": lambda e: (
        0.0 if not of(r.executable(), e) else 10 * of(r.aligned_columns(), e) or 0.5
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_a_preset_is_its_formula(name: str, seen: list[Evidence]) -> None:
    values = [of(presets.preset(name), one) for one in seen]
    assert values == pytest.approx([FORMULAS[name](one) for one in seen])
    assert len(set(values)) > 2


def test_falls_cost_more_than_rises_pay_in_sql_astra(seen: list[Evidence]) -> None:
    for one in seen:
        steps = [1.0 if match(e) else 0.8 * of(r.column_recall(empty="accept"), e) for e in (*one.calls, one)]
        pairs = zip([0.0, *steps], steps, strict=False)
        expected = math.fsum(now - before if now > before else 2 * (now - before) for before, now in pairs)
        assert of(presets.sql_astra(), one) == pytest.approx(expected)
    assert max(of(presets.sql_astra(), one) for one in seen) <= 1


A = [("a", 1), ("b", 2), ("c", 3)]
# Found by running PaVeRL-SQL's own code, commit 5ce9a48, on the same results (pandas 3.1.1 with object columns).
PAVERL = [
    (A, A, 10),
    (A, A[::-1], 10),
    (A, [(1, "a", 0), (2, "b", 0), (3, "c", 0)], 10),
    (A, [("a",), ("b",), ("c",)], 5),
    (A, A[:2], 10 * 2 * 2 / 6),
    (A, [*A, ("d", 4)], 10),
    (A, [*A, *[("d", 4)] * 6], 0.5),
    (A, [("a", 1), ("b", 2), ("c", 4)], 5),
    ([(0.5,)], [(0.504,)], 10),
    ([(0.5,)], [(0.51,)], 0.5),
    ([("x",), ("y",), ("y",)], [("x", "x"), ("y", "y")], 40 / 3),
    ([(None,)], [(None,)], 10),
    ([(1,)], [("1",)], 10),
    ([], [], 10),
    ([], [(1,)], 0.5),
]


def _ran(rows: list[Any]) -> Execution:
    width = len(rows[0]) if rows else 1
    return Execution(Status.ok, tuple(map(str, range(width))), tuple(rows))


@pytest.mark.parametrize(("gold", "predicted", "paid"), PAVERL)
def test_paverl_pays_what_its_code_pays(gold: Any, predicted: Any, paid: float) -> None:
    sides = [_ran(rows) for rows in (gold, predicted)]
    evidence = Evidence(Sample("s", "g", "x"), Answer(None, "s"), sides[1], sides[0])
    assert of(presets.paverl_sql(), evidence) == pytest.approx(paid)


CELLS = st.one_of(st.none(), st.integers(0, 3), st.sampled_from([0.5, 1.5]), st.sampled_from("ab"))


@settings(deadline=None)
@given(
    st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[CELLS] * width), min_size=1, max_size=6)),
    st.randoms(),
)
def test_aligned_columns_are_all_found_in_the_same_result_in_any_order(rows: list[Any], random: Any) -> None:
    try:
        [sorted(column) for column in zip(*rows, strict=True)]
    except TypeError:
        return  # values without an order are 0 there
    order = random.sample(range(len(rows[0])), len(rows[0]))
    other = [tuple(row[place] for place in order) for row in random.sample(rows, len(rows))]
    assert aligned_columns_of(rows, other) == 1


def test_open_rl_is_its_formula_in_plain_numbers(boats: Path) -> None:
    gold = "SELECT name, seats FROM boat WHERE seats > 5"
    cases = {
        gold: 0.25 + 2 + 0.8,
        # No match: as many columns, 2 of 3 rows, all values. Names alike, 4 of 8 pairs of words, 54 of 70 characters.
        "SELECT name, seats FROM boat": 0.25
        + 0.3
        + 0.2 * 4 / 8
        + 0.3 * 54 / 70
        + 0.2 * (0.25 + 0.25 * 2 / 3 + 0.5),
        "SELECT nme FROM boat": -0.25 + 0.3 * 1 / 3 + 0.2 * 1 / 10 + 0.3 * 40 / 63,
        "": -0.25,
    }
    with fr.Scorer(presets.open_rl(), fr.SQLite(workers=1), neighbours=0) as scorer:
        found = {
            sql: of(scorer.reward, scorer.observe([fr.Sample(sql, gold, str(boats))])[0]) for sql in cases
        }
    assert found == pytest.approx(cases)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "lo", "hi"),
    [
        ("mars_sql()", -1, 1),
        ("serl_sql()", -1, 1),
        ("mtsql_r1()", 0, 2.8),
        ("open_rl()", -0.25, 3.05),
        ("paverl_sql()", 0, math.inf),
        ("reex_sql()", 0, 9),
        ("retool_sql()", -0.1, 3.8),
        ("sql_astra()", -math.inf, 1),
        ("aligned_columns()", 0, math.inf),
        ("open_rl_result(part='near')", 0, 1),
        ("open_rl_text()", 0, 1),
        ("returns_rows()", 0, 1),
    ],
)
def test_they_keep_to_their_range_and_the_general_laws(call: str, lo: float, hi: float) -> None:
    laws = ["finite", "range", "repeatable", "pickles", "prints", "batch", "blame"]
    testing.check_reward(fr.parse_reward(call), lo=lo, hi=hi, laws=laws, examples=15)


def test_a_call_counts_as_the_answer_does(seen: list[Evidence]) -> None:
    assert of(each_call(r.returns_rows(), how="sum"), seen[3]) == 3
