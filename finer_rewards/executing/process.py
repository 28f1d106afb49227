"""One worker process as its parent sees it: starting it, sending tasks, reading answers. `pool.py` drives several."""

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

__all__ = ["Program"]

# (status, columns, chunks, seconds, error, truncated, tables, volatile, steps, cpu), explained in `worker.py`.
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
# Seconds between the deadline at which the engine interrupts a query and the one at which the kernel kills the worker.
MARGIN = 0.03
# If a late query had a CPU for less than this share of its limit, blame the machine and run it once more.
LEAST_SHARE = 0.1
_LAUNCH = str(Path(__file__).with_name("launch.py"))
# Seconds of work to keep waiting in a worker's pipe.
WORK_AHEAD = 0.1
# A large pipe lets a worker go on while the parent sleeps and answers gather.
PIPE_BYTES = 1 << 20
READ_BYTES = 1 << 16


@dataclass(frozen=True)
class Program:
    """What a worker process runs.

    Args:
        path: a file with a function `open_databases(settings)`, explained in `worker.py`.
        flags: the options with which Python starts. `-S` halves the time of a start, and suits a worker that needs the
            standard library only.
        grace: seconds that the parent waits beyond the moment at which the kernel should have killed the worker. One
            that is silent then was stopped, or is still opening the database, which is not timed.
        computes: true when queries run in the worker process itself, so that its CPU time is theirs; false when a
            server does the work.
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
        kind: `run`, `schema`, or another kind that the worker knows (see `worker.py`).
        database: the key under which the worker keeps the connection open (`None`: it does not), and how to open it.
        sql: the statement, or what another kind takes in its place.
        timeout: seconds it may take.
        allowance: CPU seconds that it may take.

    Attributes:
        golds: the tasks in the same batch whose results this one will be compared with.
        gold_rows: the most rows of a gold already known to be too large to send; 0 when there is none.
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
        # How many workers were lost while they ran it.
        self.deaths = 0
        # Whether it was run again because the machine, not the query, was slow.
        self.starved = False
        # How many statements it runs, each with a timeout of its own.
        self.stages = 1
        self.batch: TaskBatch | None = None

    def asked(self) -> str:
        """Return the kind to send: a glance whose gold is known to be large becomes a scan.

        The scan stops once it has seen more different rows than the gold has rows: the results cannot be equal then.
        """
        if self.kind != "glance":
            return self.kind
        most = self.gold_rows
        for gold in self.golds:
            if gold.answer is not None and isinstance(cut := gold.answer[5], tuple):
                most = max(most, cut[0])
        return f"scan:{most}" if most else self.kind

    @property
    def longest(self) -> float:
        """The seconds that all its statements may take together."""
        return self.timeout * self.stages

    @property
    def wanted(self) -> bool:
        """True while a caller still waits for the answer."""
        return self.answer is None and not (self.batch is not None and self.batch.abandoned)


class TaskBatch:
    """The tasks of one call; `abandoned` once the caller has given up."""

    __slots__ = ("abandoned", "left", "room", "tasks")

    def __init__(self, tasks: Sequence[Task], room: float = math.inf) -> None:
        self.tasks = tasks
        # Bytes that further results may take.
        self.room = room
        self.abandoned = False
        self.left = len(tasks)
        for task in tasks:
            task.batch = self


class WorkerProcess:
    """One worker process, with the tasks sent to it that it has not answered yet (`asked`).

    A turn is the time it works on the first of these.
    """

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
        # Some builds of Python 3.10, and macOS, do not have this.
        with contextlib.suppress(OSError, AttributeError):
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
        """Send one frame; what the pipe does not take now stays in `outgoing`."""
        body = marshal.dumps(message)
        self.outgoing += HEADER.pack(len(body)) + body
        self.flush()

    def flush(self) -> None:
        """Write as much as the pipe takes, without blocking: parent and worker could otherwise wait for each other."""
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
        """Update the mean time of a task by the turn that has ended, and begin the next turn."""
        now = time.monotonic()
        self.task_seconds += ((now - self.turn_began) / answered - self.task_seconds) / 4
        self._begin_turn(now)

    def _begin_turn(self, now: float) -> None:
        self.turn_began = now
        self.turn_cpu = self._cpu()

    def starved(self, task: Task) -> bool:
        """Whether the current task has had too little CPU time to be blamed for being late.

        A task with an allowance is to blame only once it has used that up.
        """
        least = task.allowance if task.allowance < task.timeout else LEAST_SHARE * task.timeout
        return self.computes and self._cpu() - self.turn_cpu < least

    def _cpu(self) -> float:
        """Return the CPU seconds of the process so far; infinity where the system does not tell."""
        try:
            # Linux encodes the CPU clock of another process so: its id, inverted and shifted, and 2 for scheduled time.
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
        """Kill the process, wait for it, and return its exit code (negative: the signal that ended it)."""
        self.kill()
        return self.process.wait()

    def forget(self) -> None:
        """Close the pipes and let the process live: after a fork it belongs to the parent of this one."""
        self._close()
        # Keeps `Popen` from waiting for a process that is no child of this one.
        self.process.returncode = 0

    def _close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def ended(status: str, error: str, seconds: float = 0.0, cpu: float = 0.0) -> Answer:
    """Return the answer of a query whose worker did not answer, because it was killed or lost."""
    return status, (), [], seconds, error, False, None, "", 0, cpu
