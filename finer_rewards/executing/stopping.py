"""How a caller that no longer waits tells an executor so."""

from __future__ import annotations

import threading
from contextvars import ContextVar

__all__ = ["STOP", "StoppedError"]

#: Set in the context of a call, it may be set off from outside: the call then ends with `StoppedError`.
STOP: ContextVar[threading.Event | None] = ContextVar("STOP", default=None)


class StoppedError(BaseException):
    """Nobody waits for the answer any more. Like `KeyboardInterrupt` not for those who handle errors."""
