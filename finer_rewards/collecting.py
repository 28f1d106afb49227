"""Keeps Python from looking for cycles of garbage again and again while a batch is scored."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["seldom_collecting"]

# Objects made between two looks. Rows, answers and scores hold no cycles, and by default there is a look every 700:
# a sixth of the time of scoring.
_OBJECTS = 50_000
_lock = threading.Lock()
_inside = 0
_before = gc.get_threshold()


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Look for cycles of garbage less often; when the last thread has left, as often as before.

    Example:
        >>> before = gc.get_threshold()
        >>> with seldom_collecting():
        ...     gc.get_threshold()[0]
        50000
        >>> gc.get_threshold() == before
        True
    """
    global _inside, _before
    with _lock:
        if not _inside:
            _before = gc.get_threshold()
            if 0 < _before[0] < _OBJECTS:  # 0: somebody has switched it off
                gc.set_threshold(_OBJECTS, *_before[1:])
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside = max(0, _inside - 1)  # a child that was forked inside has begun anew
            if not _inside:
                gc.set_threshold(*_before)


def _after_fork() -> None:
    global _inside, _lock
    _lock = threading.Lock()
    if _inside:  # the threads that were inside are the parent's
        _inside = 0
        gc.set_threshold(*_before)


os.register_at_fork(after_in_child=_after_fork)
