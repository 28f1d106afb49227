"""Known attacks fail, and controls pass, on one database with the neighbours that a scorer builds by itself."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr

#: Whether columns may be permuted is a documented choice; modes of our own permit it.
COLUMN_ORDER = {"compare-06"}
#: What merely repeats or merges rows of the right answer.
REPEATS = {"compare-01", "attack-n39", "attack-p10"}
FULL = {"execution_match": 1.0, "finer": 4.0}


@pytest.fixture(scope="module")
def items(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Both collections, each item with its database."""
    folder = tmp_path_factory.mktemp("hacks")
    found = []
    files: dict[str, str] = {}
    for name in ("hacks.jsonl", "hacks_2026-11-30.jsonl"):
        with (shared_data / "hacks" / name).open(encoding="utf-8") as lines:
            found += [item for item in map(json.loads, lines) if item["gold_sql"]]
    for item in found:
        script = item["schema_sql"]
        if script not in files:
            files[script] = str(folder / f"hack{len(files)}.sqlite")
            with closing(sqlite3.connect(files[script])) as connection:
                connection.executescript(script)
        item["db"] = files[script]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["answer", "strict"])
@pytest.mark.parametrize("reward", ["execution_match(mode='{}')", "finer(mode='{}', memory=False)"])
def test_attacks_and_controls(items: list[dict[str, Any]], reward: str, mode: str) -> None:
    spec = reward.format(mode)
    full = FULL[spec.partition("(")[0]]
    samples = [
        fr.Sample(item["completion"], item["gold_sql"], item["db"], item["question"]) for item in items
    ]
    with fr.Scorer(spec, fr.SQLite(".", timeout=3.0, workers=1)) as scorer:
        scores = scorer.score(samples)
    expected = [{item["expect"], *item["also"]} for item in items]
    attacks = [
        item["id"] for item, wanted in zip(items, expected, strict=True) if "execution_must_be_0" in wanted
    ]
    paid = {item["id"] for item, score in zip(items, scores, strict=True) if score.value == full} & set(
        attacks
    )
    refused = {
        item["id"]
        for item, score, wanted in zip(items, scores, expected, strict=True)
        if "execution_must_be_1" in wanted and score.value is not None and score.value < full
    }
    assert len(attacks) > 140
    assert paid <= COLUMN_ORDER | (REPEATS if mode == "answer" else set())
    assert refused == set()


@pytest.mark.slow
def test_the_right_answer_is_above_every_attack(items: list[dict[str, Any]]) -> None:
    level, tried = set(), 0
    with fr.Scorer("finer(memory=False)", fr.SQLite(".", timeout=3.0, workers=1)) as scorer:
        for item in items:
            right_too = {"execution_must_be_1", "execution_must_be_1_or_masked"} & {
                item["expect"],
                *item["also"],
            }
            if item["kind"] in ("control", "gold") or right_too:
                continue
            attack, right = scorer.score(
                [
                    fr.Sample(item[text], item["gold_sql"], item["db"], item["question"])
                    for text in ("completion", "honest_correct")
                ]
            )
            tried += 1
            if attack.value is None or right.value is None or attack.value >= right.value:
                level.add(item["id"])
    assert tried > 90
    assert level <= COLUMN_ORDER | REPEATS
