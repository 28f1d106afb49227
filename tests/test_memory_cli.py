"""`finer-rewards memory`, and the memory in a scorer from end to end."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy", reason="the memory extra is not installed")

from finer_rewards.cli import main
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.memory import TraceMemory
from finer_rewards.rewards import execution_match, memory
from finer_rewards.scoring import Scorer
from finer_rewards.types import Sample

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, city TEXT, age INTEGER);
INSERT INTO customers VALUES (1,'Alice','Oslo',34),(2,'Bob','Bergen',51),(3,'Carla','Oslo',28);
"""
COUNT = (
    "The question asks how many customers live in a city. The table customers has the column city, so I filter the "
    "rows of customers by city and count the rows that remain; the age and the name play no part here."
)
SORT = (
    "The customers should be listed by age. The table customers has the columns name and age, so I sort the rows of "
    "customers by age in descending order and return the name of each; no filter is needed on the city."
)


def completion(thought: str, sql: str) -> str:
    return f"<think>\n{thought}\n</think>\n\n{sql}"


@pytest.fixture
def databases(make_db: Callable[..., Path]) -> Path:
    make_db("shop", SHOP)
    return make_db("store", SHOP).parent


@pytest.fixture
def completions(tmp_path: Path) -> Path:
    gold = "SELECT COUNT(*) FROM customers WHERE city = 'Oslo'"
    ages = "SELECT name FROM customers ORDER BY age DESC"
    rows = [
        {
            "completion": completion(COUNT, gold),
            "gold": gold,
            "db_id": "shop",
            "question": "How many in Oslo?",
        },
        {
            "completion": completion(SORT, ages),
            "query": ages,
            "db_id": "shop",
            "question": "By age?",
            "step": 3,
        },
        {
            "completion": completion(COUNT, "SELECT 2"),
            "gold": gold,
            "db_id": "store",
            "question": "How many in Oslo?",
        },
        {
            "completion": completion("Easy.", gold),
            "gold": gold,
            "db_id": "shop",
            "question": "How many in Oslo?",
        },
    ]
    path = tmp_path / "completions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_build_search_stats_verify_export(
    tmp_path: Path, databases: Path, completions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "traces")
    arguments = ["memory", "build", folder, str(completions), "--db", str(databases), "--embedder", "hashing"]
    assert main([*arguments, "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert "2 verified and 1 failed traces admitted, 1 refused: 1 too short" in said
    assert (
        main(["memory", "search", folder, "Sort the pets by weight, descending.", "--format", "jsonl"]) == 0
    )
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["text"], first["step"], first["db"]) == (SORT, 3, "shop")
    assert first["signature"]
    assert main(["memory", "stats", folder, "--format", "json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert (stats["verified"], stats["failed"], stats["refused"]) == (2, 1, {"too short": 1})
    assert main(["memory", "stats", folder]) == 0
    assert "too short" in capsys.readouterr().out
    assert main(["memory", "verify", folder]) == 0
    assert "2 verified and 1 failed" in capsys.readouterr().out
    assert main(["memory", "export", folder, str(tmp_path / "out.jsonl")]) == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3


def test_verify_finds_corruption_and_repairs(
    tmp_path: Path, databases: Path, completions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "traces"
    arguments = [
        "memory",
        "build",
        str(folder),
        str(completions),
        "--db",
        str(databases),
        "--embedder",
        "hashing",
    ]
    assert main([*arguments, "--workers", "1"]) == 0
    [segment] = (folder / "segments").iterdir()
    data = bytearray(segment.read_bytes())
    data[200] ^= 1
    segment.write_bytes(data)
    assert main(["memory", "verify", str(folder)]) == 1
    assert "are corrupt" in capsys.readouterr().out
    assert main(["memory", "stats", str(folder)]) == 2
    assert "repair" in capsys.readouterr().err
    assert main(["memory", "verify", str(folder), "--repair", str(tmp_path / "copy")]) == 1
    assert main(["memory", "verify", str(tmp_path / "copy")]) == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [("{", "line 1.*JSON"), ('{"gold": "SELECT 1", "db_id": "shop"}', "should have 'completion'")],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, databases: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(line + "\n")
    folder = str(tmp_path / "traces")
    assert main(["memory", "build", folder, str(path), "--db", str(databases), "--embedder", "hashing"]) == 2
    assert not Path(folder).exists()
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert re.search(message, error)
    assert main(["memory", "stats", folder]) == 2


def samples(count: int = 12) -> list[Sample]:
    gold = "SELECT COUNT(*) FROM customers WHERE city = 'Oslo'"
    wrong = ("SELECT name FROM customers", "SELECT nonsense FROM nowhere", gold)
    return [
        Sample(
            completion(f"{COUNT if number % 2 else SORT} Note {number}.", wrong[number % 3]),
            gold,
            "store",
            "q",
        )
        for number in range(count)
    ]


def test_scores_do_not_depend_on_the_batch(tmp_path: Path, databases: Path) -> None:
    traces = tmp_path / "traces.jsonl"
    traces.write_text("".join(json.dumps({"text": text, "db": "shop"}) + "\n" for text in (COUNT, SORT)))
    with TraceMemory.open(tmp_path / "memory", "hashing") as opened:
        opened.import_(traces)
        with Scorer(memory() + execution_match(), SQLite(str(databases), workers=1), memory=opened) as scorer:
            batch = samples()
            alone = {sample: scorer.score_one(sample) for sample in batch}
            assert {score.value for score in alone.values()} > {0.0}
            for seed in range(3):
                random.Random(seed).shuffle(batch)
                assert scorer.score(batch) == [alone[sample] for sample in batch]
            broken = [score for sample, score in alone.items() if "nonsense" in sample.completion]
            assert all(score.value == 0.0 for score in broken)
            assert len(opened) == 2
            digest = str(scorer.signature)
            evidence = scorer.observe(batch)
            report = opened.remember(zip(evidence, map(scorer.reward, evidence), strict=True))
            assert report.admitted
            assert str(scorer.signature) != digest


def hacks(data: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (data / "hacks" / "hacks.jsonl").read_text().splitlines()]
    return [
        row
        for row in rows
        if "memory_not_inserted" in (row["expect"], *row["also"]) or row["kind"] == "memory"
    ]


@pytest.mark.slow
def test_the_memory_items_of_the_attack_collection(
    shared_data: Path, make_db: Callable[..., Path], tmp_path: Path
) -> None:
    items = hacks(shared_data)
    assert len(items) > 10
    for item in items:
        db = make_db(item["id"], item["schema_sql"])
        dbs: tuple[str, ...] = (str(db),)
        if item.get("alt_schema_sql"):
            dbs += (str(make_db(f"{item['id']}-other", item["alt_schema_sql"])),)
        stored = tmp_path / f"{item['id']}.jsonl"
        rows = [
            {"text": row["thought"], "db": row["db_id"], "question": row["question"]}
            for row in item.get("memory") or []
        ]
        stored.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with (
            TraceMemory.open(tmp_path / item["id"], "hashing") as opened,
            Scorer(
                2 * execution_match() + memory(), SQLite(".", workers=1, timeout=2.0), memory=opened
            ) as scorer,
        ):
            opened.import_(stored)
            before = len(opened)

            def sample(text: str, item: dict[str, Any] = item, dbs: tuple[str, ...] = dbs) -> Sample:
                return Sample(text, item["gold_sql"], dbs, item["question"])

            expectations = {item["expect"], *item["also"]}
            texts = item.get("sequence") or [item["completion"]]
            evidence = scorer.observe(map(sample, texts))
            scores = [scorer.reward(one) for one in evidence]
            assert scores[-1] == scorer.score_one(sample(texts[-1])), item["id"]
            if "memory_must_be_0" in expectations:
                assert memory()(evidence[-1]).value == 0.0, item["id"]
            if (
                item["kind"] == "memory"
                and scores[-1].value is not None
                and "execution_must_be_1" not in expectations
            ):
                best = scorer.score_one(sample(item["honest_correct"])).value
                assert best is not None
                assert scores[-1].value < best, item["id"]
            report = opened.remember(zip(evidence, scores, strict=True))
            if "memory_not_inserted" in expectations:
                assert len(opened) == before, (item["id"], str(report))
            if "memory_dedup" in expectations:
                assert len(opened) <= before + 1, (item["id"], str(report))
                assert len(opened) == before + 1, (item["id"], str(report))


def test_looking_at_a_folder_that_is_no_memory_makes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["stats", str(tmp_path)], ["export", str(tmp_path), str(tmp_path / "traces.jsonl")]):
        assert main(["memory", *command]) == 2
        assert "there is no memory.json in it" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
