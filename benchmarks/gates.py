"""Every number that the executor promises, in one command; the baseline is measured in the same run.

    python -m benchmarks.gates [DATA] [--rounds N] [--engine sqlite3|apsw] [--only PART] [--write]

Rounds are interleaved, medians are given, and CPU time (of this process, the workers and the sandbox) is the
primary figure: on a machine that does other things too, wall time says little. Caches are cold but for the
results of the golds, which both sides have; the time limit is the same. `published` is `benchmarks/baseline.py`.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import signal
import socket
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import finer_rewards.operations as operations
from benchmarks.baseline import Baseline
from benchmarks.chart import chart
from benchmarks.throughput import GROUP, Workload, real
from finer_rewards import Sample, Scorer, SQLite
from finer_rewards.executing import Query
from finer_rewards.recent import Recent
from finer_rewards.reward import Reward, gate
from finer_rewards.rewards import atomic_f1, executable, execution_match

RESULTS = Path(__file__).parent / "results"
TIMEOUT = 2.0
Engine = Literal["sqlite3", "apsw"]
MATCH = execution_match(mode="bird")
ATOMIC = gate(condition=MATCH, then=MATCH, otherwise=gate(condition=executable(), then=atomic_f1()))
BOMBS = (
    "WITH RECURSIVE c(x) AS (SELECT {n} UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
    "SELECT count(*) FROM sqlite_master a, sqlite_master b, sqlite_master c, sqlite_master d, sqlite_master e,"
    " sqlite_master f, sqlite_master g, sqlite_master h, sqlite_master i WHERE a.rootpage + i.rootpage > -{n}",
)
BOMB_TEXTS = frozenset(text.format(n=number) for text in BOMBS for number in range(100))
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


class Machine:
    """What the processes at work have used, to the nanosecond."""

    def __init__(self) -> None:
        self.others: Callable[[], Iterable[int]] = list

    def cpu(self) -> float:
        """Return CPU seconds of this process and of the others that run now."""
        # The kernel's clock of another process: its number, inverted, and what is counted.
        return time.process_time() + sum(time.clock_gettime((~pid << 3) | 2) for pid in self.others())

    def measure(self, work: Callable[[], object], *pids: int) -> tuple[float, float]:
        """Return wall and CPU seconds."""
        self.others = lambda: pids
        cpu, wall = self.cpu(), time.perf_counter()
        work()
        return time.perf_counter() - wall, self.cpu() - cpu


MACHINE = Machine()


@contextmanager
def ready(work: Workload, engine: Engine, workers: int, reward: Reward = MATCH) -> Iterator[Scorer]:
    """Give a scorer in the middle of a training: its workers up and warm, the golds known, no other result."""
    with Scorer(reward, SQLite(work.root, timeout=TIMEOUT, workers=workers, engine=engine)) as scorer:
        executor = executor_of(scorer)
        golds = dict.fromkeys((str(sample.gold), str(sample.db)) for sample in work.samples)
        executor.execute_many([Query(sql, db, keep=True) for sql, db in golds])
        first = str(work.samples[0].db)
        while len(executor.process_ids) < workers:
            executor.execute_many([Query(f"SELECT {number}", first) for number in range(500)])
            forget(scorer)
        scorer.score([one for one in work.samples if one.completion not in BOMB_TEXTS])
        forget(scorer)
        yield scorer


def forget(scorer: Scorer) -> None:
    """Forget every result but those of the golds."""
    executor_of(scorer)._predicted.clear()
    scorer._recent = Recent(scorer._recent.limit)
    operations._operations.clear()


def executor_of(scorer: Scorer) -> SQLite:
    assert isinstance(scorer.executor, SQLite)
    return scorer.executor


def pids(scorer: Scorer) -> list[int]:
    return executor_of(scorer).process_ids


def free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def distinct(work: Workload) -> list[Query]:
    return [Query(sql, db) for db, sql in sorted({(str(one.db), one.completion) for one in work.samples})]


def without_duplicates(data: Path, name: str, seed: int) -> Workload | None:
    """Return as many completions, no two of them equal."""
    samples: dict[tuple[Any, str], Sample] = {}
    root = None
    for number in range(60):
        work = real(data, name, seed + number)
        if work is None:
            return None
        root = work.root
        for sample in work.samples:
            samples.setdefault((sample.db, " ".join(sample.completion.split()).rstrip("; ")), sample)
        if len(samples) >= 32 * GROUP:
            break
    assert root is not None
    return Workload(f"{name}, no duplicates", root, tuple(samples.values())[: 32 * GROUP])


def with_bombs(work: Workload, seed: int) -> Workload:
    """Put a bomb in the place of 1 % of the completions, as often repeated as what was there."""
    chance = random.Random(seed)
    texts = sorted({(str(one.db), one.completion) for one in work.samples})
    chance.shuffle(texts)
    bombs: dict[tuple[str, str], str] = {}
    count = 0
    while count < len(work.samples) / 100:
        text = texts.pop()
        bombs[text] = BOMBS[len(bombs) % len(BOMBS)].format(n=len(bombs))
        count += sum((str(one.db), one.completion) == text for one in work.samples)
    samples = tuple(
        replace(one, completion=bombs.get((str(one.db), one.completion), one.completion))
        for one in work.samples
    )
    return Workload(f"{work.name}, 1 % bombs ({len(bombs)} distinct)", work.root, samples)


def against_published(
    work: Workload, engine: Engine, rounds: int, reward: Reward
) -> tuple[float, float, list[str]]:
    """Return CPU and wall of the published design over ours, and a row; both score the same rewards."""
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
                for _ in range(OURS_A_ROUND):
                    forget(scorer)
                    ours.append(MACHINE.measure(lambda: scorer.score(work.samples), *pids(scorer)))
    finally:
        base.close()
    wall, cpu = (
        statistics.median(one[kind] for one in theirs) / statistics.median(one[kind] for one in ours)
        for kind in (0, 1)
    )
    cells = [
        f"{statistics.median(one[kind] for one in side):.3f}" for kind in (1, 0) for side in (theirs, ours)
    ]
    name = f"{work.name}, {'with' if reward is ATOMIC else 'without'} atomic reward"
    return cpu, wall, [name, str(len(distinct(work))), *cells, f"{cpu:.1f}", f"{wall:.1f}"]


def raw_ratio(work: Workload, engine: Engine, rounds: int) -> tuple[float, float, float]:
    """Return CPU over that of raw `sqlite3` in this process: of the executor, of scoring, with the atomic reward.

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

    times: dict[str, list[float]] = {"raw": [], "alone": [], "scored": [], "atomic": []}
    raw()
    with ready(work, engine, 1) as scorer, ready(work, engine, 1, ATOMIC) as atomic:
        for number in range(3 * rounds):
            show(f"{work.name}: raw, round {number + 1}")
            forget(scorer)
            forget(atomic)
            times["raw"].append(MACHINE.measure(raw)[1])
            alone = partial(executor_of(scorer).execute_many, queries)
            times["alone"].append(MACHINE.measure(alone, *pids(scorer))[1])
            forget(scorer)
            times["scored"].append(MACHINE.measure(partial(scorer.score, work.samples), *pids(scorer))[1])
            times["atomic"].append(MACHINE.measure(partial(atomic.score, work.samples), *pids(atomic))[1])
    for connection in kept.values():
        connection.close()
    first = statistics.median(times["raw"])
    executed, scored, whole = (
        statistics.median(times[name]) / first for name in ("alone", "scored", "atomic")
    )
    return executed, scored, whole


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
                forget(scorer)
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
        with ready(Workload("growth", folder, tuple(samples)), engine, 1) as scorer:
            for _ in range(5):
                forget(scorer)
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


