"""Every number that the executor promises, in one command; the baseline is measured in the same run.

    python -m benchmarks.gates [DATA] [--rounds N] [--engine sqlite3|apsw] [--only PART ...] [--write]

Rounds are interleaved. A ratio is taken within each round; the median and, in brackets, the range over the rounds are
given. CPU time (of this process, the workers and the sandbox) is the primary figure: on a machine that does other
things too, wall time says little. Caches are cold but for the
results of the golds, which both sides have, and the golds' operations, which ours keeps as long as it runs; the
time limit is the same. `published` is `benchmarks/baseline.py`.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path

from benchmarks.baseline import Baseline
from benchmarks.chart import chart
from benchmarks.measuring import (
    MACHINE,
    MATCH,
    TIMEOUT,
    Engine,
    compiled,
    distinct,
    executor_of,
    forget,
    free_port,
    pids,
    ready,
    show,
    table,
    with_bombs,
    without_duplicates,
)
from benchmarks.throughput import Workload, real
from finer_rewards import Sample, SQLite
from finer_rewards.reward import Reward, gate
from finer_rewards.rewards import atomic_f1, executable

RESULTS = Path(__file__).parent / "results"
ATOMIC = gate(condition=MATCH, then=MATCH, otherwise=gate(condition=executable(), then=atomic_f1()))
#: `sum` needs the operations of every completion, `atomic` of those that ran and are wrong.
REWARDS = {"match": MATCH, "atomic": ATOMIC, "sum": 2 * MATCH + atomic_f1()}
PARTS = ("published", "raw", "small", "growth")
OURS_A_ROUND = 5  # ours takes a small part of the time of the other
# One opcode each: no callback runs inside.
LONG_OPCODES = (
    "SELECT instr(a, b) FROM (SELECT replace(hex(zeroblob(900000)), '0', 'a') AS a, "
    "replace(hex(zeroblob(450000)), '0', 'a') || 'b' AS b)",
    "SELECT length(replace(a, b, 'c')) FROM (SELECT replace(hex(zeroblob(900000)), '0', 'a') AS a, "
    "replace(hex(zeroblob(450000)), '0', 'a') || 'b' AS b)",
    "SELECT printf('%.*c', 900000000, 'x')",
    "WITH c0 AS (SELECT 1)"
    + "".join(f", c{n} AS (SELECT * FROM c{n - 1} a, c{n - 1} b)" for n in range(1, 22))
    + " SELECT count(*) FROM c21",
)


def against_published(
    work: Workload, engine: Engine, rounds: int, reward: Reward
) -> tuple[list[float], list[float], list[str]]:
    """Return CPU and wall of the published design over ours, by round, and a row; both score the same rewards."""
    base = Baseline(work.root, free_port(), TIMEOUT)
    theirs: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []

    def loop() -> None:
        for one in work.samples:
            base.score(str(one.db), one.completion, str(one.gold), atomic=reward is ATOMIC)

    try:
        for sample in work.samples:
            base.gold(str(sample.db), str(sample.gold))
        with ready(work, engine, 2, reward) as scorer:
            for number in range(rounds):
                show(f"{work.name}: round {number + 1} of {rounds}")
                theirs.append(MACHINE.measure(loop, base.server.pid))
                several = []
                for _ in range(OURS_A_ROUND):
                    forget(scorer, work)
                    several.append(MACHINE.measure(lambda: scorer.score(work.samples), *pids(scorer)))
                walls, cpus = zip(*several, strict=True)
                ours.append((statistics.median(walls), statistics.median(cpus)))
    finally:
        base.close()
    wall, cpu = (
        [their[kind] / our[kind] for their, our in zip(theirs, ours, strict=True)] for kind in (0, 1)
    )
    cells = [
        f"{statistics.median(one[kind] for one in side):.3f}" for kind in (1, 0) for side in (theirs, ours)
    ]
    name = f"{work.name}, {'with' if reward is ATOMIC else 'without'} atomic reward"
    return cpu, wall, [name, str(len(distinct(work))), *cells, spread(cpu, 1), spread(wall, 1)]


def cpu_seconds(work: Workload, engine: Engine, rounds: int) -> dict[str, list[float]]:
    """Return CPU seconds by round: of raw `sqlite3` in this process, of the executor alone, and of scoring.

    Raw means: connections kept open, each distinct statement prepared and fetched, no limit, no comparison.
    """
    queries = distinct(work)
    kept = {}
    for query in queries:
        if query.db not in kept:
            uri = f"file:{work.path(query.db)}?mode=ro&immutable=1"
            kept[query.db] = sqlite3.connect(uri, uri=True, cached_statements=0)

    def raw() -> None:
        for sql, db, *_ in queries:
            try:
                kept[db].execute(sql).fetchall()
            except (sqlite3.Error, sqlite3.Warning):
                continue

    raw()
    times: dict[str, list[float]] = {"raw": [], "executor": [], **{name: [] for name in REWARDS}}
    with ExitStack() as stack:
        scorers = {
            name: stack.enter_context(ready(work, engine, 1, reward)) for name, reward in REWARDS.items()
        }
        alone = scorers["match"]
        for number in range(3 * rounds):
            show(f"{work.name}: raw, round {number + 1}")
            times["raw"].append(MACHINE.measure(raw)[1])
            forget(alone, work)
            execute = partial(executor_of(alone).execute_many, queries)
            times["executor"].append(MACHINE.measure(execute, *pids(alone))[1])
            for name, scorer in scorers.items():
                forget(scorer, work)
                score = partial(scorer.score, work.samples)
                times[name].append(MACHINE.measure(score, *pids(scorer))[1])
    for connection in kept.values():
        connection.close()
    return times


def over(times: dict[str, list[float]], one: str, other: str) -> list[float]:
    """Return the ratio of two by round."""
    return [a / b for a, b in zip(times[one], times[other], strict=True)]


def repeat(work: Workload, engine: Engine) -> tuple[float, float]:
    """Return the least wall and CPU milliseconds of scoring a batch that was just scored."""
    with ready(work, engine, 2) as scorer:
        scorer.score(work.samples)
        found = [MACHINE.measure(lambda: scorer.score(work.samples), *pids(scorer)) for _ in range(15)]
    return min(wall for wall, _ in found) * 1000, statistics.median(cpu for _, cpu in found) * 1000


def two_workers(work: Workload, engine: Engine, rounds: int) -> float:
    """Return wall of one worker over that of two, the least of several short runs each."""
    queries = distinct(work)
    walls: dict[int, list[float]] = {1: [], 2: []}
    with ready(work, engine, 1) as one, ready(work, engine, 2) as two:
        for _ in range(5 * rounds):
            for scorer, found in ((one, walls[1]), (two, walls[2])):
                forget(scorer, work)
                found.append(MACHINE.measure(partial(executor_of(scorer).execute_many, queries))[0])
    return min(walls[1]) / min(walls[2])


def late_kill(root: Path, db: str, engine: Engine) -> list[float]:
    """Return by how many milliseconds each long opcode outlives its limit, at worst of three."""
    late = []
    with SQLite(root, timeout=0.3, workers=1, engine=engine) as executor:
        for sql in LONG_OPCODES:
            worst = 0.0
            for _ in range(3):
                executor.execute("SELECT 1", db)
                executor._predicted.clear()
                began = time.perf_counter()
                executor.execute(sql, db)
                worst = max(worst, time.perf_counter() - began - 0.3)
            late.append(worst * 1000)
    return late


def respawn(root: Path, db: str, engine: Engine) -> list[float]:
    """Return milliseconds from the loss of the only worker to the next answer."""
    found = []
    with SQLite(root, timeout=5, workers=1, engine=engine) as executor:
        for number in range(15):
            executor.execute(f"SELECT {number}, 'before'", db)
            os.kill(executor.process_ids[0], signal.SIGKILL)
            began = time.perf_counter()
            assert executor.execute(f"SELECT {number}, 'after'", db).ok
            found.append((time.perf_counter() - began) * 1000)
    return found


def growth(folder: Path, engine: Engine) -> dict[str, list[tuple[int, float]]]:
    """Return CPU milliseconds against what grows."""
    source = folder / "grow" / "grow.sqlite"
    source.parent.mkdir()
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER, b TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", ((n, f"text {n}") for n in range(10_000)))
        connection.commit()
    for number in range(1000):
        shutil.copyfile(source, folder / f"copy{number}.sqlite")

    def cost(samples: list[Sample]) -> float:
        times = []
        work = Workload("growth", folder, tuple(samples))
        with ready(work, engine, 1) as scorer:
            for _ in range(5):
                forget(scorer, work)
                times.append(MACHINE.measure(partial(scorer.score, samples), *pids(scorer))[1])
        return statistics.median(times) * 1000

    def one(number: int, rows: int = 20, db: str = "grow") -> Sample:
        sql = f"SELECT a, b FROM t WHERE a < {rows} AND a > -{number + 1}"
        return Sample(sql, gold=f"SELECT a, b FROM t WHERE a < {rows}", db=db)

    found: dict[str, list[tuple[int, float]]] = {}
    counts = (64, 128, 256, 512, 1024)
    found["distinct queries of 1,024"] = [(n, cost([one(i % n) for i in range(1024)])) for n in counts]
    found["completions, 256 distinct"] = [
        (n, cost([one(i % 256) for i in range(n)])) for n in (256, 512, 1024, 2048, 4096)
    ]
    found["rows of each of 64 results"] = [
        (n, cost([one(i, n) for i in range(64)])) for n in (1, 1000, 2500, 5000, 10_000)
    ]
    found["databases, 1,024 distinct queries"] = [
        (n, cost([one(i, db=f"copy{i % n}") for i in range(1024)])) for n in (1, 10, 100, 250, 500, 1000)
    ]
    return found


@dataclass(frozen=True)
class Works:
    """The batches of 1,024 completions that are scored."""

    spider: Workload
    bird: Workload
    alone: Workload
    bombs: Workload


class Gates:
    """The rows of the table of gates, and the tables that follow it."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []
        self.after: list[str] = []

    def at_least(self, name: str, values: list[float], must: float, aim: float, unit: str = "x") -> None:
        """Add a gate that is held where the median is `must` or more."""
        held = "held" if statistics.median(values) >= must else "**not held**"
        self.rows.append([name, spread(values, 2, unit), f">= {must:g}{unit}", f"{aim:g}{unit}", held])

    def at_most(self, name: str, values: list[float], must: float, aim: float, unit: str = "") -> None:
        """Add a gate that is held where the median is `must` or less."""
        held = "held" if statistics.median(values) <= must else "**not held**"
        self.rows.append([name, spread(values, 2, unit), f"<= {must:g}{unit}", f"{aim:g}{unit}", held])

    def noted(self, name: str, values: list[float]) -> None:
        """Add a figure that is no gate."""
        self.rows.append([name, spread(values, 2), "", "", ""])


