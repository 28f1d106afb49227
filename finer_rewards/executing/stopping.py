"""How a caller that no longer waits tells an executor so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["STOP", "Stop", "StoppedError"]


class StoppedError(BaseException):
    """Nobody waits for the answer any more. Like `KeyboardInterrupt` not for those who handle errors."""


class Stop(threading.Event):
    """An event that also interrupts whoever waits for something else."""

    def __init__(self) -> None:
        super().__init__()
        self._interrupts: dict[object, Callable[[], object]] = {}

    def set(self) -> None:
        """End the call: now, and not again."""
        super().set()
        for interrupt in list(self._interrupts.values()):
            interrupt()

    @contextmanager
    def interrupting(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """While this lasts, call `interrupt` once stopped; what fails in it then is not its fault."""
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
        """Raise `StoppedError` when nobody waits."""
        if self.is_set():
            raise StoppedError


#: Set in the context of a call, it may be set off from outside: the call then ends with `StoppedError`.
STOP: ContextVar[Stop | None] = ContextVar("STOP", default=None)