def show(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def held(value: float, least: float | None = None, most: float | None = None) -> str:
    return "held" if (least is None or value >= least) and (most is None or value <= most) else "**not held**"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("sqlite3", "apsw"), default="sqlite3")
    parser.add_argument("--only", choices=("published", "raw", "small", "growth"))
    parser.add_argument(
        "--write", action="store_true", help="write results/gates-ENGINE[-PART].md, growth.svg"
    )
    arguments = parser.parse_args()
    engine: Engine = arguments.engine
    works = {name: real(arguments.data, name, arguments.seed) for name in ("Spider", "BIRD")}
    spider, bird = works["Spider"], works["BIRD"]
    alone = without_duplicates(arguments.data, "Spider", arguments.seed)
    if spider is None or bird is None or alone is None:
        print("The databases and predictions are not there; pass their folder.", file=sys.stderr)
        return 2
    probe = SQLite(spider.root, engine=engine)
    lines = [
        f"# Gates, engine `{engine}`",
        "",
        f"`python -m benchmarks.gates {' '.join(sys.argv[1:])}`, {date.today().isoformat()}. {platform.machine()}, "
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, "
        f"SQLite {probe.version}, sqlglot {version('sqlglot')}{compiled()}; "
        f"{arguments.rounds} interleaved rounds, medians, time limit {TIMEOUT:g} s; "
        f"load average {os.getloadavg()[0]:.1f} at the start.",
        "",
    ]
    gates: list[list[str]] = []

    def told(name: str, value: float, unit: str, least: float | None, most: float | None, aim: str) -> None:
        must = f">= {least:g}{unit}" if least is not None else f"<= {most:g}{unit}"
        gates.append([name, f"{value:.2f}{unit}", must, aim, held(value, least, most)])

    part = arguments.only
    tables: list[str] = []
    if part in (None, "published"):
        rows = []
        for work, name, reward, least, aim in (
            (spider, "CPU, published / ours, Spider", MATCH, 25, "40x"),
            (spider, "CPU, published / ours, Spider, both with atomic reward", ATOMIC, 25, "40x"),
            (bird, "CPU, published / ours, BIRD", MATCH, 8, "15x"),
            (bird, "CPU, published / ours, BIRD, both with atomic reward", ATOMIC, 8, "15x"),
            (alone, "CPU, published / ours, no duplicates", MATCH, 4, "7x"),
            (with_bombs(spider, arguments.seed), "wall with 1 % bombs, 2 workers", MATCH, 4, "8x"),
        ):
            cpu, wall, row = against_published(work, engine, arguments.rounds, reward)
            rows.append(row)
            told(name, wall if "wall" in name else cpu, "x", least, None, aim)
        tables += [
            "## Against the published design",
            "",
            *table(
                ["1,024 completions", "distinct", "CPU s, published", "ours", "wall s, published", "ours",
                 "CPU ratio", "wall ratio"],
                rows,
            ),
            "",
        ]  # fmt: skip
    if part in (None, "raw"):
        for work in (spider, bird):
            executed, scored, atomic = raw_ratio(work, engine, arguments.rounds)
            told(f"CPU, executor / raw sqlite3 in process, {work.name}", executed, "", None, 1.15, "1.03")
            told(
                f"CPU with the atomic reward / executor alone, {work.name}",
                atomic / executed,
                "",
                None,
                1.25,
                "1.10",
            )
            gates.append([f"CPU, scoring execution match / raw, {work.name}", f"{scored:.2f}", "", "", ""])
            told(
                f"2 workers over 1, {work.name}",
                two_workers(work, engine, arguments.rounds),
                "x",
                1.6,
                None,
                "1.9x",
            )
    if part in (None, "small"):
        for work in (spider, bird):
            wall, cpu = repeat(work, engine)
            told(f"repeat of the batch, {work.name} (CPU {cpu:.1f} ms)", wall, " ms", None, 25, "5 ms")
        db = str(spider.samples[0].db)
        told(
            "hard kill late by, worst single opcode",
            max(late_kill(spider.root, db, engine)),
            " ms",
            None,
            100,
            "50 ms",
        )
        told(
            "worker lost to next answer, median",
            statistics.median(respawn(spider.root, db, engine)),
            " ms",
            None,
            250,
            "60 ms",
        )
    if part in (None, "growth"):
        with tempfile.TemporaryDirectory() as folder:
            grown = growth(Path(folder), engine)
        tables += ["## Growth: CPU ms", "", "![growth](growth.svg)", ""]
        for name, points in grown.items():
            tables += [
                *table(
                    [name, *(f"{n:,}" for n, _ in points)], [["CPU ms", *(f"{ms:.1f}" for _, ms in points)]]
                ),
                "",
            ]
        if arguments.write:
            (RESULTS / "growth.svg").write_text(chart(grown, "CPU ms"), encoding="utf-8")
    lines += [*table(["gate", "measured", "must", "aim", ""], gates), "", *tables]
    text = "\n".join(lines)
    show("")
    print(text)
    if arguments.write:
        name = "-".join(filter(None, ("gates", engine, part)))
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    return 0


def compiled() -> str:
    from importlib.util import find_spec

    return " (compiled)" if find_spec("sqlglotc") else ""


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


if __name__ == "__main__":
    raise SystemExit(main())
