"""Optional packages, loaded when used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from finer_rewards.errors import MissingExtraError

__all__ = ["optional"]


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
