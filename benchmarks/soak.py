"""Score for a long time, with bombs, lost workers and replaced databases, and watch what grows.

    python -m benchmarks.soak [--minutes 30] [--samples N] [--databases 1000] [--kill SECONDS] [--clock cpu] [--write]

First every question is scored once, and then others, until the bounded memories are full. It stops after so many
minutes or so many samples, whichever comes first. Every score is checked. A line a minute (and the table at the
end) tells samples, restarts, p50 and p99 of a batch, resident memory of this process and of the largest worker,
and open descriptors. Exits with 1 when a score was wrong, or when memory or descriptors grew by more than 5 %
after the first third. On a machine with much else to do a query may get no CPU time for as long as it may take, and
then be late through no fault of its own; `--clock cpu` counts its own time alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

from benchmarks.measuring import ENDLESS
from finer_rewards import Sample, Scorer, SQLite
from finer_rewards.rewards import execution_match

RESULT = Path(__file__).parent / "results" / "soak.md"
BATCH, GROUP = 2048, 64
TIMEOUT = 0.5


@dataclass
class Watch:
    """What was seen so far."""

    samples: int = 0
    wrong: int = 0
    unscored: int = 0
    seconds: list[float] = field(default_factory=list)
    workers: set[int] = field(default_factory=set)
    lines: list[tuple[float, int, int, float, float, float, float, int]] = field(default_factory=list)

    def look(self, minutes: float, executor: SQLite) -> None:
        """Take down how things stand."""
        recent = sorted(self.seconds) or [0.0]
        self.seconds = []
        ours = resident(os.getpid())
        theirs = max((resident(pid) for pid in executor.process_ids), default=0.0)
        self.lines.append(
            (
                minutes,
                self.samples,
                len(self.workers),
                1000 * statistics.median(recent),
                1000 * recent[int(0.99 * (len(recent) - 1))],
                ours,
                theirs,
                len(list(Path("/proc/self/fd").iterdir())),
            )
        )
        print(row(self.lines[-1]), flush=True)

    def grown(self, column: int) -> float:
        """Return by what share the median of the last third is above that of the middle third."""
        values = [float(line[column]) for line in self.lines]
        third = max(1, len(values) // 3)
        return statistics.median(values[-third:]) / statistics.median(values[third : 2 * third] or values) - 1


def resident(pid: int) -> float:
    """Return MiB of memory of a process."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)
    return 0.0


def row(line: tuple[float, int, int, float, float, float, float, int]) -> str:
    minutes, samples, workers, p50, p99, ours, theirs, files = line
    return f"| {minutes:.1f} | {samples:,} | {workers} | {p50:.0f} | {p99:.0f} | {ours:.1f} | {theirs:.1f} | {files} |"


def databases(folder: Path, count: int) -> list[str]:
    source = folder / "db0.sqlite"
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", ((n, f"text {n}") for n in range(500)))
        connection.commit()
    for number in range(1, count):
        copy = folder / f"db{number}.sqlite"
        shutil.copyfile(source, copy)
        # Equal rows that come together are one object: that would make a warm start look smaller than it is.
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("UPDATE t SET b = b || ?", (f" of {number}",))
            connection.commit()
    return [f"db{number}" for number in range(count)]


