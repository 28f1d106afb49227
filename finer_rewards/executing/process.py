"""One worker process as its parent sees it, and the tasks that it is given."""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import math
import os
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Answer", "Batch", "Program", "Task", "WorkerProcess", "ended"]

# (status, columns, chunks, seconds, error, truncated, tables, volatile, steps, cpu), as `worker.py` says.
Answer = tuple[
    str,
    tuple[str, ...],
    list[bytes],
    float,
    str,
    "bool | tuple[Any, ...]",
    "list[str] | None",
    str,
    "int | None",
    float,
]

HEADER = struct.Struct("<I")
MARGIN = 0.03  # seconds between the deadline that interrupts and the one that kills
LEAST_SHARE = 0.1  # of its time on a processor: a query that had less is late because of the machine
_LAUNCH = str(Path(__file__).with_name("launch.py"))
WORK_AHEAD = 0.1  # seconds of work to keep in a worker's pipe
PIPE_BYTES = 1 << 20  # so that a worker does not wait while answers gather
READ_BYTES = 1 << 16


@dataclass(frozen=True)
class Program:
    """What a worker process runs.

    Args:
        path: a file with a function `open_databases(settings)`, as `worker.py` says.
        flags: how Python is started for it. `-S` halves the time, for a worker that needs the standard
            library only.
        grace: seconds past a query's kill after which a worker that has not answered is ended from here: it
            was stopped, or it still opens the database, which is not timed.
        computes: whether queries run in the process itself, so that its CPU time is theirs.
    """

    path: str
    flags: tuple[str, ...] = ("-I", "-S")
    grace: float = 1.0
    computes: bool = True

    @property
    def command(self) -> list[str]:
        """The command line."""
        return [sys.executable, *self.flags, _LAUNCH, self.path]


class Task:
    """One request, and its answer when there is one.

    Args:
        kind: `run`, `schema`, or what else the worker knows.
        database: the key by which the worker keeps the connection (`None`: it does not), and how to open it.
        sql: the statement, or what else the kind takes.
        timeout: seconds it may take.
        allowance: seconds of a processor that it may take.

    Attributes:
        golds: those that its result will be held against, where they are asked for with it.
        gold_rows: so many rows has the longest of those that are known, where these were too many to be sent.
    """

    __slots__ = (
        "allowance",
        "answer",
        "batch",
        "database",
        "deaths",
        "gold_rows",
        "golds",
        "kind",
        "sql",
        "stages",
        "starved",
        "timeout",
    )

    def __init__(
        self, kind: str, database: tuple[Any, str], sql: Any, timeout: float, allowance: float = math.inf
    ) -> None:
        self.kind = kind
        self.database = database
        self.sql = sql
        self.timeout = timeout
        self.allowance = allowance
        self.golds: Sequence[Task] = ()
        self.gold_rows = 0
        self.answer: Answer | None = None
        self.deaths = 0
        self.starved = False
        self.stages = 1  # statements that it runs, each with its time
        self.batch: Batch | None = None

    def asked(self) -> str:
        """Return the kind as a worker is asked: beside a gold known to be large, a glance reads all that can matter."""
        if self.kind != "glance":
            return self.kind
        most = self.gold_rows
        for gold in self.golds:
            if gold.answer is not None and isinstance(cut := gold.answer[5], tuple):
                most = max(most, cut[0])
        return f"scan:{most}" if most else self.kind

    @property
    def longest(self) -> float:
        """Seconds that all its statements may take."""
        return self.timeout * self.stages

    @property
    def wanted(self) -> bool:
        """True while somebody waits for the answer."""
        return self.answer is None and not (self.batch is not None and self.batch.abandoned)


class Batch:
    """The tasks that one caller waits for, until it does no more."""

    __slots__ = ("abandoned", "left", "room", "tasks")

    def __init__(self, tasks: Sequence[Task], room: float = math.inf) -> None:
        self.tasks = tasks
        self.room = room  # bytes that results may take yet
        self.abandoned = False
        self.left = len(tasks)
        for task in tasks:
            task.batch = self