def spread(values: list[float], digits: int, unit: str = "") -> str:
    """Return the median, and the range where there are several values."""
    median = f"{statistics.median(values):.{digits}f}{unit}"
    return f"{median} ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else median


def published_part(gates: Gates, works: Works, engine: Engine, rounds: int) -> None:
    rows = []
    for work, name, reward, must, aim in (
        (works.spider, "CPU, published / ours, Spider", MATCH, 25, 40),
        (works.spider, "CPU, published / ours, Spider, both with atomic reward", ATOMIC, 25, 40),
        (works.bird, "CPU, published / ours, BIRD", MATCH, 8, 16),
        (works.bird, "CPU, published / ours, BIRD, both with atomic reward", ATOMIC, 8, 16),
        (works.alone, "CPU, published / ours, no duplicates", MATCH, 4, 7),
        (works.bombs, "wall with 1 % bombs, 2 workers", MATCH, 4, 8),
    ):
        cpu, wall, row = against_published(work, engine, rounds, reward)
        rows.append(row)
        gates.at_least(name, wall if work is works.bombs else cpu, must, aim)
    titles = ["CPU s, published", "ours", "wall s, published", "ours", "CPU ratio", "wall ratio"]
    found = table(["1,024 completions", "distinct", *titles], rows)
    gates.after += ["## Against the published design", "", *found, ""]


