"""What decides when a query has taken too long: its golds' time, and the clock that counts."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import threading
import time
from collections import deque

import pytest
from bounds import LONG

import finer_rewards as fr
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.errors import ConfigError
from finer_rewards.executing import Query
from finer_rewards.executing.pool import Pool
from finer_rewards.executing.process import Program, Task, TaskBatch, WorkerProcess, ended
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
    with SQLite(root, timeout=10 * LONG, workers=1, deadline="relative", deadline_floor=0.2) as executor:
        gold, slow = Query(QUICK, "t", keep=True), SLOW.format(10**9)
        began = time.monotonic()
        with_gold = executor.execute_many([gold, Query(slow, "t", golds=(QUICK,))])
        assert time.monotonic() - began < LONG
        assert [run.status for run in with_gold] == [Status.ok, Status.timeout]
        assert with_gold[1].error == "interrupted after 0.2 s of CPU, the least that `deadline_floor` allows"
        # Two golds: the slower one counts. A gold that fails allows no more than the least.
        some = SLOW.format(1_000_000)
        (fine,) = executor.execute_many([Query(some, "t", golds=(QUICK, SLOW.format(200_000)))])
        assert fine.ok
        hopeless = executor.execute_many([Query(slow + " ", "t", golds=("SELECT nope",))])
        assert hopeless[0].status is Status.timeout


def test_a_gold_that_is_not_kept_runs_once_all_the_same(root, monkeypatch):
    runs: list[str] = []
    run = Pool.run

    def noted(pool, tasks, *rest):
        runs.extend(task.sql for task in tasks if task.sql.startswith("WITH"))
        return run(pool, tasks, *rest)

    monkeypatch.setattr(Pool, "run", noted)
    with SQLite(root, timeout=1, workers=1, deadline="relative") as executor:
        hopeless = SLOW.format(10**9)
        gold, _ = executor.execute_many(
            [Query(hopeless, "t", keep=True), Query(QUICK, "t", golds=(hopeless,))]
        )
        assert gold.status is Status.timeout
        assert runs == [hopeless]


def test_the_scorer_tells_the_golds(root):
    samples = [fr.Sample(sql, gold=QUICK, db="t") for sql in (QUICK, SLOW.format(10**9), SLOW.format(1))]
    with fr.Scorer(
        "execution_match()",
        SQLite(root, timeout=10 * LONG, workers=1, deadline="relative", deadline_floor=0.2),
    ) as scorer:
        began = time.monotonic()
        scores = scorer.score(samples)
        assert time.monotonic() - began < LONG
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
        passed = 0.0
        rows = 300_000
        try:
            # How long a query lasts depends on the machine: take longer ones until one outlives the limit on the wall.
            while passed < 1.0:
                began = time.monotonic()
                execution = executor.execute(SLOW.format(rows), "t")
                passed = time.monotonic() - began
                rows *= 2
                assert execution.ok and execution.seconds < 1.0
        finally:
            stop.set()
            other.join()


def test_every_limit_is_told(root):
    plain = SQLite(root)
    assert plain.describe()["clock"] == "wall" and plain.describe()["deadline"] == "relative"
    other = SQLite(root, clock="cpu", deadline="relative", deadline_factor=50)
    assert other.describe()["clock"] == "cpu"
    assert other.describe()["deadline_factor"] == 50
    assert pickle.loads(pickle.dumps(other)).describe() == other.describe()
    assert repr(plain) == repr(pickle.loads(pickle.dumps(plain)))


def test_an_allowance_is_time_of_a_processor_and_what_used_it_up_is_not_run_again(root):
    with SQLite(root, workers=1, deadline_floor=0.2) as executor:
        slow = Query(SLOW.format(10**9), "t", golds=(QUICK,))
        (late,) = executor.execute_many([slow])
        assert late.status is Status.timeout and 0.2 <= late.cpu_seconds < 2
        (again,) = executor.execute_many([slow])
        assert again.cpu_seconds == late.cpu_seconds  # what it did the first time
        # For another gold it may take longer, and so it runs.
        (other,) = executor.execute_many([slow._replace(golds=(SLOW.format(100_000),))])
        assert other.cpu_seconds > late.cpu_seconds
        assert "times its gold's" in other.error
        # Where nothing says what its gold is, it may take `timeout`.
        assert executor.execute(SLOW.format(1_500_000), "t").ok


def test_a_query_that_was_merely_late_runs_again(root):
    """Held up by its machine (here: stopped), a query has not used up its allowance."""
    with SQLite(root, timeout=3.0, workers=1, deadline_floor=0.9) as executor:
        assert executor.execute(QUICK, "t").ok
        (worker,) = executor.process_ids
        slow = Query(SLOW.format(200_000), "t", golds=(QUICK,))
        os.kill(worker, signal.SIGSTOP)
        assert executor.execute_many([slow])[0].ok


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
        taken, numbers = 0.0, range(0)
        while taken < 0.5:
            numbers = range(numbers.stop, numbers.stop + 200)
            texts = [SLOW.format(3000).replace("count(*)", f"count(*) + {number}") for number in numbers]
            runs = executor.execute_many([Query(text, "t") for text in texts])
            assert [run.rows for run in runs] == [((3000 + number,),) for number in numbers]
            taken += sum(run.seconds for run in runs)
        assert executor.restarts == 0


def test_waiting_for_the_parent_to_read_is_not_timed(root):
    with SQLite(root, timeout=0.2, workers=1) as executor:
        database = executor._look("t").request
        worker = WorkerProcess(executor._pool.settings, executor.program)
        try:
            worker.ask([Task("run", database, "SELECT hex(zeroblob(200000))", 0.2) for _ in range(10)])
            time.sleep(1)  # the pipe is full, and stays so past the deadline
            answers, alive, began = [], True, time.monotonic()
            while alive and len(answers) < 10 and time.monotonic() - began < LONG:
                more, alive = worker.receive()
                answers += more
            assert alive and [answer[0] for _, answer in answers] == ["ok"] * 10
        finally:
            worker.end()


class _Worker:
    """Of a worker process what the pool looks at when it shares work out."""

    def __init__(self, tasks, since):
        self.asked = deque(enumerate(tasks))
        self.turn_began = time.monotonic() - since


def test_what_waits_behind_a_slow_query_is_shared_until_it_runs(root):
    """Also what an idle worker took over and has behind a slow query itself; not what runs, or will in a moment."""
    tasks = [Task("run", (None, ""), str(number), 30.0) for number in range(6)]
    batch = TaskBatch(tasks)
    first, second, third, fourth, fifth, sixth = tasks
    slow, also_slow, quick, idle = (
        _Worker([first, second, third, fourth, fifth], since=1),
        _Worker([second, third, fourth], since=1),
        _Worker([sixth, fifth], since=0),
        _Worker([], since=0),
    )
    pool = Pool(4, {}, Program("worker.py"))
    pool._held.workers = [slow, also_slow, quick, idle]
    pool._share(slow)
    assert list(pool._queue) == [third, fourth]
    assert batch.left == 6
    pool._queue.clear()
    third.answer = fourth.answer = ended("ok", "")
    pool._share(slow)
    assert not pool._queue
    idle.asked.append((9, third))
    pool._share(also_slow)  # nobody is free
    assert not pool._queue
    pool._held.workers = []


def test_a_worker_whose_query_another_answered_is_ended(root):
    with SQLite(root, workers=2, timeout=1) as executor:
        assert executor.execute(QUICK, "t").ok
        (worker,) = executor._pool._workers
        stale = Task("run", executor._look("t").request, SLOW.format(10**9), 1.0)
        TaskBatch([stale])
        worker.ask([stale])
        stale.answer = ended("ok", "")
        assert executor.execute(QUICK + " WHERE 1", "t").ok
        assert not any(process.asked for process in executor._pool._workers)
