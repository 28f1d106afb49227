"""What the executor survives: lost workers, forks, threads, event loops, signals."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bounds import LONG

from finer_rewards.engines.sqlite import SQLite
from finer_rewards.executing import Query
from finer_rewards.executing.process import Program
from finer_rewards.types import Status

SLOW = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {}) SELECT count(*) FROM c"
ENDLESS = SLOW.format(10**12)
# One step of SQLite that takes minutes.
LONG_STEP = "SELECT instr(hex(zeroblob(4000000)), hex(zeroblob(2000000)) || '1')"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("databases")
    connection = sqlite3.connect(folder / "numbers.sqlite")
    connection.execute(
        "CREATE TABLE n AS WITH RECURSIVE c(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM c LIMIT 500) "
        "SELECT x FROM c"
    )
    connection.commit()
    connection.close()
    return folder


def square(number: int) -> Query:
    return Query(f"SELECT x * x FROM n WHERE x = {number}", "numbers")


def alive(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def gone(process_ids, within: float = LONG) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not any(alive(process_id) for process_id in process_ids):
            return True
        time.sleep(0.02)
    return False


def test_killed_workers_cost_nothing(root):
    with SQLite(root, workers=2, timeout=20) as executor:
        stop = threading.Event()

        def kill_at_random() -> None:
            chance = random.Random(0)
            while not stop.wait(0.1):
                for process_id in list(executor.process_ids):
                    if chance.random() < 0.5:
                        os.kill(process_id, signal.SIGKILL)

        killer = threading.Thread(target=kill_at_random)
        killer.start()
        wrong = lost = 0
        try:
            for _ in range(10):
                executions = executor.execute_many([square(number) for number in range(500)])
                for number, execution in enumerate(executions):
                    if execution.ok:
                        wrong += execution.rows != ((number * number,),)
                    else:
                        lost += 1
                        assert execution.status is Status.unavailable
        finally:
            stop.set()
            killer.join()
        assert wrong == 0
        assert lost < 50


def busy_seconds(process_id: int) -> float:
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return int(fields[11]) / os.sysconf("SC_CLK_TCK")


def test_a_query_that_loses_its_worker_twice_is_unavailable(root):
    with SQLite(root, workers=1, timeout=20) as executor:
        kills = 0

        def kill_twice() -> None:
            nonlocal kills
            killed: set[int] = set()
            while kills < 2:
                time.sleep(0.05)
                for process_id in executor.process_ids:
                    # One that is still starting has not been given the query yet.
                    if process_id not in killed and busy_seconds(process_id) > 0.3:
                        killed.add(process_id)
                        os.kill(process_id, signal.SIGKILL)
                        kills += 1

        killer = threading.Thread(target=kill_twice)
        killer.start()
        executions = executor.execute_many([Query(SLOW.format(10**9), "numbers"), square(3), square(4)])
        killer.join()
        assert [execution.status for execution in executions] == [Status.unavailable, Status.ok, Status.ok]


def test_a_worker_lost_while_idle_is_held_against_no_query(root):
    with SQLite(root, workers=1, timeout=20) as executor:
        executor.execute(*square(2)[:2])
        (first,) = executor.process_ids
        os.kill(first, signal.SIGKILL)
        assert gone([first])

        def kill_once() -> None:
            while not any(one != first and busy_seconds(one) > 0.1 for one in executor.process_ids):
                time.sleep(0.02)
            os.kill(executor.process_ids[0], signal.SIGKILL)

        killer = threading.Thread(target=kill_once)
        killer.start()
        execution = executor.execute(SLOW.format(3_000_000), "numbers")
        killer.join()
        assert execution.rows == ((3_000_000,),), execution


def test_a_stopped_worker_is_replaced(root):
    with SQLite(root, workers=1, timeout=0.3) as executor:
        assert executor.execute(*square(2)[:2]).ok
        os.kill(executor.process_ids[0], signal.SIGSTOP)
        assert executor.execute(*square(3)[:2]).rows == ((9,),)


def test_a_query_that_got_no_processor_is_not_late(root):
    with SQLite(root, workers=1, timeout=3.0) as executor:
        assert executor.execute(*square(2)[:2]).ok
        process_id = executor.process_ids[0]
        before = busy_seconds(process_id)

        def hold_up() -> None:
            while busy_seconds(process_id) - before < 0.02:
                time.sleep(0.002)
            os.kill(process_id, signal.SIGSTOP)
            time.sleep(3.3)
            with contextlib.suppress(ProcessLookupError):  # it was given up meanwhile
                os.kill(process_id, signal.SIGCONT)

        other = threading.Thread(target=hold_up)
        other.start()
        execution = executor.execute(SLOW.format(500_000), "numbers")
        other.join()
        assert execution.rows == ((500_000,),), execution
        assert executor.restarts == 1  # it was late, and ran once more


def test_threads_share_the_workers(root):
    with SQLite(root, workers=2, timeout=20) as executor:

        def check(thread: int) -> bool:
            numbers = [(thread * 37 + step) % 500 for step in range(20)]
            executions = executor.execute_many([square(number) for number in numbers])
            single = executor.execute(*square(thread)[:2])
            return single.rows == ((thread * thread,),) and all(
                execution.rows == ((number * number,),)
                for number, execution in zip(numbers, executions, strict=True)
            )

        with ThreadPoolExecutor(32) as threads:
            assert all(threads.map(check, range(128)))
        assert len(executor.process_ids) <= 2


def test_threads_do_not_wait_for_a_slow_one(root):
    with SQLite(root, workers=2, timeout=10 * LONG, deadline_floor=1) as executor:
        executor.execute_many([square(number) for number in range(100)])
        endless = Query(SLOW.format(10**12), "numbers", golds=(square(1).sql,))
        slow = threading.Thread(target=executor.execute_many, args=([endless],))
        slow.start()
        time.sleep(0.2)
        assert executor.execute(*square(5)[:2]).ok
        assert slow.is_alive()
    slow.join()


def test_workers_outlive_the_thread_that_started_them(root):
    with SQLite(root, workers=1) as executor:
        thread = threading.Thread(target=executor.execute, args=square(1)[:2])
        thread.start()
        thread.join()
        (process_id,) = executor.process_ids
        time.sleep(0.1)
        assert alive(process_id)
        assert executor.execute(*square(2)[:2]).ok
        assert executor.process_ids == [process_id]


def test_asyncio(root):
    async def everything(executor: SQLite) -> list[int]:
        executions = await asyncio.gather(
            *(asyncio.to_thread(executor.execute, *square(number)[:2]) for number in range(64))
        )
        return [execution.rows[0][0] for execution in executions]

    with SQLite(root, workers=2, timeout=20) as executor:
        assert asyncio.run(everything(executor)) == [number * number for number in range(64)]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_children_have_their_own_workers(root):
    with SQLite(root, workers=2, timeout=20) as executor:
        assert executor.execute(*square(2)[:2]).ok
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                assert executor.execute_many([square(number) for number in range(50)])[7].rows == ((49,),)

        busy = [threading.Thread(target=work) for _ in range(3)]
        for thread in busy:
            thread.start()
        try:
            for _ in range(5):
                child = os.fork()
                if child == 0:
                    try:
                        good = executor.execute(*square(9)[:2]).rows == ((81,),)
                        executor.close()
                        os._exit(0 if good else 1)
                    finally:
                        os._exit(2)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            stop.set()
            for thread in busy:
                thread.join()
        assert executor.execute(*square(3)[:2]).ok


def run_in_child(executor: SQLite, connection) -> None:
    connection.send(executor.execute(*square(6)[:2]).rows)


def test_spawned_children(root):
    with SQLite(root, workers=1, timeout=20) as executor:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=run_in_child, args=(executor, theirs))
        process.start()
        assert ours.poll(30)
        assert ours.recv() == ((36,),)
        process.join()
        assert process.exitcode == 0


def run_script(body: str, root: Path, *, wait: bool = True) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    script = (
        "from finer_rewards import SQLite\nfrom finer_rewards.executing import Query\n"
        + textwrap.dedent(body)
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, str(root)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if wait:
        process.wait(LONG)
    return process


def test_nothing_is_left_at_exit(root):
    process = run_script(
        """
        import sys, threading
        executor = SQLite(sys.argv[1], workers=2)
        executor.execute_many([Query(f"SELECT {n}", "numbers") for n in range(100)])
        assert threading.active_count() == 1
        print(executor.process_ids)
        """,
        root,
    )
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    process_ids = json.loads(out)
    assert process_ids and gone(process_ids)


@pytest.mark.parametrize("where", ["main", "thread", "short-lived thread", "event loop"])
@pytest.mark.parametrize("sql", [ENDLESS, LONG_STEP])
def test_no_orphans_when_the_parent_is_killed(root, where, sql):
    """Wherever it was started from, and also in the middle of a query that no callback interrupts."""
    run = {
        "main": "executor.execute(sql, 'numbers')",
        "thread": "Thread(target=executor.execute, args=(sql, 'numbers')).start()",
        "short-lived thread": (
            "first = Thread(target=executor.execute, args=('SELECT 1', 'numbers')); first.start(); first.join(); "
            "Thread(target=executor.execute, args=(sql, 'numbers')).start()"
        ),
        "event loop": "asyncio.run(Scorer('executable()', executor).ascore([Sample(sql, gold=sql, db='numbers')]))",
    }[where]
    process = run_script(
        f"""
        import asyncio, os, sys, time
        from threading import Thread
        from finer_rewards import Sample, Scorer
        executor = SQLite(sys.argv[1], workers=2, timeout=600)
        sql = {sql!r}

        def tell():
            busy = lambda: [pid for pid in executor.process_ids if time.clock_gettime((~pid << 3) | 2) > 0.2]
            while not busy():
                time.sleep(0.02)
            print(executor.process_ids, flush=True)

        Thread(target=tell, daemon=True).start()
        {run}
        time.sleep(60)
        """,
        root,
        wait=False,
    )
    assert process.stdout is not None
    process_ids = json.loads(process.stdout.readline())
    process.kill()
    process.communicate()
    assert process_ids and gone(process_ids)


def test_interrupting_leaves_an_executor_that_works(root):
    process = run_script(
        f"""
        import sys, threading, time, os, signal
        executor = SQLite(sys.argv[1], workers=2, timeout=600)
        answers = []
        other = threading.Thread(
            target=lambda: answers.append(executor.execute({SLOW.format(3_000_000)!r}, "numbers"))
        )
        threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            threading.Timer(0.3, other.start).start()
            executor.execute({SLOW.format(10**11)!r}, "numbers")
        except KeyboardInterrupt:
            print("interrupted")
        assert executor.execute("SELECT 7", "numbers").rows == ((7,),)
        other.join()
        assert answers[0].rows == ((3_000_000,),)
        """,
        root,
        wait=False,
    )
    out, err = process.communicate(timeout=LONG)
    assert (process.returncode, err, out) == (0, "", "interrupted\n")


@pytest.mark.slow
def test_file_descriptors_are_given_back(root):
    def count() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(3):
        executor = SQLite(root, workers=2)
        executor.execute_many([square(number) for number in range(20)])
        process_ids = executor.process_ids
        del executor
        gc.collect()
        assert gone(process_ids)
    assert count() == before


def test_no_descriptor_is_left(root):
    process = run_script(
        """
        import os, resource, sys
        executor = SQLite(sys.argv[1], workers=2)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        for spare in range(8):
            resource.setrlimit(resource.RLIMIT_NOFILE, (3 + spare, limits[1]))
            execution = executor.execute("SELECT 1", "numbers")
            assert execution.ok or execution.status.name == "unavailable", execution
            executor.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert executor.execute("SELECT 1", "numbers").ok
        executor.close()
        # `subprocess` of Python 3.10 loses pipes when it fails to make the next one.
        assert sys.version_info < (3, 11) or sorted(map(int, os.listdir("/proc/self/fd")))[-1] < 5
        """,
        root,
    )
    out, err = process.communicate()
    assert (process.returncode, err, out) == (0, "", "")


def test_no_worker_can_be_started(root, monkeypatch):
    with SQLite(root, workers=2) as executor:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        execution = executor.execute("SELECT 1", "numbers")
        assert execution.status is Status.unavailable and "could be started" in execution.error
        monkeypatch.setattr(sys, "executable", "/bin/false")
        execution = executor.execute("SELECT 1", "numbers")
        assert execution.status is Status.unavailable and "ended when it started" in execution.error
        monkeypatch.undo()
        assert executor.execute("SELECT 1", "numbers").ok


DEAF = """
class Databases:
    def __init__(self, settings):
        pass

    def answer(self, *request):
        while True:
            pass

open_databases = Databases
"""


def test_a_query_that_nothing_else_ends_is_ended_from_here(root, tmp_path, monkeypatch):
    """It computes, so it is to blame, and nobody waits until its process is gone."""
    (tmp_path / "deaf.py").write_text(DEAF)
    monkeypatch.setattr(SQLite, "program", Program(str(tmp_path / "deaf.py"), grace=60.0))
    with SQLite(root, workers=1, timeout=0.3) as executor:
        run = executor.execute("SELECT 1", "numbers")
        assert run.status is Status.timeout and "killed after the limit of 0.3 s" in run.error
        assert executor.restarts == 1 and executor.process_ids == []