def raw_part(gates: Gates, works: Works, engine: Engine, rounds: int) -> None:
    for work in (works.spider, works.bird):
        name = work.name
        times = cpu_seconds(work, engine, rounds)
        gates.at_most(
            f"CPU, with the atomic reward / execution match alone, {name}",
            over(times, "atomic", "match"),
            1.25,
            1.10,
        )
        gates.at_most(
            f"CPU, scoring execution match / executor alone, {name}",
            over(times, "match", "executor"),
            1.3,
            1.1,
        )
        gates.at_most(
            f"CPU, executor / raw sqlite3 in process, {name}", over(times, "executor", "raw"), 1.15, 1.03
        )
        gates.noted(
            f"CPU with `{REWARDS['sum']!r}` / execution match alone, {name}", over(times, "sum", "match")
        )
        gates.noted(f"CPU, scoring execution match / raw, {name}", over(times, "match", "raw"))
        gates.noted(f"CPU ms, raw, {name}", [1000 * one for one in times["raw"]])
        gates.at_least(f"2 workers over 1, {name}", [two_workers(work, engine, rounds)], 1.6, 1.9)


def small_part(gates: Gates, works: Works, engine: Engine) -> None:
    for work in (works.spider, works.bird):
        wall, cpu = repeat(work, engine)
        gates.at_most(f"repeat of the batch, {work.name} (CPU {cpu:.1f} ms)", [wall], 25, 5, " ms")
    root, db = works.spider.root, str(works.spider.samples[0].db)
    late = max(late_kill(root, db, engine))
    gates.at_most("hard kill late by, worst single opcode", [late], 100, 50, " ms")
    gates.at_most("worker lost to next answer", respawn(root, db, engine), 250, 60, " ms")