def batch(chance: random.Random, names: list[str], bombs: float) -> list[tuple[Sample, float]]:
    """Return samples and the value that each must get: groups with repetitions, right, wrong and broken."""
    found = []
    for _ in range(BATCH // GROUP):
        db, low = chance.choice(names), chance.randrange(0, 400, 80)  # five questions a database
        gold = f"SELECT a, b FROM t WHERE a > {low} AND a < {low + 50}"
        kinds = [(gold, 1.0), (f"SELECT a, b FROM t WHERE a BETWEEN {low + 1} AND {low + 49}", 1.0)]
        kinds += [
            (f"SELECT a, b FROM t WHERE a > {low + n} AND a < {low + 50}", 0.0)
            for n in chance.sample(range(1, 49), 12)
        ]
        kinds += [(f"SELECT nope FROM t WHERE a > {low}", 0.0), ("That is hard to say.", 0.0)]
        for _ in range(GROUP):
            sql, value = chance.choice(kinds)
            if chance.random() < bombs:
                sql, value = ENDLESS.format(n=chance.randrange(10)), 0.0
            found.append((Sample(sql, gold=gold, db=db), value))
    return found


def warm_up(scorer: Scorer, names: list[str]) -> None:
    """Score every question once, so that the bounded memories are as full as they get."""
    for low in range(0, 400, 80):
        gold = f"SELECT a, b FROM t WHERE a > {low} AND a < {low + 50}"
        for first in range(0, len(names), BATCH // 2):
            scorer.score([Sample(gold, gold=gold, db=db) for db in names[first : first + BATCH // 2]])


def soak(
    minutes: float,
    samples: int,
    count: int,
    kill: float,
    bombs: float,
    clock: Literal["wall", "cpu"] = "wall",
    seed: int = 0,
) -> Watch:
    chance = random.Random(seed)
    watch = Watch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = databases(folder, count)
        executor = SQLite(folder, timeout=TIMEOUT, workers=2, clock=clock)
        with Scorer(execution_match(mode="bird"), executor) as scorer:
            warm_up(scorer, names)
            # With few databases there are not enough different queries to fill it.
            enough = time.monotonic() + min(30 * minutes, 600)
            while not executor._predicted.full and time.monotonic() < enough:
                scorer.score([sample for sample, _ in batch(chance, names, 0.0)])
            began = looked = killed = time.monotonic()
            between = min(60.0, minutes * 60 / 12)
            while watch.samples < samples and time.monotonic() - began < minutes * 60:
                work = batch(chance, names, bombs)
                started = time.monotonic()
                scores = scorer.score([sample for sample, _ in work])
                now = time.monotonic()
                watch.seconds.append(now - started)
                watch.samples += len(work)
                watch.workers.update(executor.process_ids)
                watch.unscored += sum(score.value is None for score in scores)
                for score, (sample, value) in zip(scores, work, strict=True):
                    if score.value not in (None, value):
                        watch.wrong += 1
                        print(f"wrong: {score.value} for {sample.completion!r}: {score.reason}", flush=True)
                if kill and now - killed > kill:
                    killed = now
                    with suppress(ProcessLookupError, IndexError):
                        os.kill(chance.choice(executor.process_ids), signal.SIGKILL)
                    replaced, copy = folder / f"{chance.choice(names)}.sqlite", folder / "new"
                    shutil.copyfile(replaced, copy)
                    copy.replace(replaced)
                if now - looked > between:
                    looked = now
                    watch.look((now - began) / 60, executor)
            watch.look((time.monotonic() - began) / 60, executor)
    return watch


HEAD = (
    "| minutes | samples | workers started | batch p50, ms | p99, ms | this process, MiB | largest worker, MiB "
    "| descriptors |\n| --: | --: | --: | --: | --: | --: | --: | --: |"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--samples", type=int, default=10**9)
    parser.add_argument("--databases", type=int, default=1000)
    parser.add_argument("--kill", type=float, default=5.0, help="seconds between two lost workers; 0: none")
    parser.add_argument("--bombs", type=float, default=0.0005, help="share of completions that never end")
    parser.add_argument(
        "--clock", default="wall", choices=("wall", "cpu"), help="what counts against the deadline"
    )
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    arguments = parser.parse_args()
    print(HEAD)
    watch = soak(
        arguments.minutes,
        arguments.samples,
        arguments.databases,
        arguments.kill,
        arguments.bombs,
        arguments.clock,
    )
    memory, files = watch.grown(5), watch.grown(7)
    verdict = (
        f"{watch.samples:,} samples in batches of {BATCH} over {arguments.databases:,} databases; {watch.wrong} wrong "
        f"scores, {watch.unscored} without a value; {len(watch.workers)} workers were started. From the middle third "
        f"to the last, memory of this process {memory:+.1%}, descriptors {files:+.1%}."
    )
    print(verdict)
    if arguments.write:
        text = (
            f"# Soak\n\n`python -m benchmarks.soak {' '.join(sys.argv[1:])}`, {date.today().isoformat()}. "
            f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, "
            f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; a worker is killed and a database "
            f"replaced every {arguments.kill:g} s; load average {os.getloadavg()[0]:.1f} at the end.\n\n"
        )
        RESULT.write_text(
            f"{text}{verdict}\n\n{HEAD}\n" + "\n".join(map(row, watch.lines)) + "\n", encoding="utf-8"
        )
    return int(watch.wrong > 0 or memory > 0.05 or files > 0.05)


if __name__ == "__main__":
    raise SystemExit(main())
