"""Optional packages, loaded when used; and a lock that outlives a fork."""

from __future__ import annotations

import os
import threading
from importlib import import_module
from types import ModuleType

from finer_rewards.errors import MissingExtraError

__all__ = ["ForkSafeLock", "optional"]


def optional(package: str, needed_by: str = "") -> ModuleType | None:
    """Return a package, or `None` when it is not installed.

    Args:
        package: its import name.
        needed_by: when given, a missing package raises instead.

    Raises:
        MissingExtraError: the package is missing and `needed_by` says who cannot do without.
    """
    try:
        return import_module(package)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != package:
            raise
        if needed_by:
            raise MissingExtraError(needed_by, package, "memory") from None
        return None


class ForkSafeLock:
    """A re-entrant lock, free again in a forked child whoever held it in the parent; pickles as a new one."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._process = os.getpid()

    def __enter__(self) -> None:
        if os.getpid() != self._process:
            self._lock = threading.RLock()
            self._process = os.getpid()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[ForkSafeLock], tuple[()]]:
        return type(self), ()