def growth_part(gates: Gates, engine: Engine, write: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        grown = growth(Path(folder), engine)
    gates.after += ["## Growth: CPU ms", "", "![growth](growth.svg)", ""]
    for name, points in grown.items():
        costs = ["CPU ms", *(f"{ms:.1f}" for _, ms in points)]
        gates.after += [*table([name, *(f"{n:,}" for n, _ in points)], [costs]), ""]
    if write:
        (RESULTS / "growth.svg").write_text(chart(grown, "CPU ms"), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("sqlite3", "apsw"), default="sqlite3")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--write", action="store_true", help="write results/gates-ENGINE[-PART].md, growth.svg"
    )
    arguments = parser.parse_args()
    engine: Engine = arguments.engine
    parts, rounds, seed = arguments.only, arguments.rounds, arguments.seed
    spider, bird = (real(arguments.data, name, seed) for name in ("Spider", "BIRD"))
    alone = without_duplicates(arguments.data, "Spider", seed)
    if spider is None or bird is None or alone is None:
        print("The databases and predictions are not there; pass their folder.", file=sys.stderr)
        return 2
    works = Works(spider, bird, alone, with_bombs(spider, seed))
    load = os.getloadavg()[0]
    gates = Gates()
    if "published" in parts:
        published_part(gates, works, engine, rounds)
    if "raw" in parts:
        raw_part(gates, works, engine, rounds)
    if "small" in parts:
        small_part(gates, works, engine)
    if "growth" in parts:
        growth_part(gates, engine, arguments.write)
    text = "\n".join(
        [
            f"# Gates, engine `{engine}`",
            "",
            f"`python -m benchmarks.gates {' '.join(sys.argv[1:])}`, {date.today().isoformat()}. "
            f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, "
            f"Python {platform.python_version()}, SQLite {SQLite(spider.root, engine=engine).version}, "
            f"sqlglot {version('sqlglot')}{compiled()}; {rounds} interleaved rounds, medians (ranges), "
            f"time limit {TIMEOUT:g} s; load average {load:.1f} at the start.",
            "",
            *table(["gate", "measured", "must", "aim", ""], gates.rows),
            "",
            *gates.after,
        ]
    )
    show("")
    print(text)
    if arguments.write:
        name = "-".join(("gates", engine, *(() if parts is PARTS else parts)))
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
