"""Scores over HTTP are those of the executor behind it, to the last bit."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from base64 import b64encode
from itertools import islice
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards.adapters.openrlhf import openrlhf_reward
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.errors import ConfigError
from finer_rewards.executing import Query
from finer_rewards.remote import Remote
from finer_rewards.types import Status

pytest.importorskip("fastapi", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from servers import GOLD, SPEC, STATEMENTS, ask, samples, seen, serving


def test_executions_are_those_of_the_executor_behind(local: SQLite, remote: Remote) -> None:
    queries = [
        Query(sql, db, keep) for sql in STATEMENTS for db in ("shop", "no_such") for keep in (True, False)
    ]
    here, there = local.execute_many(queries), remote.execute_many(queries)
    compared = [(a, b) for a, b in zip(here, there, strict=True) if not a.volatile]
    assert len(compared) > len(queries) * 0.9
    for a, b in compared:
        if a.status is Status.unavailable:  # the sentence differs: it names no place on the server's disk
            assert b.status is a.status and "no_such" in b.error
        else:
            assert seen(a) == seen(b)
    assert there[0] is there[1]
    assert remote.execute_many([]) == []


def test_schema_dialect_and_signature_are_those_of_the_executor_behind(local: SQLite, remote: Remote) -> None:
    assert remote.schema("shop") == local.schema("shop")
    assert remote.dialect == local.dialect
    assert remote.describe() == local.describe()
    assert fr.Scorer(SPEC, remote).signature == fr.Scorer(SPEC, local).signature
    with pytest.raises(ConfigError, match="no_such"):
        remote.schema("no_such")


@pytest.mark.parametrize(
    "spec", [SPEC, repr(fr.preset("finer", memory=False)), "execution_match(mode='bird')"]
)
def test_scores_are_the_same_to_the_last_bit(spec: str, local: SQLite, remote: Remote) -> None:
    here, there = fr.Scorer(spec, local).score(samples()), fr.Scorer(spec, remote).score(samples())
    assert list(map(repr, there)) == list(map(repr, here))
    assert len({score.value for score in here}) > 1


@pytest.mark.parametrize("mode", ["answer", "strict", "bird_train", "bird"])
def test_results_longer_than_the_limit_are_compared_where_they_are(root: Path, mode: str) -> None:
    # Every shape of a cut result: as the gold's, reordered, with a repeat, with one row less, with other columns.
    gold = "SELECT a.id, b.id FROM singer a, singer b"
    predicted = (
        gold,
        f"{gold} ORDER BY b.id, a.id",
        "SELECT b.id, a.id FROM singer a, singer b",
        f"{gold} UNION ALL SELECT 1, 1",
        f"{gold} LIMIT 5",
        f"{gold} WHERE a.id <> 1",
        "SELECT a.id, b.id + 0.0 FROM singer a, singer b",
        "SELECT a.id FROM singer a, singer b",
        "SELECT id FROM singer",
    )
    batch = [fr.Sample(sql, gold, "shop") for sql in predicted]
    batch += [fr.Sample(gold, (), "shop", answer=((1, 1),))]
    spec = f"execution_match(mode={mode!r})"
    with SQLite(root, workers=1, max_rows=4) as cut, fr.Scorer(spec, cut, neighbours=0) as here:
        with serving(here) as (url, _), Remote(url) as remote:
            there = fr.Scorer(spec, remote, neighbours=0).score(batch)
        expected = here.score(batch)
    assert [score.value for score in there] == [score.value for score in expected]
    assert {score.value for score in there} == {0.0, 1.0}


@pytest.mark.slow
def test_real_candidates_score_the_same(shared_data: Path) -> None:
    with gzip.open(shared_data / "candidates" / "spider_dev_dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        groups = [json.loads(line) for line in islice(lines, 0, None, 25)]
    batch = [
        fr.Sample(one["sql"], group["gold"], group["db_id"])
        for group in groups
        for one in list(group["candidates"].values())[::6]
    ]
    assert len(batch) > 200
    databases = shared_data / "spider_dev" / "database"
    wide, narrow = (fr.Scorer(SPEC, SQLite(databases, workers=workers)) for workers in (4, 1))
    with wide, narrow, serving(narrow) as (url, _), Remote(url) as remote:
        here, there = wide.score(batch), fr.Scorer(SPEC, remote).score(batch)
    assert list(map(repr, there)) == list(map(repr, here))
    assert len({score.value for score in here}) > 10


def test_score_answers_the_records_of_the_command_line(root: Path, local: SQLite, url: str) -> None:
    sql = [one for one in STATEMENTS if one and ";" not in one and "--" not in one and "random" not in one]
    predicted = root / "predicted.jsonl"
    predicted.write_text("".join(json.dumps({"sql": one, "db_id": "shop"}) + "\n" for one in sql))
    gold = root / "gold.jsonl"
    gold.write_text("".join(json.dumps({"sql": GOLD, "db_id": "shop"}) + "\n" for _ in sql))
    command = [
        sys.executable,
        "-m",
        "finer_rewards",
        "score",
        predicted,
        gold,
        "--db",
        root,
        "--reward",
        SPEC,
    ]
    done = subprocess.run(
        [*command, "--timeout", "10", "--format", "jsonl", "--signature"], capture_output=True, text=True
    )
    expected = [json.loads(line) for line in done.stdout.splitlines()]
    payload = {"samples": [{"completion": one, "gold": GOLD, "db": "shop"} for one in sql]}
    status, _, answer = ask(url, "/score", payload)
    assert status == 200 and len(expected) == len(sql)
    places = [{**record, "db": None} for record in expected]  # a file there, an id here
    assert [{**record, "db": None} for record in answer["scores"]] == places
    assert answer["signature"] in done.stderr
    status, _, answer = ask(url, "/score", {**payload, "explain": True})
    assert "execution_match" in answer["scores"][0]["explanation"]


def test_answer_rows_may_hold_bytes(url: str) -> None:
    photo = {"$bytes": b64encode(b"\x00\xff").decode()}
    sample = {"completion": "SELECT photo FROM singer WHERE id = 1", "gold": [], "db": "shop"}
    for cell, value in ((photo, 4.0), ("00ff", 1.0)):
        _, _, answer = ask(url, "/score", {"samples": [{**sample, "answer": [[cell]]}]})
        assert answer["scores"][0]["execution_match"] == float(value == 4.0), answer


def test_slime_gets_the_value_itself(local: SQLite, url: str) -> None:
    label = {"gold": GOLD, "db": "shop"}
    calls = '<tool_call>{"name": "run_sql", "arguments": {"sql": "SELECT 1"}}</tool_call>'
    turns = f"{calls}\nuser\n<tool_response>\n1\n</tool_response>\nassistant\n{GOLD}"
    unusable = ["SELECT 1", {"gold": GOLD}, {"gold": "SELECT broken FROM singer", "db": "shop"}]
    with fr.Scorer(SPEC, local) as scorer:
        for response, answer in ((f"{GOLD}<|im_end|>", GOLD), (turns, GOLD), ("no idea", "no idea")):
            value = scorer.score_one(fr.Sample(answer, GOLD, "shop")).value
            for given in (label, json.dumps(label)):
                payload = {"prompt": "Who?", "response": response, "label": given}
                assert ask(url, "/remote_rm", payload)[::2] == (200, value)
    for given in unusable:
        assert ask(url, "/remote_rm", {"prompt": [], "response": GOLD, "label": given})[::2] == (200, 0.0)


def test_openrlhf_gets_what_the_adapter_gives(local: SQLite, url: str) -> None:
    expected = openrlhf_reward(fr.Scorer(SPEC, local), best=4)
    labels = [
        {"gold": GOLD, "db": "shop"},
        json.dumps({"gold": GOLD, "db": "shop"}),
        "",
        None,
        {"gold": GOLD},
    ]
    labels.append({"gold": "SELECT broken FROM singer", "db": "shop"})
    for label in labels:
        for response in (GOLD, "SELECT id FROM singer", "no idea"):
            query = f"<|user|>Who?<|assistant|>{response}<|im_end|>"
            payload = {"query": [query], "prompts": ["<|user|>Who?<|assistant|>"], "labels": [label]}
            status, _, answer = ask(url, "/get_reward", payload)
            assert status == 200
            assert answer == expected(*payload.values())
            assert isinstance(answer["rewards"], float) and isinstance(answer["scores"], float)
