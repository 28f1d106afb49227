"""Worker processes, and the one loop that feeds them.

There is no thread of our own. Callers put their tasks into one queue; one of them at a time drives the
workers for everybody, until its own tasks are done, and then hands over to the next.
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
    Batch,
    Program,
    Task,
    WorkerProcess,
    ended,
)
from finer_rewards.executing.stopping import STOP, StoppedError

__all__ = ["FULL", "Pool"]

FULL = "the results of this batch are more than max_batch_bytes allows"
OVERDUE = MARGIN + 0.005  # seconds past its limit after which a query that computes is given up from here
BUSY = 20.0  # times as long as its CPU time may a query take, where that is what counts
LONG_TURN = 0.05  # seconds after which what waits behind a query is also given to idle workers
MOST_AHEAD = 256
SHORTEST_REST, LONGEST_REST = 0.0004, 0.02  # seconds in which answers gather while every worker is busy
START_SECONDS = 30.0
LISTEN_SECONDS = 0.02  # how often a call that may be stopped looks whether it was
START_ATTEMPTS = 4  # for a worker that ends by itself
KILLED_ATTEMPTS = 100  # for one that is killed from outside
CRASHES = frozenset((signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE))


class _Resources:
    """What the operating system lends to a pool."""

    def __init__(self) -> None:
        self.workers: list[WorkerProcess] = []
        self.dying: list[WorkerProcess] = []  # killed, and not yet gone: much memory takes its time
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
        self._leave(WorkerProcess.end)

    def forget(self) -> None:
        """In a forked child: leave the workers to the parent."""
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
        settings: what each worker is told when it starts.
        program: what each worker runs.
    """

    def __init__(self, size: int, settings: Mapping[str, Any], program: Program) -> None:
        self.size = size
        self.settings = dict(settings)
        self.program = program
        self.restarts = 0  # workers that ended in their work, by themselves or killed
        self._held = _Resources()
        self._reset()
        # When the pool is collected, and when the interpreter ends.
        weakref.finalize(self, self._held.close)
        _POOLS.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._driven = False
        self._queue: deque[Task] = deque()
        self._batches: list[Batch] = []
        self._failed_starts = 0

    def run(self, tasks: Sequence[Task], room: float = math.inf) -> None:
        """Answer every task. Any number of threads may call this at once.

        Args:
            tasks: what to answer.
            room: bytes that their results may take; what comes then is lost, and says so.
        """
        if not tasks:
            return
        if not sys.executable:
            raise ConfigError(
                "`sys.executable` should be the path of Python, but it is empty. "
                "An embedded interpreter has to set it before queries can run."
            )
        batch = Batch(tasks, room)
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
            if alone:  # whoever drives sees to it otherwise
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

    def _drive(self, batch: Batch, stop: threading.Event | None) -> None:
        """Feed the workers until `batch` is done, or nobody waits for it."""
        try:
            while batch.left and not (stop is not None and stop.is_set()):
                self._end_what_nobody_wants()
                self._hand_out()
                if batch.left and self._workers:
                    self._await_answers(START_SECONDS if stop is None else LISTEN_SECONDS)
            self._end_what_nobody_wants(long=0.0)
        except BaseException:
            # Ctrl-C may have come in the middle of anything: begin anew for the others that wait.
            with self._changed:
                self._held.close()
                others = [other for other in self._batches if other is not batch]
                self._queue = deque(task for other in others for task in other.tasks if task.answer is None)
            raise

    def _hand_out(self) -> None:
        """Give waiting tasks to the workers: little to the slow and at the end, so that all end together."""
        waiting = len(self._queue)
        if not waiting:
            return
        for worker in [one for one in self._workers if not one.asked and one.process.poll() is not None]:
            self._bury(worker)  # it was lost while it had nothing to do: no query is to blame
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
        """Be told when the worker's pipe takes more, as long as there is more."""
        selector, _ = self._held.open()
        watched = worker.input in selector.get_map()
        if worker.outgoing and not watched:
            selector.register(worker.input, selectors.EVENT_WRITE, worker)
        elif watched and not worker.outgoing:
            selector.unregister(worker.input)

    def _end_what_nobody_wants(self, long: float = LONG_TURN) -> None:
        """End the workers whose query was abandoned while it ran, or was answered by another and takes long."""
        now = time.monotonic()
        for worker in [worker for worker in self._workers if worker.asked]:
            task = worker.asked[0][1]
            if not task.wanted and (task.answer is None or now - worker.turn_began > long):
                behind = [task for _, task in worker.asked]
                self._let_go(worker)
                self._requeue(behind)

    def _await_answers(self, longest: float) -> None:
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
        # To be woken for each answer costs more than many a query; half of what is left is safe to sleep.
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
                # Stopped from outside, or deaf to its own timer: not known to be the query's doing.
                self._bury(worker)
            elif self._overdue(worker, turn):
                self._give_up(worker)
            elif turn > LONG_TURN:
                self._share(worker)

    def _patience(self, worker: WorkerProcess) -> float:
        """Return the seconds after which a worker that has not answered is given up."""
        if not worker.ready:
            return START_SECONDS
        task = worker.asked[0][1]
        seconds = task.longest + MARGIN + worker.grace
        # On a machine with much else to do, CPU time passes slowly.
        return seconds * BUSY if self.settings.get("clock") == "cpu" else seconds

    def _overdue(self, worker: WorkerProcess, turn: float) -> bool:
        """Whether the kernel ends a worker, or should have, for what its query did or the machine did to it.

        Late again through no fault of its own, it is waited for: where it was stopped, it is lost rather than late.
        """
        task = worker.asked[0][1]
        counts = worker.ready and worker.computes and self.settings.get("clock") != "cpu"
        return counts and turn > task.longest + OVERDUE and not (task.starved and worker.starved(task))

    def _give_up(self, worker: WorkerProcess) -> None:
        """Book a query that is overdue; nobody has to wait until its process has given back its memory."""
        self.restarts += 1
        (_, task), *behind = worker.asked
        again = self._once_more(task, worker.starved(task))
        self._let_go(worker)
        if not again:
            self._book(task, ended("timeout", f"killed after the limit of {task.timeout:g} s", task.timeout))
        self._requeue([task, *(task for _, task in behind)])

    def _share(self, slow: WorkerProcess) -> None:
        """Queue again what waits behind a slow query; whichever worker comes first answers."""
        everybody_works = len(self._workers) == self.size and all(worker.asked for worker in self._workers)
        if self._queue or everybody_works:
            return
        now = time.monotonic()
        at_hand = {
            id(task)
            for worker in self._workers
            for place, (_, task) in enumerate(worker.asked)
            if worker is not slow and (not place or now - worker.turn_began <= LONG_TURN)
        }
        self._requeue([task for _, task in list(slow.asked)[1:] if id(task) not in at_hand])

    def _book(self, task: Task, answer: Answer) -> None:
        if task.answer is not None or task.batch is None:
            return
        task.batch.room -= sum(map(len, answer[2]))
        task.answer = answer if task.batch.room >= 0 else ended("unavailable", FULL)
        task.batch.left -= 1
        if not task.batch.left:
            with self._changed:
                self._changed.notify_all()

    def _bury(self, worker: WorkerProcess) -> None:
        """Book the query that a worker died on, queue the others again."""
        self.restarts += 1
        asked = [task for _, task in worker.asked]
        starved = bool(asked) and worker.starved(asked[0])
        code = self._drop(worker)
        if not worker.ready:
            self._requeue(asked)
            attempts = START_ATTEMPTS if code >= 0 else KILLED_ATTEMPTS
            self._start_failed(f"the worker process ended when it started (code {code})", attempts)
        elif asked:
            if code:  # else it had done its part and left
                self._blame(asked[0], -code, starved)
            self._requeue(asked)

    def _once_more(self, task: Task, starved: bool) -> bool:
        """Whether the machine rather than the query made a task late; that is believed of each task once."""
        if not starved or task.starved:
            return False
        task.starved = True
        return True

    def _blame(self, task: Task, ended_by: int, starved: bool) -> None:
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
        with self._changed:
            self._queue.extendleft(reversed([task for task in tasks if task.wanted]))

    def _drop(self, worker: WorkerProcess) -> int:
        """End a worker, and return how it had ended."""
        self._remove(worker)
        return worker.end()

    def _let_go(self, worker: WorkerProcess) -> None:
        """Kill a worker, and do not wait for its end."""
        self._remove(worker)
        worker.kill()
        self._held.dying.append(worker)

    def _remove(self, worker: WorkerProcess) -> None:
        selector, _ = self._held.open()
        self._workers.remove(worker)
        for end in (worker.output, worker.input):
            with contextlib.suppress(KeyError):
                selector.unregister(end)

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
