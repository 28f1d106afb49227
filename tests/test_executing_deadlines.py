"""What decides when a query has taken too long: its golds' time, and the clock that counts."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import threading
import time

import pytest

import finer_rewards as fr
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.errors import ConfigError
from finer_rewards.executing import Query
from finer_rewards.executing.process import Task, WorkerProcess
from finer_rewards.types import Status

SLOW = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {}) SELECT count(*) FROM c"
QUICK = "SELECT count(*) FROM t"


@pytest.fixture
def root(tmp_path):
    connection = sqlite3.connect(tmp_path / "t.sqlite")
    connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    connection.commit()
    connection.close()
    return tmp_path


def test_a_prediction_may_take_so_many_times_its_golds_time(root):
    with SQLite(root, timeout=20, workers=1, deadline="relative", deadline_floor=0.2) as executor:
        gold, slow = Query(QUICK, "t", keep=True), SLOW.format(10**9)
        began = time.monotonic()
        with_gold = executor.execute_many([gold, Query(slow, "t", golds=(QUICK,))])
        assert time.monotonic() - began < 5
        assert [run.status for run in with_gold] == [Status.ok, Status.timeout]
        assert with_gold[1].error == "interrupted after 0.2 s"
        # Two golds: the slower one counts. A gold that fails sets no limit.
        some = SLOW.format(1_000_000)
        (fine,) = executor.execute_many([Query(some, "t", golds=(QUICK, SLOW.format(200_000)))])
        assert fine.ok
        assert executor.execute_many([Query(some + " ", "t", golds=("SELECT nope",))])[0].ok


def test_a_gold_that_is_not_kept_runs_once_all_the_same(root):
    with SQLite(root, timeout=1, workers=1, deadline="relative") as executor:
        hopeless = SLOW.format(10**9)
        began = time.monotonic()
        gold, _ = executor.execute_many(
            [Query(hopeless, "t", keep=True), Query(QUICK, "t", golds=(hopeless,))]
        )
        assert gold.status is Status.timeout
        assert time.monotonic() - began < 2


def test_the_scorer_tells_the_golds(root):
    samples = [fr.Sample(sql, gold=QUICK, db="t") for sql in (QUICK, SLOW.format(10**9), SLOW.format(1))]
    with fr.Scorer(
        "execution_match()", SQLite(root, timeout=20, workers=1, deadline="relative", deadline_floor=0.2)
    ) as scorer:
        began = time.monotonic()
        scores = scorer.score(samples)
        assert time.monotonic() - began < 5
        assert [score.value for score in scores] == [1, 0, 0]
        assert scores[1].status is Status.timeout
        assert "deadline:relative" in str(scorer.signature)


def test_cpu_time_does_not_pass_while_others_work(root):
    with SQLite(root, timeout=1.0, workers=1, clock="cpu") as executor:
        assert executor.execute(QUICK, "t").ok
        stop = threading.Event()

        def hold_up() -> None:
            while not stop.wait(0.02):
                for process_id in executor.process_ids:
                    os.kill(process_id, signal.SIGSTOP)
                time.sleep(0.3)
                for process_id in executor.process_ids:
                    os.kill(process_id, signal.SIGCONT)

        other = threading.Thread(target=hold_up)
        other.start()
        began = time.monotonic()
        try:
            execution = executor.execute(SLOW.format(300_000), "t")
        finally:
            stop.set()
            other.join()
        assert execution.ok
        assert execution.seconds < 1.0 < time.monotonic() - began


def test_every_limit_is_told(root):
    plain = SQLite(root)
    assert plain.describe()["clock"] == "wall" and plain.describe()["deadline"] == "absolute"
    other = SQLite(root, clock="cpu", deadline="relative", deadline_factor=50)
    assert other.describe()["clock"] == "cpu"
    assert other.describe()["deadline_factor"] == 50
    assert pickle.loads(pickle.dumps(other)).describe() == other.describe()
    assert repr(plain) == repr(pickle.loads(pickle.dumps(plain)))


@pytest.mark.parametrize(
    ("name", "value"), [("deadline", "soon"), ("clock", "sun"), ("engine", "duckdb"), ("deadline_floor", 0)]
)
def test_a_deadline_that_is_none_is_refused(root, name, value):
    with pytest.raises(ConfigError, match=f"`{name}` should be"):
        SQLite(root, **{name: value})


@pytest.mark.parametrize("clock", ["wall", "cpu"])
def test_the_timer_never_counts_the_queries_before(root, clock):
    # It stays set from query to query; all together run far past what one of them may take.
    with SQLite(root, timeout=0.3, workers=1, clock=clock) as executor:
        texts = [SLOW.format(3000).replace("count(*)", f"count(*) + {number}") for number in range(2000)]
        runs = executor.execute_many([Query(text, "t") for text in texts])
        assert sum(run.seconds for run in runs) > 0.5
        assert [run.rows for run in runs] == [((3000 + number,),) for number in range(2000)]
        assert executor.restarts == 0


def test_waiting_for_the_parent_to_read_is_not_timed(root):
    with SQLite(root, timeout=0.2, workers=1) as executor:
        database = executor._look("t").request
        worker = WorkerProcess(executor._pool.settings, executor.program)
        try:
            worker.ask([Task("run", database, "SELECT hex(zeroblob(200000))", 0.2) for _ in range(10)])
            time.sleep(1)  # the pipe is full, and stays so past the deadline
            answers, alive, began = [], True, time.monotonic()
            while alive and len(answers) < 10 and time.monotonic() - began < 20:
                more, alive = worker.receive()
                answers += more
            assert alive and [answer[0] for _, answer in answers] == ["ok"] * 10
        finally:
            worker.end()
