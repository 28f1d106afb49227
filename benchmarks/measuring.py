"""What the benchmarks of the engine measure, and with what: workloads, scorers in mid-training, CPU clocks."""

from __future__ import annotations

import os
import platform
import random
import resource
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import finer_rewards.operations as operations
from benchmarks.throughput import GROUP, Workload, real
from finer_rewards import Sample, Scorer, SQLite
from finer_rewards.executing import Query
from finer_rewards.reward import Reward
from finer_rewards.rewards import atomic_f1, execution_match

TIMEOUT = 2.0
Engine = Literal["sqlite3", "apsw"]
MATCH = execution_match(mode="bird")
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT {n} UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
BOMBS = (
    ENDLESS,
    "SELECT count(*) FROM sqlite_master a, sqlite_master b, sqlite_master c, sqlite_master d, sqlite_master e,"
    " sqlite_master f, sqlite_master g, sqlite_master h, sqlite_master i WHERE a.rootpage + i.rootpage > -{n}",
)
BOMB_TEXTS = frozenset(text.format(n=number) for text in BOMBS for number in range(100))


class Machine:
    """What the processes at work have used, to the nanosecond."""

    def __init__(self) -> None:
        self.others: Callable[[], Iterable[int]] = list

    def cpu(self) -> float:
        """Return CPU seconds of this process, of the others that run now, and of those that have ended."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (
            time.process_time()
            + ended.ru_utime
            + ended.ru_stime
            + sum(map(_cpu_of, dict.fromkeys(self.others())))
        )

    def measure(self, work: Callable[[], object], *pids: int) -> tuple[float, float]:
        """Return wall and CPU seconds."""
        self.others = lambda: pids
        cpu, wall = self.cpu(), time.perf_counter()
        work()
        wall = time.perf_counter() - wall
        time.sleep(0.05)  # a worker that was killed counts once it has been waited for
        return wall, self.cpu() - cpu


def _cpu_of(pid: int) -> float:
    """CPU seconds of another process; 0 once it has ended."""
    try:
        # The kernel's clock of another process: its number, inverted, and what is counted.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


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
            forget(scorer, work)
        scorer.score([one for one in work.samples if one.completion not in BOMB_TEXTS])
        forget(scorer, work)
        yield scorer


def forget(scorer: Scorer, work: Workload) -> None:
    """Forget everything but the results and the operations of the golds."""
    executor = executor_of(scorer)
    executor._predicted.clear()
    scorer._observed.clear()
    operations._operations.clear()
    golds = {(one.gold, one.db): one for one in work.samples}
    Scorer(atomic_f1(), executor).score(
        replace(one, completion=f"```sql\n{one.gold}\n```") for one in golds.values()
    )


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


def show(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)


def versions() -> str:
    """Return what ran, and on how many cores."""
    return f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores"


def compiled() -> str:
    from importlib.util import find_spec

    return " (compiled)" if find_spec("sqlglotc") else ""


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
