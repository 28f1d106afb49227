"""Stopping a running call from outside, for example when the client of a server has gone.

Whoever may stop a call sets the context variable `STOP` to a `Stop` before it; executors look at it while they wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class StoppedError(BaseException):
    """A call was stopped because nobody waits for its answer.

    Like `KeyboardInterrupt` it is no `Exception`, so that code that handles errors lets it pass.
    """


class Stop(threading.Event):
    """An event that can also interrupt a call that waits for something else, such as a socket."""

    def __init__(self) -> None:
        super().__init__()
        self._interrupts: dict[object, Callable[[], object]] = {}

    def set(self) -> None:
        """Stop the call: set the event and run every interrupt."""
        super().set()
        for interrupt in list(self._interrupts.values()):
            interrupt()

    @contextmanager
    def interrupting(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Call `interrupt` if the call is stopped during this block; an error that this causes becomes `StoppedError`.

        Args:
            interrupt: ends the waiting, for example by closing a socket.
        """
        key = object()
        self._interrupts[key] = interrupt
        try:
            self.check()
            yield
        except Exception:
            self.check()
            raise
        finally:
            del self._interrupts[key]
        self.check()

    def check(self) -> None:
        """Raise `StoppedError` if the call was stopped."""
        if self.is_set():
            raise StoppedError


#: The `Stop` of the running call, if it can be stopped: once that is set, the call ends with `StoppedError`.
STOP: ContextVar[Stop | None] = ContextVar("STOP", default=None)
