"""By how much queries outlive their deadline on a busy machine, beyond what a sleep of the same length does.

Endless queries, most of them one opcode in which the engine never looks at the time, run one after another, each beside
a thread that sleeps as long as the query may take. One that had less than a tenth of its time on a processor runs once
more, as `docs/executors.md` says, and is counted apart.

    python -m benchmarks.late_kills ../shared/data [--kills N] [--load N] [--write]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from benchmarks.gates import LONG_OPCODES
from benchmarks.measuring import ENDLESS, versions
from finer_rewards import SQLite
from finer_rewards.executing.pool import Pool
from finer_rewards.executing.process import Task

RESULTS = Path(__file__).parent / "results" / "late_kills.md"
TIMEOUT, LATE = 0.3, 0.1  # seconds
DB = "world_1"
AGAIN: list[Task] = []


@contextmanager
def burning(processes: int) -> Iterator[None]:
    """Keep so many processes computing, each in a session of its own, as other people's are."""
    command = [sys.executable, "-c", "while True: pass"]
    burners = [subprocess.Popen(command, start_new_session=True) for _ in range(processes)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def kill(executor: SQLite, sql: str) -> tuple[float, float, bool]:
    """Return by how many seconds a query outlived its limit, and a sleep beside it; whether it ran once more."""
    executor.execute(f"SELECT {time.time_ns()}", DB)  # what it did before is known, and starts no worker
    woke = []
    again = len(AGAIN)
    began = time.perf_counter()

    def sleep() -> None:
        time.sleep(TIMEOUT)
        woke.append(time.perf_counter() - began - TIMEOUT)

    control = threading.Thread(target=sleep)
    control.start()
    run = executor.execute(sql, DB)
    late = time.perf_counter() - began - TIMEOUT
    control.join()
    if run.status.name != "timeout":
        return 0.0, woke[0], False  # a processor to itself may bring it to its end, which is a failure
    return late, woke[0], len(AGAIN) > again


def note_those_that_run_again() -> None:
    """Keep count of the queries that are taken to be late through the machine's fault."""
    once_more = Pool._once_more

    def noted(pool: Pool, task: Task, starved: bool) -> bool:
        again = once_more(pool, task, starved)
        AGAIN.extend([task] * again)
        return again

    Pool._once_more = noted  # type: ignore[assignment, method-assign]


def main() -> None:
    """Measure and print."""
    note_those_that_run_again()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument(
        "--load", type=int, default=8, help="processes that compute besides, those of others included"
    )
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    kinds = (*LONG_OPCODES, ENDLESS.format(n=1))
    with (
        SQLite(arguments.data / "spider_dev" / "database", timeout=TIMEOUT, workers=1) as executor,
        burning(max(0, arguments.load - round(os.getloadavg()[0]))),
    ):
        # No two alike: what a query did is kept.
        found, loads = [], []
        for n in range(arguments.kills):
            found.append(kill(executor, f"{kinds[n % len(kinds)]} -- {n}"))
            loads.append(os.getloadavg()[0])
    own = [late - control for late, control, again in found if not again]
    worst_sleep = max(control for _, control, _ in found)
    lines = [
        f"# Kills, {date.today()}",
        "",
        f"{versions()}, load {min(loads):.1f} to {max(loads):.1f}. "
        f"{len(found)} queries that never end, each with {TIMEOUT:g} s.",
        "",
        f"- more than {1000 * LATE:.0f} ms later than a sleep beside them: {sum(late > LATE for late in own)} of "
        f"{len(own)}; median {1000 * statistics.median(own):.0f} ms, worst {1000 * max(own):.0f} ms (the sleep alone: "
        f"{1000 * worst_sleep:.0f} ms)",
        *(
            f"  - late: kind {n % len(kinds)}, {1000 * late:.0f} ms, the sleep beside it {1000 * control:.0f} ms"
            for n, (late, control, again) in enumerate(found)
            if not again and late - control > LATE
        ),
        f"- ran once more, since they had had less than a tenth of their time on a processor: {len(found) - len(own)}",
        "",
    ]
    print("\n".join(lines))
    if arguments.write:
        RESULTS.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
