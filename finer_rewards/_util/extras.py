"""Optional packages: imported where they are used, and named with their extra where they are missing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from finer_rewards.errors import MissingExtraError


@contextmanager
def extra(name: str, what: str, *packages: str) -> Iterator[None]:
    """Import optional packages inside the block; the error says how to install one that is missing.

    A module that an installed package lacks is a fault of that installation, and is raised as it is.

    Args:
        name: the extra that brings the packages.
        what: who needs them.
        packages: their names on PyPI.

    Raises:
        MissingExtraError: one of the packages is missing.

    Example:
        >>> with extra("x", "A page", "nope"):
        ...     import nope
        Traceback (most recent call last):
        finer_rewards.errors.MissingExtraError: A page needs nope. Install it with: pip install 'finer-rewards[x]'
    """
    try:
        yield
    except ImportError as error:
        # The module is called as the package (`skyrl-gym`), or as its first word (`backports.zstd`, `openenv-core`).
        words = [re.split(r"[-._]", package.lower()) for package in packages]
        if _root(error) not in {name for one in words for name in ("_".join(one), one[0])}:
            raise
        raise MissingExtraError(what, ", ".join(packages), name) from None


def optional(package: str) -> ModuleType | None:
    """Return a package, or `None` when it is not installed."""
    try:
        return import_module(package)
    except ImportError as error:
        if _root(error) != package:
            raise
        return None


def package_folder(name: str, what: str, package: str) -> str:
    """Return the folder in which a package lies, without importing it; arguments as of `extra`.

    Raises:
        MissingExtraError: the package is missing.
    """
    spec = find_spec(package.lower().replace("-", "_"))
    if spec is None or spec.origin is None:
        raise MissingExtraError(what, package, name)
    return spec.origin.rsplit(os.sep, 2)[0]


def _root(error: ImportError) -> str:
    return (error.name or "").partition(".")[0]
