"""Long runs in bad weather: workers killed and stopped, threads and event loops at once, and nothing grows."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import pickle
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from bounds import LONG

import finer_rewards as fr
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.executing import Query
from finer_rewards.types import Status


@pytest.fixture
def root(tmp_path):
    with closing(sqlite3.connect(tmp_path / "n.sqlite")) as connection:
        connection.execute("CREATE TABLE n (x INTEGER PRIMARY KEY)")
        connection.executemany("INSERT INTO n VALUES (?)", ((number,) for number in range(1000)))
        connection.commit()
    return tmp_path


@contextmanager
def weather(executor: SQLite, happen):
    """Let something happen to a worker again and again."""
    stop = threading.Event()
    chance = random.Random(0)

    def rage() -> None:
        while not stop.wait(0.05 + chance.random() * 0.2):
            for process_id in list(executor.process_ids):
                with suppress(ProcessLookupError):
                    happen(process_id, chance)

    thread = threading.Thread(target=rage)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def kill(process_id: int, chance: random.Random) -> None:
    if chance.random() < 0.3:
        os.kill(process_id, signal.SIGKILL)


def stop_and_continue(process_id: int, chance: random.Random) -> None:
    os.kill(process_id, signal.SIGSTOP)
    time.sleep(chance.random() * 0.2)
    os.kill(process_id, signal.SIGCONT)


def samples(chance: random.Random, count: int) -> list[tuple[fr.Sample, float]]:
    found = []
    for _ in range(count):
        number, right = chance.randrange(1000), chance.random() < 0.5
        sql = f"SELECT x * {chance.randrange(10**9)} FROM n WHERE x = {number if right else number + 1000}"
        gold = sql.replace(f"x = {number + 1000}", f"x = {number}").replace("x * ", "+x * ")
        found.append((fr.Sample(sql, gold=gold, db="n"), float(right)))
    return found


def run_in(executor: SQLite, count: int) -> Counter[float | None]:
    """Score so many samples; every value is the right one or none, with the reason."""
    chance, values = random.Random(1), Counter[float | None]()
    with fr.Scorer("execution_match(mode='bird')", executor) as scorer:
        while sum(values.values()) < count:
            work = samples(chance, 2000)
            for score, (_, value) in zip(scorer.score([one for one, _ in work]), work, strict=True):
                values[score.value] += 1
                if score.value is None:
                    assert score.status is Status.unavailable and score.reason
                else:
                    assert score.value == value
        process_ids = executor.process_ids
    end = time.monotonic() + LONG
    while any(Path(f"/proc/{process_id}").exists() for process_id in process_ids):
        assert time.monotonic() < end, "orphans"
    return values


@pytest.mark.slow
def test_workers_killed_through_100_000_samples(root):
    executor = SQLite(root, workers=2, timeout=20)
    with weather(executor, kill):
        values = run_in(executor, 100_000)
    assert values[None] < 1000


@pytest.mark.slow
def test_workers_stopped_and_continued(root):
    executor = SQLite(root, workers=2, timeout=20)
    with weather(executor, stop_and_continue):
        values = run_in(executor, 4000)
    assert values[None] == 0


@pytest.mark.slow
def test_threads_and_event_loops_at_once(root):
    work = samples(random.Random(2), 100)
    ones, values = [one for one, _ in work], [value for _, value in work]
    with fr.Scorer("execution_match(mode='bird')", SQLite(root, workers=2, timeout=20)) as scorer:

        def in_thread(number: int) -> bool:
            return [score.value for score in scorer.score(ones[number:])] == values[number:]

        async def in_loop() -> list[list[fr.Score]]:
            return await asyncio.gather(*(scorer.ascore(ones[number:]) for number in range(8)))

        with ThreadPoolExecutor(33) as threads:
            loop = threads.submit(asyncio.run, in_loop())
            assert all(threads.map(in_thread, range(32)))
            for number, scores in enumerate(loop.result()):
                assert [score.value for score in scores] == values[number:]


@pytest.mark.slow
def test_scores_are_the_same_bytes_however_they_are_run(shared_data):
    root = shared_data / "spider_dev" / "database"
    with gzip.open(shared_data / "candidates" / "spider_dev_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    chance = random.Random(3)
    ones = [
        fr.Sample(candidate["sql"], gold=line["gold"], db=line["db_id"])
        for line in chance.sample(lines, 12)
        if (root / line["db_id"]).is_dir()
        for candidate in chance.sample(list(line["candidates"].values()), 12)
    ]

    def told(scores: list[fr.Score]) -> bytes:
        return pickle.dumps(
            [(score.value, score.reason, score.status.name, score.explain()) for score in scores]
        )

    reward = "2 * execution_match() + atomic_f1()"
    with (
        fr.Scorer(reward, SQLite(root, workers=1)) as one,
        fr.Scorer(reward, SQLite(root, workers=8)) as eight,
    ):
        first = told(one.score(ones))
        assert told(eight.score(ones)) == first
        assert told(eight.score(ones)) == first
        assert told(asyncio.run(eight.ascore(ones))) == first
        backwards = eight.score(ones[::-1])[::-1]
        assert told(backwards) == first


def test_engines_agree_but_for_what_the_versions_differ_in(shared_data):
    pytest.importorskip("apsw")
    root = shared_data / "spider_dev" / "database"
    with gzip.open(shared_data / "candidates" / "spider_dev_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    chance = random.Random(4)
    queries = [
        Query(candidate["sql"], line["db_id"])
        for line in chance.sample(lines, 60)
        if (root / line["db_id"]).is_dir()
        for candidate in chance.sample(list(line["candidates"].values()), 8)
    ]
    with SQLite(root, timeout=20) as older, SQLite(root, timeout=20, engine="apsw") as newer:
        differ = [
            (query.sql, one, other)
            for query, one, other in zip(
                queries, older.execute_many(queries), newer.execute_many(queries), strict=True
            )
            if (one.status, one.columns, one.tables, one.volatile, rounded(one.rows))
            != (other.status, other.columns, other.tables, other.volatile, rounded(other.rows))
        ]
    # SQLite 3.43 sums more exactly (rounded away here); 3.4x resolves names in ORDER BY of subqueries anew.
    assert len(differ) <= len(queries) / 100, differ


def rounded(rows):
    return [tuple(float(f"{cell:.9g}") if isinstance(cell, float) else cell for cell in row) for row in rows]


@pytest.mark.slow
def test_nothing_grows_in_a_minute_of_soaking():
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--minutes", "1.5", "--databases", "10", "--kill", "2"],
        cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    found = re.search(
        r"; (\d+) wrong scores, (\d+) without a value; .* memory of this process \+?(-?[\d.]+)%", run.stdout
    )
    assert found, run.stdout + run.stderr
    # So short a run is still filling its memories: the long one, `benchmarks/soak.py`, holds it to 5 %.
    assert found[1] == found[2] == "0" and float(found[3]) < 25, run.stdout
