"""What large results cost: memory of this process for cross joins, and time for verdicts on whole results.

    python -m benchmarks.whole_results [--beside FOLDER] [--rounds N] [--write]

*Memory*: `finer()` scores distinct cross joins in one batch, each in a process of its own, whose peak is taken; FOLDER
is another checkout, run side by side. *Time*: 32 predictions with results of 100,000 rows, all different, each beside
a gold of its own, against a plain loop that fetches both in this process and compares their sets (BIRD's rule).
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "whole_results.md"
ROWS, PAIRS = 100_000, 32
#: Ways to ask for the same rows: as they lie, and in another order.
GOLD = "SELECT id, name, price FROM item WHERE id <> {n}"
PREDICTED = ("SELECT id, name, price FROM item WHERE NOT id = {n}", GOLD + " ORDER BY price DESC")

# Runs in a process of its own, on whichever checkout it is started with.
PEAK = """
import resource, sys
import finer_rewards as fr
folder, number, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sql = {
    "cross joins": "SELECT {n}, a.*, b.*, c.*, d.* FROM item a, item b, item c, item d",
    "600 columns": "SELECT " + ", ".join(f"{{n}} + {c}" for c in range(600)) + " FROM item",
}[kind]
completions = ["<think>All.</think><answer>" + sql.format(n=n) + "</answer>" for n in range(number)]
samples = [fr.Sample(text, "SELECT name FROM item WHERE id < 50", "shop") for text in completions]
with fr.Scorer(fr.presets.finer(memory=False), fr.SQLite(folder, workers=2)) as scorer:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scores = scorer.score(samples)
assert all(score.value is not None and score.value < 2 for score in scores), scores[0]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, before / 1024)
"""


def make_database(folder: str) -> None:
    """Write a shop of 100,000 items."""
    with closing(sqlite3.connect(f"{folder}/shop.sqlite")) as connection, connection:
        connection.execute("CREATE TABLE item (id INTEGER, name TEXT, price REAL)")
        rows = ((i, f"item {i * 7919 % 100_003}", i * 7 % 1000 / 4) for i in range(ROWS))
        connection.executemany("INSERT INTO item VALUES (?, ?, ?)", rows)


def peak(folder: str, number: int, kind: str, checkout: str) -> float:
    """Return the greatest size of the process, in MB, that scores so many completions."""
    command = [sys.executable, "-c", PEAK, folder, str(number), kind]
    environment = {**os.environ, "PYTHONPATH": checkout}
    # Not where this checkout lies: the first place that Python looks for packages.
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder, check=True, timeout=1200
    )
    return float(done.stdout.split()[0])


def plain_loop(folder: str) -> list[bool]:
    """Fetch both results of each pair and compare their sets."""
    found = []
    with closing(sqlite3.connect(f"{folder}/shop.sqlite")) as connection:
        for n in range(PAIRS):
            predicted, gold = PREDICTED[n % 2].format(n=n), GOLD.format(n=n)
            found.append(
                set(connection.execute(predicted).fetchall()) == set(connection.execute(gold).fetchall())
            )
    return found


def times(folder: str, rounds: int) -> list[tuple[float, float, float, float]]:
    """Return wall and CPU seconds of ours and of the loop, interleaved."""
    import finer_rewards as fr
    from finer_rewards.rewards import execution_match

    samples = [fr.Sample(PREDICTED[n % 2].format(n=n), GOLD.format(n=n), "shop") for n in range(PAIRS)]
    found = []
    for _ in range(rounds):
        own = []
        with fr.Scorer(execution_match(mode="bird"), fr.SQLite(folder)) as scorer:
            scorer.score([fr.Sample("SELECT 1", "SELECT 1", "shop")] * 4)
            children = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu, wall = time.process_time(), time.perf_counter()
            scores = scorer.score(samples)
            own.append(time.perf_counter() - wall)
            cpu = time.process_time() - cpu
        after = resource.getrusage(resource.RUSAGE_CHILDREN)  # of workers that have ended
        own.append(cpu + after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime)
        assert all(score.value == 1 for score in scores), scores
        cpu, wall = time.process_time(), time.perf_counter()
        assert all(plain_loop(folder))
        found.append((own[0], own[1], time.perf_counter() - wall, time.process_time() - cpu))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--beside", metavar="FOLDER", help="another checkout")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    here = str(Path(__file__).parent.parent)
    lines = [
        "# Large results",
        "",
        f"`python -m benchmarks.whole_results`, {date.today().isoformat()}, {platform.machine()}, "
        f"{os.cpu_count()} CPUs, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, two workers.",
        "",
        "| peak of the scoring process, MB | here |" + (" beside |" if arguments.beside else ""),
        "| --- | ---: |" + (" ---: |" if arguments.beside else ""),
    ]
    with tempfile.TemporaryDirectory() as folder:
        make_database(folder)
        for kind, number in (
            ("cross joins", 1),
            ("cross joins", 64),
            ("cross joins", 1024),
            ("600 columns", 8),
        ):
            row = f"| {number} {kind} | {peak(folder, number, kind, here):.0f} |"
            if arguments.beside:
                row += f" {peak(folder, number, kind, arguments.beside):.0f} |" if number < 1024 else " |"
            lines.append(row)
            print(row, flush=True)
        found = times(folder, arguments.rounds)
    wall, cpu = (
        [ours / theirs for ours, theirs in pairs]
        for pairs in ([(one[0], one[2]) for one in found], [(one[1], one[3]) for one in found])
    )
    lines += [
        "",
        f"Verdicts on {PAIRS} predictions of {ROWS:,} rows beside {PAIRS} golds of as many, as a share of the plain "
        f"loop, median and range of {arguments.rounds} interleaved rounds: wall {statistics.median(wall):.2f} "
        f"({min(wall):.2f} to {max(wall):.2f}), CPU {statistics.median(cpu):.2f} ({min(cpu):.2f} to {max(cpu):.2f}).",
    ]
    print(lines[-1])
    if arguments.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
