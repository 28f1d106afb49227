"""The pool of worker processes: it hands tasks out, gathers answers, and kills and replaces workers.

The pool has no thread. Callers put their tasks into one queue; one caller at a time drives the workers for everybody,
until its own tasks are done, and then hands over to the next caller.
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from finer_rewards.errors import ConfigError
from finer_rewards.executing.process import (
    MARGIN,
    WORK_AHEAD,
    Answer,
    Program,
    Task,
    TaskBatch,
    WorkerProcess,
    ended,
)
from finer_rewards.executing.stopping import STOP, StoppedError

FULL = "the results of this batch are more than max_batch_bytes allows"
# Seconds past its limit after which the parent gives up a query that runs in the worker process itself. By then the
# kernel's timer (MARGIN) should have killed the worker.
OVERDUE = MARGIN + 0.005
# With clock="cpu": give a query up after this many times its CPU limit by the clock.
BUSY = 20.0
# When one query takes longer than this (seconds), the tasks queued behind it are also given to idle workers.
LONG_TURN = 0.05
# The most tasks that wait in one worker's pipe.
MOST_AHEAD = 256
# How long (seconds) the parent may sleep while every worker is busy, so that it wakes once for several answers.
SHORTEST_REST, LONGEST_REST = 0.0004, 0.02
# A worker that is not ready after so many seconds is given up.
START_SECONDS = 30.0
# A call that can be stopped checks this often (seconds) whether it was.
LISTEN_SECONDS = 0.02
# How often a start is tried when the worker ends by itself, and when something outside kills it, which does not mean
# that the next one is killed too.
START_ATTEMPTS = 4
KILLED_ATTEMPTS = 100
CRASHES = frozenset((signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE))


class _Resources:
    """The processes, pipe and selector of a pool: whatever has to be given back.

    It is an object of its own so that `weakref.finalize` can close it without keeping the pool alive.
    """

    def __init__(self) -> None:
        self.workers: list[WorkerProcess] = []
        # Killed but not yet gone: freeing much memory takes the kernel a while.
        self.dying: list[WorkerProcess] = []
        self.selector: selectors.BaseSelector | None = None
        self.wake: tuple[int, int] | None = None

    def open(self) -> tuple[selectors.BaseSelector, tuple[int, int]]:
        """Return the selector, and the pipe through which another thread wakes it; both are made on first use."""
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
        """Kill the workers and close pipe and selector."""
        self._leave(WorkerProcess.end)

    def forget(self) -> None:
        """Close this process's handles and leave the workers alive: in a forked child they belong to the parent."""
        self._leave(WorkerProcess.forget)

    def _leave(self, part_with: Callable[[WorkerProcess], object]) -> None:
        while self.workers or self.dying:
            part_with((self.workers or self.dying).pop())
        if self.selector is not None:
            self.selector.close()
        for end in self.wake or ():
            os.close(end)
        self.selector = self.wake = None


