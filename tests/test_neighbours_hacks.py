"""Known attacks fail, and controls pass, where generated neighbours take the place of a second instance."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards.neighbours import Suite, build_neighbours

#: Whether columns may be permuted is a documented choice; strict permits it.
COLUMN_ORDER = {"compare-06"}


@pytest.fixture(scope="module")
def items(shared_data: Path) -> list[dict[str, Any]]:
    with (shared_data / "hacks" / "hacks.jsonl").open(encoding="utf-8") as lines:
        return [item for item in map(json.loads, lines) if item["gold_sql"]]


@pytest.fixture(scope="module")
def suites(
    items: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[str, Suite]]:
    folder = tmp_path_factory.mktemp("hacks")
    found = {}
    for number, script in enumerate(dict.fromkeys(item["schema_sql"] for item in items)):
        path = folder / f"hack{number}.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
        golds = [item["gold_sql"] for item in items if item["schema_sql"] == script]
        found[script] = (str(path), build_neighbours(path, golds, workers=1, timeout=1.0))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reward", "full"), [("execution_match()", 1.0), ("finer(memory=False)", 4.0), ("atomic_f1()", 1.0)]
)
def test_attacks_and_controls(
    items: list[dict[str, Any]], suites: dict[str, tuple[str, Suite]], reward: str, full: float
) -> None:
    paid, refused = set(), set()
    tried: Counter[str] = Counter()
    with fr.Scorer(reward, fr.SQLite(".", timeout=3.0, workers=1)) as scorer:
        for item in items:
            path, suite = suites[item["schema_sql"]]
            dbs = (path, *suite.paths_for(item["gold_sql"]))
            expected = {item["expect"], *item["also"]} & {"execution_must_be_0", "execution_must_be_1"}
            value = (
                scorer.score_one(fr.Sample(item["completion"], item["gold_sql"], dbs)).value
                if expected
                else None
            )
            tried.update(expected)
            if "execution_must_be_0" in expected and value == full:
                paid.add(item["id"])
            if "execution_must_be_1" in expected and value is not None and value < full:
                refused.add(item["id"])
    assert tried["execution_must_be_0"] > 90 and tried["execution_must_be_1"] > 10
    assert paid <= COLUMN_ORDER
    # The structure of a query is not what it does: what is right in other words has less than the gold.
    assert refused == set() or reward == "atomic_f1()"


@pytest.mark.slow
def test_the_right_answer_is_above_every_attack(
    items: list[dict[str, Any]], suites: dict[str, tuple[str, Suite]]
) -> None:
    level, tried = set(), 0
    with fr.Scorer("finer(memory=False)", fr.SQLite(".", timeout=3.0, workers=1)) as scorer:
        for item in items:
            right_too = {"execution_must_be_1", "execution_must_be_1_or_masked"} & {
                item["expect"],
                *item["also"],
            }
            if item["kind"] in ("control", "gold") or right_too:
                continue
            path, suite = suites[item["schema_sql"]]
            dbs = (path, *suite.paths_for(item["gold_sql"]))
            attack, right = scorer.score(
                [fr.Sample(item[text], item["gold_sql"], dbs) for text in ("completion", "honest_correct")]
            )
            tried += 1
            if attack.value is None or right.value is None or attack.value >= right.value:
                level.add(item["id"])
    assert tried > 90
    assert level <= COLUMN_ORDER
