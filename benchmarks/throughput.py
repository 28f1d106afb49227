"""Score 1,024 completions in one call, beside a plain loop over them, in the same run.

The loop is what most people write: for each completion it opens the database, runs the prediction and the
gold, and compares the two sets of rows (BIRD's rule). It has no timeout, no limits and no isolation, so it
bears none of their cost. The floor runs each distinct statement once, in this process, on connections kept
open, and compares nothing: what SQLite itself needs. Ways are interleaved, and medians are given.

    python benchmarks/throughput.py [DATA] [--rounds N] [--workers N] [--write]

DATA is the folder of real databases and predictions; without it a small synthetic database stands in.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

from finer_rewards import Sample, Scorer, SQLite
from finer_rewards.executing import Query
from finer_rewards.rewards import execution_match

RESULTS = Path(__file__).parent / "results" / "throughput.md"
QUESTIONS = GROUP = 32
SETS = {"Spider": ("spider_dev_dev", "spider_dev/database"), "BIRD": ("bird_dev_dev", "bird/databases")}
TIMEOUT = 30.0


@dataclass(frozen=True)
class Workload:
    """Completions to score, and the folder of their databases."""

    name: str
    root: Path
    samples: tuple[Sample, ...]

    def path(self, db: str) -> Path:
        """Return the file of a database."""
        return self.root / db / f"{db}.sqlite"

    @property
    def statements(self) -> list[tuple[str, str]]:
        """Each distinct (database, statement), predictions and golds."""
        both = ((s.db, text) for s in self.samples for text in (s.completion, s.gold))
        return sorted({(str(db), str(text)) for db, text in both})


def real(data: Path, name: str, seed: int) -> Workload | None:
    source, folder = SETS[name]
    path, root = data / "candidates" / f"{source}.jsonl.gz", data / folder
    if not path.is_file():
        return None
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    chance = random.Random(seed)
    lines = [line for line in lines if (root / line["db_id"] / f"{line['db_id']}.sqlite").is_file()]
    samples = []
    for line in chance.sample(lines, QUESTIONS):
        texts = [candidate["sql"] for candidate in line["candidates"].values()]
        group = chance.sample(texts, GROUP) if len(texts) >= GROUP else chance.choices(texts, k=GROUP)
        samples += [Sample(text, gold=line["gold"], db=line["db_id"]) for text in group]
    return Workload(name, root, tuple(samples))


def synthetic(folder: Path, seed: int) -> Workload:
    """Make one small database, and groups in which half of the completions repeat another."""
    path = folder / "shop" / "shop.sqlite"
    path.parent.mkdir()
    chance = random.Random(seed)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, amount REAL)")
        rows = [(chance.randrange(300), round(chance.random() * 100, 2)) for _ in range(5000)]
        connection.executemany("INSERT INTO orders (customer, amount) VALUES (?, ?)", rows)
        connection.commit()
    samples = []
    for question in range(QUESTIONS):
        gold = f"SELECT customer, sum(amount) FROM orders WHERE amount > {question} GROUP BY customer"
        others = [gold.replace("sum", word) for word in ("avg", "max", "count", "summ")]
        others += [f"{gold} HAVING count(*) > {number}" for number in range(GROUP // 2 - len(others) - 1)]
        samples += [Sample(text, gold=gold, db="shop") for text in chance.choices([gold, *others], k=GROUP)]
    return Workload("synthetic", folder, tuple(samples))


def plain_loop(work: Workload) -> list[bool]:
    verdicts = []
    for sample in work.samples:
        with closing(sqlite3.connect(work.path(str(sample.db)))) as connection:
            try:
                predicted = connection.execute(sample.completion).fetchall()
                gold = connection.execute(str(sample.gold)).fetchall()
                verdicts.append(set(predicted) == set(gold))
            except (sqlite3.Error, sqlite3.Warning):
                verdicts.append(False)
    return verdicts


def floor(work: Workload) -> None:
    kept: dict[str, sqlite3.Connection] = {}
    for db, text in work.statements:
        if db not in kept:
            kept[db] = sqlite3.connect(f"file:{work.path(db)}?mode=ro&immutable=1", uri=True)
        try:
            kept[db].execute(text).fetchall()
        except (sqlite3.Error, sqlite3.Warning):
            continue
    for connection in kept.values():
        connection.close()


def run_all(work: Workload, executor: SQLite) -> None:
    predicted = [Query(sample.completion, str(sample.db)) for sample in work.samples]
    executor.execute_many(
        predicted + [Query(str(sample.gold), str(sample.db), keep=True) for sample in work.samples]
    )


def cpu_seconds(executor: SQLite | None) -> float:
    """CPU time of this process, of its children that have ended, and of the workers that run."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    workers = executor.process_ids if executor else []
    running = [int(Path(f"/proc/{number}/schedstat").read_text().split()[0]) for number in workers]
    return sum(usage.ru_utime + usage.ru_stime for usage in used) + sum(running) / 1e9


