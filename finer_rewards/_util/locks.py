"""A lock that no fork leaves held."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet


class ForkSafeLock:
    """A re-entrant lock that is free in a forked child, whoever held it in the parent. It pickles as a new lock."""

    def __init__(self) -> None:
        self.renew()
        _LOCKS.add(self)

    def renew(self) -> None:
        """Become free, whoever holds it."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[ForkSafeLock], tuple[()]]:
        return type(self), ()


_LOCKS: WeakSet[ForkSafeLock] = WeakSet()


def _after_fork() -> None:
    for lock in list(_LOCKS):
        lock.renew()


os.register_at_fork(after_in_child=_after_fork)
