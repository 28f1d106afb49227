"""What public reports say goes wrong elsewhere: each case has the value that it should have.

Skipped without the data folder; `test_right_results`, `test_comparing_own` and the tests of operations state each
kind as a law without it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards.rewards import atomic_f1, execution_match


@pytest.fixture(scope="module")
def cases(shared_data: Path) -> list[dict[str, Any]]:
    with (shared_data / "cases" / "bug_reports.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def executor() -> Iterator[fr.SQLite]:
    with fr.SQLite("/", workers=1, timeout=10) as made:
        yield made


def value_of(case: dict[str, Any], mode: str, folder: Path, executor: fr.SQLite) -> float | None:
    path = folder / f"{sha256(case['schema_sql'].encode()).hexdigest()[:12]}.sqlite"
    if not path.exists():
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(case["schema_sql"])
    reward = atomic_f1() if mode == "atomic_f1" else execution_match(mode=mode)
    with fr.Scorer(reward, executor, neighbours=0) as scorer:
        return scorer.score_one(fr.Sample(case["predicted"], case["gold"], str(path))).value


def test_every_case_has_its_value(
    cases: list[dict[str, Any]], executor: fr.SQLite, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cases")
    assert len(cases) == 46
    wrong = {}
    for case in cases:
        expected = case["expected"]
        value = value_of(case, case["mode"], folder, executor)
        right = (value is not None and value < 1) if expected == "<1" else value == expected
        if not right:
            wrong[case["id"]] = (value, expected)
    assert not wrong


def test_under_the_default_what_is_open_is_open_or_a_right_choice(
    cases: list[dict[str, Any]], executor: fr.SQLite, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cases")
    strict = [case for case in cases if case["mode"] == "strict"]
    found = {case["id"]: (value_of(case, "answer", folder, executor), case["expected"]) for case in strict}
    assert found
    assert not {
        name: pair
        for name, pair in found.items()
        if pair[0] not in ((None, 1.0) if pair[1] is None else (pair[1],))
    }