class Stopwatch:
    """Collects wall and CPU seconds by name."""

    def __init__(self) -> None:
        self.times: dict[str, list[tuple[float, float]]] = {}

    def time(self, name: str, work: Callable[[], object], executor: SQLite | None = None) -> None:
        """Do the work and remember what it took."""
        cpu, wall = cpu_seconds(executor), time.perf_counter()
        work()
        self.times.setdefault(name, []).append((time.perf_counter() - wall, cpu_seconds(executor) - cpu))

    def median(self, name: str) -> tuple[float, float]:
        """Return the median wall and CPU seconds."""
        walls, cpus = zip(*self.times[name], strict=True)
        return statistics.median(walls), statistics.median(cpus)


def measure(work: Workload, rounds: int, workers: int | None) -> tuple[Stopwatch, int, int]:
    """Return the times, the number of matches, and of verdicts that differ from the loop's."""
    watch = Stopwatch()
    reward = execution_match(mode="bird")
    matches = differ = 0

    def new_executor() -> SQLite:
        return SQLite(work.root, timeout=TIMEOUT, workers=workers)

    def execute_alone() -> None:
        # Ended inside the measurement: the CPU time of a child counts when it has ended.
        with new_executor() as executor:
            run_all(work, executor)

    def score_cold() -> None:
        nonlocal matches, differ
        with Scorer(reward, new_executor()) as scorer:
            scores = scorer.score(work.samples)
        matches = sum(score.value == 1 for score in scores)
        differ = sum((score.value == 1) != verdict for score, verdict in zip(scores, verdicts, strict=True))

    for number in range(rounds):
        show(f"{work.name}: round {number + 1} of {rounds}")
        verdicts: list[bool] = []
        watch.time("loop", lambda: verdicts.extend(plain_loop(work)))  # noqa: B023
        watch.time("floor", lambda: floor(work))
        watch.time("executor", execute_alone)
        watch.time("scorer", score_cold)
        executor = new_executor()
        with Scorer(reward, executor) as scorer:
            executor.execute_many([Query(f"SELECT {one}", str(work.samples[0].db)) for one in range(200)])
            score = partial(scorer.score, work.samples)
            watch.time("step", score, executor)
            watch.time("repeat", score, executor)
    return watch, matches, differ


WAYS = {
    "loop": "plain loop",
    "executor": "executor alone, from start to end of its workers",
    "scorer": "**`Scorer.score`, from start to end of its workers**",
    "step": "**`Scorer.score`, workers up, no result known**",
    "repeat": "`Scorer.score` of the same batch again, gold results kept",
    "floor": "floor: distinct statements once, in process",
}


def report(work: Workload, watch: Stopwatch, matches: int, differ: int) -> list[str]:
    count, distinct = len(work.samples), len(work.statements)
    loop_wall, loop_cpu = watch.median("loop")
    lines = [
        f"## {work.name}",
        "",
        f"{count:,} completions ({QUESTIONS} questions x {GROUP}), {distinct:,} distinct statements with the "
        f"golds; {matches:,} match; {differ} verdicts differ from the loop's.",
        "",
        "| way | completions/s | wall, s | times as fast | CPU, s | CPU, loop / this |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, title in WAYS.items():
        wall, cpu = watch.median(name)
        cells = [title, f"{count / wall:,.0f}", f"{wall:.3f}", f"{loop_wall / wall:.1f}"]
        cells += [f"{cpu:.3f}", f"{loop_cpu / cpu:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def show(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, help="default: one a core, at most 8")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    workers = arguments.workers or max(1, min(os.cpu_count() or 1, 8))
    lines = [
        "# Throughput",
        "",
        f"`python benchmarks/throughput.py`, {date.today().isoformat()}. {platform.machine()}, "
        f"{os.cpu_count()} cores, {workers} workers, Linux {platform.release()}, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; "
        f"medians of {arguments.rounds} interleaved rounds; "
        f"load average before {os.getloadavg()[0]:.1f}.",
        "",
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = [real(arguments.data, name, arguments.seed) for name in SETS]
        workloads = [work for work in found if work] or [synthetic(Path(folder), arguments.seed)]
        slower = []
        for work in workloads:
            watch, matches, differ = measure(work, arguments.rounds, workers)
            lines += report(work, watch, matches, differ)
            if watch.median("scorer")[0] > watch.median("loop")[0]:
                slower.append(work.name)
    show("")
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text, encoding="utf-8")
    if slower:
        print(f"Slower than the plain loop on {', '.join(slower)}.", file=sys.stderr)
    return 1 if slower else 0


if __name__ == "__main__":
    raise SystemExit(main())