class WorkerProcess:
    """One process, and what it was asked and has not answered."""

    def __init__(self, settings: Mapping[str, Any], program: Program) -> None:
        self.grace = program.grace
        self.computes = program.computes
        self.process = subprocess.Popen(
            program.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            close_fds=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.input, self.output = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.input, False)
        os.set_blocking(self.output, False)
        with contextlib.suppress(OSError, AttributeError):  # Python 3.10 in part, macOS
            fcntl.fcntl(self.output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.asked: deque[tuple[int, Task]] = deque()
        self.outgoing = bytearray()
        self.incoming = bytearray()
        self.numbers = 0
        self.ready = False
        self.turn_began = time.monotonic()
        self.turn_cpu = 0.0
        self.task_seconds = WORK_AHEAD / 12
        self.send(
            {
                **settings,
                "margin": MARGIN,
                "parent": os.getpid(),
            }
        )

    def send(self, message: Any) -> None:
        """Send one frame, or keep for later what the pipe does not take."""
        body = marshal.dumps(message)
        self.outgoing += HEADER.pack(len(body)) + body
        self.flush()

    def flush(self) -> None:
        """Write what the pipe takes; never blocks, so that two full pipes cannot wait for each other."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self.outgoing:
                del self.outgoing[: os.write(self.input, self.outgoing)]

    def ask(self, tasks: Sequence[Task]) -> None:
        """Send tasks; their answers come in the same order."""
        if not self.asked:
            self._begin_turn(time.monotonic())
        requests = []
        for task in tasks:
            self.numbers += 1
            self.asked.append((self.numbers, task))
            requests.append(
                (self.numbers, task.asked(), task.database, task.sql, task.timeout, task.allowance)
            )
        self.send(requests)

    def receive(self) -> tuple[list[tuple[Task, Answer]], bool]:
        """Return the answers that have arrived, and whether the worker is still there."""
        alive = True
        try:
            while True:
                data = os.read(self.output, READ_BYTES)
                if not data:
                    alive = False
                    break
                self.incoming += data
                if len(data) < READ_BYTES:
                    break
        except BlockingIOError:
            pass
        answers = []
        start = 0
        while len(self.incoming) - start >= HEADER.size:
            end = start + HEADER.size + HEADER.unpack_from(self.incoming, start)[0]
            if len(self.incoming) < end:
                break
            number, *answer = marshal.loads(memoryview(self.incoming)[start + HEADER.size : end])
            start = end
            if not self.ready:
                self.ready = True
                self._begin_turn(time.monotonic())
                continue
            expected, task = self.asked.popleft()
            assert number == expected, "a worker answered out of order"
            answers.append((task, tuple(answer)))
        if start:
            del self.incoming[:start]
        return answers, alive

    def end_turn(self, answered: int) -> None:
        """Take note of how long that many tasks took; the next one begins."""
        now = time.monotonic()
        self.task_seconds += ((now - self.turn_began) / answered - self.task_seconds) / 4
        self._begin_turn(now)

    def _begin_turn(self, now: float) -> None:
        self.turn_began = now
        self.turn_cpu = self._cpu()

    def starved(self, task: Task) -> bool:
        """Whether a task of this turn had too little of a processor for its lateness to be its own.

        One with an allowance has it to use up.
        """
        least = task.allowance if task.allowance < task.timeout else LEAST_SHARE * task.timeout
        return self.computes and self._cpu() - self.turn_cpu < least

    def _cpu(self) -> float:
        """Return the CPU seconds of the process so far; infinity where the system does not tell."""
        try:
            # The clock of another process: its number, inverted, and what is counted.
            return time.clock_gettime((~self.process.pid << 3) | 2)
        except OSError:
            return math.inf

    def work_left(self, now: float) -> float:
        """Return about how many seconds of work its pipe holds."""
        return max(0.0, self.turn_began + self.task_seconds * len(self.asked) - now)

    def kill(self) -> None:
        """Kill the process."""
        self._close()
        if self.process.poll() is None:
            self.process.kill()

    def end(self) -> int:
        """Kill the process and return how it had ended."""
        self.kill()
        return self.process.wait()

    def forget(self) -> None:
        """Let go of a process that belongs to the parent of this one."""
        self._close()
        self.process.returncode = 0

    def _close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def ended(status: str, error: str, seconds: float = 0.0, cpu: float = 0.0) -> Answer:
    """Return the answer of a query that did not answer for itself."""
    return status, (), [], seconds, error, False, None, "", 0, cpu
