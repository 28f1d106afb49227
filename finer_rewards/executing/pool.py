"""Worker processes, and the one loop that feeds them.

There is no thread of our own. Callers put their tasks into one queue; one of them at a time drives the
workers for everybody, until its own tasks are done, and then hands over to the next.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from finer_rewards.errors import ConfigError

__all__ = ["Answer", "Pool", "Task"]

# (status, columns, chunks, seconds, error, truncated, tables, volatile), as `worker.py` says.
Answer = tuple[str, tuple[str, ...], list[bytes], float, str, bool, "list[str] | None", str]

WORKER = str(Path(__file__).with_name("worker.py"))
HEADER = struct.Struct("<I")
MARGIN = 0.05  # seconds between the deadline that interrupts and the one that kills
GRACE = 1.0  # seconds after which a worker that its own timer did not end is ended from here
LONG_TURN = 0.05  # seconds after which what waits behind a query is also given to idle workers
WORK_AHEAD = 0.008  # seconds of work to keep in a worker's pipe
MOST_AHEAD = 64
PLENTY = 6  # requests in every worker's pipe that make it worth while to let answers gather
GATHER_SECONDS = 0.0015
START_SECONDS = 30.0
START_ATTEMPTS = 4  # for a worker that ends by itself
KILLED_ATTEMPTS = 100  # for one that is killed from outside
CRASHES = frozenset((signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE))


class Task:
    """One request, and its answer when there is one."""

    __slots__ = ("answer", "batch", "database", "deaths", "kind", "shared", "sql")

    def __init__(self, kind: str, database: tuple[Any, str], sql: str) -> None:
        self.kind = kind
        self.database = database
        self.sql = sql
        self.answer: Answer | None = None
        self.deaths = 0
        self.shared = False
        self.batch: _Batch | None = None


class _Batch:
    """The tasks that one caller waits for."""

    __slots__ = ("left", "tasks")

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks
        self.left = len(tasks)
        for task in tasks:
            task.batch = self


class _Worker:
    """One process, and what it was asked and has not answered."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            close_fds=True,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.input, self.output = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self.input, False)
        os.set_blocking(self.output, False)
        self.asked: deque[tuple[int, Task]] = deque()
        self.outgoing = bytearray()
        self.incoming = bytearray()
        self.numbers = 0
        self.ready = False
        self.turn_began = time.monotonic()
        self.task_seconds = WORK_AHEAD / 4
        self.send(
            {
                **settings,
                "margin": MARGIN,
                "parent": os.getpid(),
                # The kernel ends the worker with the thread that started it, not with the process.
                "die_with_parent_thread": threading.current_thread() is threading.main_thread(),
            }
        )

    def send(self, message: Any) -> None:
        body = marshal.dumps(message)
        self.outgoing += HEADER.pack(len(body)) + body
        self.flush()

    def flush(self) -> None:
        """Write what the pipe takes; never blocks, so that two full pipes cannot wait for each other."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while self.outgoing:
                del self.outgoing[: os.write(self.input, self.outgoing)]

    def ask(self, tasks: Sequence[Task]) -> None:
        if not self.asked:
            self.turn_began = time.monotonic()
        requests = []
        for task in tasks:
            self.numbers += 1
            self.asked.append((self.numbers, task))
            requests.append((self.numbers, task.kind, task.database, task.sql))
        self.send(requests)

    def receive(self) -> tuple[list[tuple[Task, Answer]], bool]:
        """Return the answers that have arrived, and whether the worker is still there."""
        alive = True
        try:
            while True:
                data = os.read(self.output, 1 << 20)
                if not data:
                    alive = False
                    break
                self.incoming += data
                if len(data) < 1 << 16:
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
                self.turn_began = time.monotonic()
                continue
            expected, task = self.asked.popleft()
            assert number == expected, "a worker answered out of order"
            answers.append((task, tuple(answer)))
        if start:
            del self.incoming[:start]
        if answers:
            now = time.monotonic()
            self.task_seconds += ((now - self.turn_began) / len(answers) - self.task_seconds) / 4
            self.turn_began = now
        return answers, alive

    def end(self) -> int:
        """Kill the process and return how it had ended."""
        self._close()
        if self.process.poll() is None:
            self.process.kill()
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


class _Resources:
    """What the operating system lends to a pool."""

    def __init__(self) -> None:
        self.workers: list[_Worker] = []
        self.selector: selectors.BaseSelector | None = None
        self.wake: tuple[int, int] | None = None

    def open(self) -> tuple[selectors.BaseSelector, tuple[int, int]]:
        """Return the selector and the pipe that wakes it, made when there are none."""
        if self.wake is None:
            self.wake = os.pipe()
            for end in self.wake:
                os.set_blocking(end, False)
        if self.selector is None:
            selector = selectors.DefaultSelector()
            selector.register(self.wake[0], selectors.EVENT_READ, None)
            self.selector = selector
        return self.selector, self.wake

    def close(self) -> None:
        """Give everything back."""
        self._leave(_Worker.end)

    def forget(self) -> None:
        """In a forked child: leave the workers to the parent."""
        self._leave(_Worker.forget)

    def _leave(self, part_with: Callable[[_Worker], object]) -> None:
        while self.workers:
            part_with(self.workers.pop())
        if self.selector is not None:
            self.selector.close()
        for end in self.wake or ():
            os.close(end)
        self.selector = self.wake = None


class Pool:
    """Up to `size` workers, started when there is work for them.

    Args:
        size: the most workers to run at once.
        settings: what each worker is told when it starts; has at least `timeout`, in seconds.
    """

    def __init__(self, size: int, settings: Mapping[str, Any]) -> None:
        self.size = size
        self.settings = dict(settings)
        self._held = _Resources()
        self._reset()
        # When the pool is collected, and when the interpreter ends.
        weakref.finalize(self, self._held.close)
        _POOLS.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._driven = False
        self._queue: deque[Task] = deque()
        self._batches: list[_Batch] = []
        self._failed_starts = 0

    def run(self, tasks: Sequence[Task]) -> None:
        """Answer every task. Any number of threads may call this at once."""
        if not tasks:
            return
        if not sys.executable:
            raise ConfigError(
                "`sys.executable` should be the path of Python, but it is empty. "
                "An embedded interpreter has to set it before queries can run."
            )
        batch = _Batch(tasks)
        with self._changed:
            self._batches.append(batch)
            self._queue.extend(tasks)
            if self._driven and self._held.wake is not None:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._held.wake[1], b"!")
        try:
            while batch.left:
                with self._changed:
                    while self._driven and batch.left:
                        self._changed.wait()
                    if not batch.left:
                        return
                    self._driven = True
                try:
                    self._drive(batch)
                finally:
                    with self._changed:
                        self._driven = False
                        self._changed.notify_all()
        finally:
            with self._changed:
                self._batches.remove(batch)
                if batch.left:
                    self._queue = deque(task for task in self._queue if task.batch is not batch)

    def _drive(self, batch: _Batch) -> None:
        """Feed the workers until `batch` is done."""
        try:
            while batch.left:
                self._hand_out()
                if batch.left and self._workers:
                    self._await_answers()
        except BaseException:
            # Ctrl-C may have come in the middle of anything: begin anew for the others that wait.
            self._held.close()
            with self._changed:
                others = [other for other in self._batches if other is not batch]
                self._queue = deque(task for other in others for task in other.tasks if task.answer is None)
            raise

    def _hand_out(self) -> None:
        """Give waiting tasks to the workers: little to the slow and at the end, so that all end together."""
        waiting = len(self._queue)
        if not waiting:
            return
        idle = [worker for worker in self._workers if not worker.asked]
        wanted = min(self.size, len(self._workers) - len(idle) + waiting)
        while len(self._workers) < wanted:
            try:
                self._start_worker()
            except OSError as error:
                if not self._workers:
                    self._start_failed(f"no worker could be started: {error}", START_ATTEMPTS)
                    return
                break
        for worker in sorted(self._workers, key=lambda worker: len(worker.asked)):
            share = -(-len(self._queue) // (2 * len(self._workers)))
            ahead = max(1, min(MOST_AHEAD, share, int(WORK_AHEAD / max(worker.task_seconds, 1e-6))))
            if len(worker.asked) > ahead // 2:
                continue
            tasks: list[Task] = []
            with self._changed:
                while self._queue and len(tasks) < ahead:
                    task = self._queue.popleft()
                    if task.answer is None:
                        tasks.append(task)
            if tasks:
                worker.ask(tasks)
                self._watch(worker)

    def _start_worker(self) -> None:
        selector, _ = self._held.open()
        worker = _Worker(self.settings)
        self._workers.append(worker)
        selector.register(worker.output, selectors.EVENT_READ, worker)
        self._watch(worker)

    def _start_failed(self, reason: str, attempts: int) -> None:
        self._failed_starts += 1
        if self._failed_starts < attempts:
            if not self._workers:
                time.sleep(min(0.3, 0.05 * self._failed_starts))
            return
        self._failed_starts = 0
        with self._changed:
            waiting, self._queue = self._queue, deque()
        for task in waiting:
            self._book(task, ended("unavailable", reason))

    def _watch(self, worker: _Worker) -> None:
        """Be told when the worker's pipe takes more, as long as there is more."""
        selector, _ = self._held.open()
        watched = worker.input in selector.get_map()
        if worker.outgoing and not watched:
            selector.register(worker.input, selectors.EVENT_WRITE, worker)
        elif watched and not worker.outgoing:
            selector.unregister(worker.input)

    def _await_answers(self) -> None:
        selector, wake = self._held.open()
        limit = self.settings["timeout"] + MARGIN + GRACE
        now = time.monotonic()
        waits = [limit]
        for worker in self._workers:
            if worker.asked:
                turn = now - worker.turn_began
                waits.append((limit if worker.ready else START_SECONDS) - turn)
                if len(worker.asked) > 1:
                    waits.append(LONG_TURN - turn if turn < LONG_TURN else LONG_TURN)
        if all(len(worker.asked) > PLENTY for worker in self._workers):
            time.sleep(GATHER_SECONDS)
        heard: set[_Worker] = set()
        for key, events in selector.select(max(0.0, min(waits))):
            worker = key.data
            if worker is None:
                os.read(wake[0], 1 << 12)
            elif worker not in self._workers:
                continue
            elif events & selectors.EVENT_WRITE:
                worker.flush()
                self._watch(worker)
            else:
                heard.add(worker)
                answers, alive = worker.receive()
                if worker.ready:
                    self._failed_starts = 0
                for task, answer in answers:
                    self._book(task, answer)
                if not alive:
                    self._bury(worker)
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.asked and worker not in heard]:
            turn = now - worker.turn_began
            if turn > (limit if worker.ready else START_SECONDS):
                # Stopped from outside, or deaf to its own timer: not known to be the query's doing.
                self._bury(worker)
            elif turn > LONG_TURN:
                self._share(worker)

    def _share(self, slow: _Worker) -> None:
        """Queue again what waits behind a slow query; whichever worker comes first answers."""
        everybody_works = len(self._workers) == self.size and all(worker.asked for worker in self._workers)
        if self._queue or everybody_works:
            return
        behind = [task for _, task in slow.asked if not task.shared][1:]
        for task in behind:
            task.shared = True
        self._requeue(behind)

    def _book(self, task: Task, answer: Answer) -> None:
        if task.answer is not None or task.batch is None:
            return
        task.answer = answer
        task.batch.left -= 1
        if not task.batch.left:
            with self._changed:
                self._changed.notify_all()

    def _bury(self, worker: _Worker) -> None:
        """Book the query that a worker died on, queue the others again."""
        asked = [task for _, task in worker.asked]
        code = self._drop(worker)
        if not worker.ready:
            self._requeue(asked)
            attempts = START_ATTEMPTS if code >= 0 else KILLED_ATTEMPTS
            self._start_failed(f"the worker process ended when it started (code {code})", attempts)
        elif asked:
            self._blame(asked[0], -code)
            self._requeue(asked)

    def _blame(self, task: Task, ended_by: int) -> None:
        timeout = self.settings["timeout"]
        if ended_by == signal.SIGALRM:
            self._book(
                task, ended("timeout", f"killed {MARGIN:g} s after the limit of {timeout:g} s", timeout)
            )
            return
        task.deaths += 1
        if task.deaths > 1 and ended_by in CRASHES:
            name = signal.Signals(ended_by).name
            self._book(task, ended("failed", f"the query crashed SQLite twice ({name})"))
        elif task.deaths > 1:
            self._book(task, ended("unavailable", "the worker was lost twice while it ran this query"))

    def _requeue(self, tasks: Sequence[Task]) -> None:
        with self._changed:
            self._queue.extendleft(reversed([task for task in tasks if task.answer is None]))

    def _drop(self, worker: _Worker) -> int:
        selector, _ = self._held.open()
        self._workers.remove(worker)
        for end in (worker.output, worker.input):
            with contextlib.suppress(KeyError):
                selector.unregister(end)
        return worker.end()

    def close(self) -> None:
        """End the workers; a call that is running ends first."""
        with self._changed:
            while self._driven:
                self._changed.wait()
            self._held.close()

    def forget(self) -> None:
        """In a forked child: leave the workers to the parent and begin anew."""
        self._held.forget()
        self._reset()

    @property
    def _workers(self) -> list[_Worker]:
        return self._held.workers

    @property
    def process_ids(self) -> list[int]:
        """The process ids of the workers that run now."""
        return [worker.process.pid for worker in self._workers]


def ended(status: str, error: str, seconds: float = 0.0) -> Answer:
    """Return the answer of a query that did not answer for itself."""
    return status, (), [], seconds, error, False, None, ""


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_POOLS):
        pool.forget()


os.register_at_fork(after_in_child=_after_fork)
