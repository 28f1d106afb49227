"""Known attacks fail, and controls pass, where generated neighbours take the place of a second instance."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards.rewards import execution_match
from finer_rewards.testsuite import Suite, build_neighbours

#: Whether columns may be permuted is a documented choice; strict permits it.
COLUMN_ORDER = {"compare-06"}
#: It picks a row by another column than the gold: right on the instances it was written for, by chance.
COINCIDENCE = {"control-15"}


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
    ("expectation", "wrong", "known"),
    [("execution_must_be_0", 1.0, COLUMN_ORDER), ("execution_must_be_1", 0.0, COINCIDENCE)],
)
def test_attacks_and_controls(
    items: list[dict[str, Any]],
    suites: dict[str, tuple[str, Suite]],
    expectation: str,
    wrong: float,
    known: set[str],
) -> None:
    chosen = [item for item in items if expectation in (item["expect"], *item["also"])]
    assert chosen
    found = set()
    with fr.Scorer(execution_match(), fr.SQLite(".", timeout=3.0, workers=1)) as scorer:
        for item in chosen:
            path, suite = suites[item["schema_sql"]]
            dbs = (path, *suite.paths_for(item["gold_sql"]))
            if scorer.score_one(fr.Sample(item["completion"], item["gold_sql"], dbs)).value == wrong:
                found.add(item["id"])
    assert found <= known
