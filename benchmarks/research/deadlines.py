"""What a deadline that fits the question saves, and whether it costs a right answer.

Runs every right candidate of the data folder under the default limits, each against its gold; says how many times its
gold's work the hardest of them takes, in opcodes, so that it holds for larger databases too. Then scores 1,024
completions, 1 % of them endless and no two alike, here and with the package of another checkout.

    python -m benchmarks.research.deadlines ../shared/data --against ../at-3b77e12 [--workers N] [--write]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from benchmarks.measuring import ENDLESS, versions
from finer_rewards import SQLite
from finer_rewards.executing import Query
from finer_rewards.executing.limits import Limits

RESULTS = Path(__file__).parents[1] / "results" / "deadlines.md"
SETS = {
    "spider_dev_dev": "spider_dev/database",
    "bird_dev_dev": "bird/databases",
    "bird_mini_dev_dev": "bird/databases",
}
MULTIPLES = (5, 10, 20, 50, 100, 500)
LEAST = 2000  # opcodes of a gold that says something of how its rivals grow
BATCH = """
import sys, time
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
import finer_rewards as fr
from benchmarks.throughput import real
work = real(Path(sys.argv[3]), "Spider", 7)
samples = list(work.samples)
for number in range(10):
    place = number * 101
    samples[place] = fr.Sample(sys.argv[5].format(n=number), gold=samples[place].gold, db=samples[place].db)
with fr.Scorer("execution_match()", fr.SQLite(work.root, workers=int(sys.argv[4]))) as scorer:
    scorer.score(samples[1:33])
    began = time.perf_counter()
    scores = scorer.score(samples)
    print(time.perf_counter() - began, sum(score.status.name == "timeout" for score in scores))
"""


def right(data: Path) -> Iterator[tuple[Path, str, str, list[str]]]:
    """Yield folder, database, gold and distinct right candidates of each question."""
    for name, folder in SETS.items():
        with gzip.open(data / "candidates" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            for line in map(json.loads, file):
                found = {
                    one["sql"]
                    for one in line["candidates"].values()
                    if 1 in (one.get("official"), one["set_ex"])
                }
                yield data / folder, line["db_id"], line["gold"], sorted(found)


def candidates(data: Path) -> list[str]:
    """Return what becomes of the right candidates under the default limits."""
    slowest, late, count = 0.0, 0, 0
    ratios = []
    executors: dict[Path, SQLite] = {}
    for folder, db, gold, texts in right(data):
        executor = executors.setdefault(folder, SQLite(folder))
        queries = [Query(gold, db, keep=True), *(Query(text, db, golds=(gold,)) for text in texts)]
        first, *runs = executor.execute_many(queries)
        count += len(runs)
        late += sum(run.status.name == "timeout" for run in runs)
        slowest = max([slowest, *(run.cpu_seconds for run in runs)])
        if first.ok and (first.steps or 0) >= LEAST:
            ratios += [(run.steps or 0) / (first.steps or 1) for run in runs if run.ok]
    for executor in executors.values():
        executor.close()
    past = " | ".join(f"{sum(ratio > multiple for ratio in ratios)}" for multiple in MULTIPLES)
    return [
        f"- right candidates, each distinct one of a question once: {count}; timeouts under the default: {late}; the "
        f"slowest takes {slowest:.2f} s of CPU of the {Limits().deadline_floor:g} s that any may take",
        f"- of {len(ratios)} whose gold takes {LEAST} opcodes or more, more than so many times as many take:",
        "",
        f"| {' | '.join(map(str, MULTIPLES))} |",
        f"|{'---|' * len(MULTIPLES)}",
        f"| {past} |",
    ]


def endless(package: Path, data: Path, workers: int) -> tuple[float, int]:
    """Return the wall seconds of a batch with 1 % endless queries in a checkout, and how many were timeouts."""
    here = Path(__file__).parents[2]
    command = [sys.executable, "-c", BATCH, str(package), str(here), str(data), str(workers), ENDLESS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    seconds, late = done.stdout.split()
    return float(seconds), int(late)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--against", type=Path, help="a checkout of another version")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    lines = [
        f"# Deadlines, {date.today()}",
        "",
        f"{versions()}, load {os.getloadavg()[0]:.1f} at the start; {arguments.workers} workers. {Limits()}",
        "",
        *candidates(arguments.data),
        "",
    ]
    if arguments.against:
        here, late = endless(Path(__file__).parents[2], arguments.data, arguments.workers)
        there, late_there = endless(arguments.against.resolve(), arguments.data, arguments.workers)
        lines += [
            f"- 1,024 completions, {late} and {late_there} of them endless: {here:.1f} s of wall time, {there:.1f} s "
            f"in the other checkout: 1/{there / here:.1f}",
            "",
        ]
    print("\n".join(lines))
    if arguments.write:
        RESULTS.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