class Pool:
    """Up to `size` workers, started when there is work for them.

    Args:
        size: the most workers to run at once.
        settings: the settings that each worker receives when it starts.
        program: the program that each worker runs.
    """

    def __init__(self, size: int, settings: Mapping[str, Any], program: Program) -> None:
        self.size = size
        self.settings = dict(settings)
        self.program = program
        # Workers that ended while they worked, by themselves or killed.
        self.restarts = 0
        self._held = _Resources()
        self._reset()
        # Runs when the pool is garbage-collected, and when the interpreter exits.
        weakref.finalize(self, self._held.close)
        _POOLS.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._driven = False
        self._queue: deque[Task] = deque()
        self._batches: list[TaskBatch] = []
        self._failed_starts = 0

    def run(self, tasks: Sequence[Task], room: float = math.inf) -> None:
        """Answer every task. Any number of threads may call this at once.

        Args:
            tasks: the tasks to answer; each holds its answer afterwards.
            room: bytes that their results may take in all. Results past it are dropped and answered as `unavailable`.
        """
        if not tasks:
            return
        if not sys.executable:
            raise ConfigError(
                "`sys.executable` should be the path of Python, but it is empty. "
                "An embedded interpreter has to set it before queries can run."
            )
        batch = TaskBatch(tasks, room)
        stop = STOP.get()
        with self._changed:
            self._batches.append(batch)
            self._queue.extend(tasks)
            if self._driven and self._held.wake is not None:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._held.wake[1], b"!")
        try:
            while batch.left:
                if stop is not None and stop.is_set():
                    raise StoppedError
                with self._changed:
                    if self._driven:
                        self._changed.wait(None if stop is None else LISTEN_SECONDS)
                        continue
                    self._driven = True
                with self._driving():
                    self._drive(batch, stop)
        finally:
            batch.abandoned = bool(batch.left)
            with self._changed:
                self._batches.remove(batch)
                if batch.left:
                    self._queue = deque(task for task in self._queue if task.batch is not batch)
                alone = batch.abandoned and not self._driven
                self._driven = self._driven or alone
            # If another caller drives, it ends the abandoned queries in its own loop.
            if alone:
                with self._driving():
                    self._end_what_nobody_wants()

    @contextlib.contextmanager
    def _driving(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._changed:
                self._driven = False
                self._changed.notify_all()

    def _drive(self, batch: TaskBatch, stop: threading.Event | None) -> None:
        """Feed the workers until `batch` is done or the call is stopped."""
        try:
            while batch.left and not (stop is not None and stop.is_set()):
                self._end_what_nobody_wants()
                self._hand_out()
                if batch.left and self._workers:
                    self._await_answers(START_SECONDS if stop is None else LISTEN_SECONDS)
            self._end_what_nobody_wants(long=0.0)
        except BaseException:
            # Ctrl-C may have interrupted any step and left the books half written. Kill the workers, and queue the
            # unanswered tasks of the other callers again.
            with self._changed:
                self._held.close()
                others = [other for other in self._batches if other is not batch]
                self._queue = deque(task for other in others for task in other.tasks if task.answer is None)
            raise

    def _hand_out(self) -> None:
        """Give waiting tasks to the workers.

        Slow workers get few at a time, and so does everybody when little is left, so that all finish together.
        """
        waiting = len(self._queue)
        if not waiting:
            return
        for worker in [one for one in self._workers if not one.asked and one.process.poll() is not None]:
            # It died while it had nothing to do, so no query is to blame.
            self._bury(worker)
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
                    if task.wanted:
                        tasks.append(task)
            if tasks:
                worker.ask(tasks)
                self._watch(worker)

    def _start_worker(self) -> None:
        selector, _ = self._held.open()
        worker = WorkerProcess(self.settings, self.program)
        self._workers.append(worker)
        selector.register(worker.output, selectors.EVENT_READ, worker)
        self._watch(worker)

    def _start_failed(self, reason: str, attempts: int) -> None:
        """Count a failed start; after too many in a row, answer all that waits as `unavailable`."""
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

    def _watch(self, worker: WorkerProcess) -> None:
        """Watch whether the worker's pipe can take more, but only while there is more to send."""
        selector, _ = self._held.open()
        watched = worker.input in selector.get_map()
        if worker.outgoing and not watched:
            selector.register(worker.input, selectors.EVENT_WRITE, worker)
        elif watched and not worker.outgoing:
            selector.unregister(worker.input)

    def _end_what_nobody_wants(self, long: float = LONG_TURN) -> None:
        """Kill the workers that run a query nobody wants any more, and queue again what waits behind it.

        A query is unwanted when its caller gave up, or when another worker has answered it; in the second case the
        worker may go on for `long` seconds, since a new process costs more than a short query.
        """
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.asked]:
            task = worker.asked[0][1]
            if not task.wanted and (task.answer is None or now - worker.turn_began > long):
                behind = [task for _, task in worker.asked]
                self._let_go(worker)
                self._requeue(behind)

    def _await_answers(self, longest: float) -> None:
        """Wait until something happens, at most `longest` seconds; book the answers, and deal with late workers."""
        selector, wake = self._held.open()
        now = time.monotonic()
        waits = [longest]
        self._held.dying = [worker for worker in self._held.dying if worker.process.poll() is None]
        for worker in self._workers:
            if worker.asked:
                turn = now - worker.turn_began
                waits.append(self._patience(worker) - turn)
                if (due := worker.asked[0][1].longest + OVERDUE) > turn:
                    waits.append(due - turn)
                if len(worker.asked) > 1:
                    waits.append(LONG_TURN - turn if turn < LONG_TURN else LONG_TURN)
        # Waking up for each answer would cost more than many a query takes. Every worker has work queued for some time,
        # and for half of that it is safe to sleep: none will be idle.
        rest = min((worker.work_left(now) / 2 if worker.ready else 0.0) for worker in self._workers)
        rest = min(rest, LONGEST_REST, *waits)
        if rest > SHORTEST_REST:
            time.sleep(rest)
        heard: set[WorkerProcess] = set()
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
                    used_up = answer[-1] >= task.allowance
                    if answer[0] == "timeout" and not used_up and self._once_more(task, worker.starved(task)):
                        self._requeue([task])
                    else:
                        self._book(task, answer)
                if answers:
                    worker.end_turn(len(answers))
                if not alive:
                    self._bury(worker)
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.asked and worker not in heard]:
            turn = now - worker.turn_began
            if turn > self._patience(worker):
                # It was stopped from outside, or its own timer did not work. The query may not be to blame.
                self._bury(worker)
            elif self._overdue(worker, turn):
                self._give_up(worker)
            elif turn > LONG_TURN:
                self._share(worker)

    def _patience(self, worker: WorkerProcess) -> float:
        """Return how many seconds a worker may stay silent before it counts as lost."""
        if not worker.ready:
            return START_SECONDS
        task = worker.asked[0][1]
        seconds = task.longest + MARGIN + worker.grace
        # On a busy machine a process gets little CPU time, so a CPU limit takes long to reach.
        return seconds * BUSY if self.settings.get("clock") == "cpu" else seconds

    def _overdue(self, worker: WorkerProcess, turn: float) -> bool:
        """Whether a worker is past the moment at which the kernel's timer kills it, so that it can be given up.

        A task that was late once because the machine was busy, and is so again, is waited for until `_patience` ends:
        then its worker counts as lost, not as too slow.
        """
        task = worker.asked[0][1]
        counts = worker.ready and worker.computes and self.settings.get("clock") != "cpu"
        return counts and turn > task.longest + OVERDUE and not (task.starved and worker.starved(task))

    def _give_up(self, worker: WorkerProcess) -> None:
        """Book the overdue query of a worker as a timeout, and kill the worker without waiting for its end.

        Giving back much memory can take a killed process longer than the limit's margin.
        """
        self.restarts += 1
        (_, task), *behind = worker.asked
        again = self._once_more(task, worker.starved(task))
        self._let_go(worker)
        if not again:
            self._book(task, ended("timeout", f"killed after the limit of {task.timeout:g} s", task.timeout))
        self._requeue([task, *(task for _, task in behind)])

    def _share(self, slow: WorkerProcess) -> None:
        """Queue the tasks behind a slow query a second time, for idle workers; the first answer counts."""
        everybody_works = len(self._workers) == self.size and all(worker.asked for worker in self._workers)
        if self._queue or everybody_works:
            return
        now = time.monotonic()
        # Tasks that some worker runs, or will run soon.
        at_hand = {
            id(task)
            for worker in self._workers
            for place, (_, task) in enumerate(worker.asked)
            if worker is not slow and (not place or now - worker.turn_began <= LONG_TURN)
        }
        self._requeue([task for _, task in list(slow.asked)[1:] if id(task) not in at_hand])

    def _book(self, task: Task, answer: Answer) -> None:
        """Give a task its answer, the first one only, and wake the callers when its batch is done."""
        if task.answer is not None or task.batch is None:
            return
        task.batch.room -= sum(map(len, answer[2]))
        task.answer = answer if task.batch.room >= 0 else ended("unavailable", FULL)
        task.batch.left -= 1
        if not task.batch.left:
            with self._changed:
                self._changed.notify_all()

    def _bury(self, worker: WorkerProcess) -> None:
        """Deal with a dead or lost worker: blame the query that it ran, queue the others again."""
        self.restarts += 1
        asked = [task for _, task in worker.asked]
        starved = bool(asked) and worker.starved(asked[0])
        code = self._drop(worker)
        if not worker.ready:
            self._requeue(asked)
            attempts = START_ATTEMPTS if code >= 0 else KILLED_ATTEMPTS
            self._start_failed(f"the worker process ended when it started (code {code})", attempts)
        elif asked:
            # With code 0 it left by itself: it was `spent`, or saw its pipe closed.
            if code:
                self._blame(asked[0], -code, starved)
            self._requeue(asked)

    def _once_more(self, task: Task, starved: bool) -> bool:
        """Whether to run a late task again because the machine was busy; allowed once for each task."""
        if not starved or task.starved:
            return False
        task.starved = True
        return True

    def _blame(self, task: Task, ended_by: int, starved: bool) -> None:
        """Book a query whose worker died by a signal: a timer's is a timeout, any other has to happen twice."""
        if ended_by in (signal.SIGALRM, signal.SIGPROF):
            if ended_by == signal.SIGALRM and self._once_more(task, starved):
                return
            cpu = task.allowance if ended_by == signal.SIGPROF and task.allowance < task.timeout else 0.0
            limit = f"{cpu:g} s of CPU" if cpu else f"{task.timeout:g} s"
            why = f"killed {MARGIN:g} s after the limit of {limit}"
            self._book(task, ended("timeout", why, cpu or task.timeout, cpu))
            return
        task.deaths += 1
        if task.deaths > 1 and ended_by in CRASHES:
            name = signal.Signals(ended_by).name
            self._book(task, ended("failed", f"the query crashed the engine twice ({name})"))
        elif task.deaths > 1:
            self._book(task, ended("unavailable", "the worker was lost twice while it ran this query"))

    def _requeue(self, tasks: Sequence[Task]) -> None:
        """Put tasks back at the front of the queue, in their order."""
        with self._changed:
            self._queue.extendleft(reversed([task for task in tasks if task.wanted]))

    def _drop(self, worker: WorkerProcess) -> int:
        """Remove and kill a worker, wait for its end, and return its exit code (negative: the signal)."""
        self._remove(worker)
        return worker.end()

    def _let_go(self, worker: WorkerProcess) -> None:
        """Remove and kill a worker without waiting for its end."""
        self._remove(worker)
        worker.kill()
        self._held.dying.append(worker)

    def _remove(self, worker: WorkerProcess) -> None:
        """Stop listening to a worker."""
        selector, _ = self._held.open()
        self._workers.remove(worker)
        for end in (worker.output, worker.input):
            with contextlib.suppress(KeyError):
                selector.unregister(end)

    def close(self) -> None:
        """Kill the workers, after any call that is running has finished."""
        with self._changed:
            while self._driven:
                self._changed.wait()
            self._held.close()

    def forget(self) -> None:
        """Start with no workers and no tasks: in a forked child the old ones belong to the parent."""
        self._held.forget()
        self._reset()

    @property
    def _workers(self) -> list[WorkerProcess]:
        return self._held.workers

    @property
    def process_ids(self) -> list[int]:
        """The process ids of the workers that run now."""
        return [worker.process.pid for worker in self._workers]


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    for pool in list(_POOLS):
        pool.forget()


os.register_at_fork(after_in_child=_after_fork)
