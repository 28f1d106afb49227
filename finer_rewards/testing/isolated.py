"""Runs a function under test in a process of its own, so that the test goes on if the function hangs or crashes."""

from __future__ import annotations

import multiprocessing
import resource
import warnings
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from finer_rewards.errors import FinerError
from finer_rewards.testing.subjects import CallError, Function, Subject, SubjectCase

#: Bytes of memory that the function may take beyond those that the process has at its start.
MEMORY: Final = 1 << 31


class IsolatedSubject(Subject):
    """A function in a child process, with a time limit for each call.

    Args:
        function: the function to call in the process.
        timeout: the seconds that a call may take; after it the process is killed, and the next call starts a new one.
    """

    def __init__(self, function: Function, timeout: float) -> None:
        self.function = function
        self.name = function.name
        self.abstains = function.abstains
        self.several = function.several
        self.timeout = timeout
        self._child: tuple[BaseProcess, Connection] | None = None

    def score(self, cases: Sequence[SubjectCase]) -> list[float | None]:
        """Return a value for each case.

        Raises:
            CallError: the function raised, did not return in time, or ended its process.
        """
        self._child = process, pipe = self._child or self._start()
        try:
            pipe.send(list(cases))
            if not pipe.poll(self.timeout):
                self.close()
                raise CallError(f"{self.name} did not come back within {self.timeout:g} seconds")
            reply: list[float | None] | str = pipe.recv()
        except (EOFError, OSError):
            process.join(1)
            code = process.exitcode
            self.close()
            raise CallError(f"{self.name} took its process down (exit status {code})") from None
        if isinstance(reply, str):
            raise CallError(reply)
        return reply

    def close(self) -> None:
        """Kill the process."""
        if self._child is not None:
            process, pipe = self._child
            self._child = None
            pipe.close()
            process.kill()
            process.join()

    def _start(self) -> tuple[BaseProcess, Connection]:
        here, there = multiprocessing.Pipe()
        # A new process would have to pickle the function; a forked one has it already, wherever it was defined.
        process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(self.function, there), daemon=True
        )
        with warnings.catch_warnings():
            # From Python 3.12 on, a fork in a process with threads gives this warning.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        there.close()
        return process, here


def _serve(function: Function, pipe: Connection) -> None:
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    with suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        while True:
            cases = pipe.recv()
            try:
                pipe.send(function.score(cases))
            except FinerError as error:
                pipe.send(str(error)[:500] or type(error).__name__)
