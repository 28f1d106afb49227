"""Imports optional packages where they are used; if one is missing, the error names the extra to install."""

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
    """Turn an import error in the block into one that says how to install the package that is missing.

    If a package is installed but one of its own modules is missing, that error is raised as it is.

    Args:
        name: the extra that installs the packages.
        what: the feature that needs them, for the message.
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
        # The name of a module is that of the package (`skyrl-gym` has `skyrl_gym`), or only its first word
        # (`backports.zstd`, `openenv-core`).
        words = [re.split(r"[-._]", package.lower()) for package in packages]
        if _root(error) not in {name for one in words for name in ("_".join(one), one[0])}:
            raise
        raise MissingExtraError(what, ", ".join(packages), name) from None


def optional(package: str) -> ModuleType | None:
    """Return a package, or `None` if it is not installed."""
    try:
        return import_module(package)
    except ImportError as error:
        if _root(error) != package:
            raise
        return None


def package_folder(name: str, what: str, package: str) -> str:
    """Return the folder of a package, without importing it; the arguments are those of `extra`.

    Raises:
        MissingExtraError: the package is missing.
    """
    spec = find_spec(package.lower().replace("-", "_"))
    if spec is None or spec.origin is None:
        raise MissingExtraError(what, package, name)
    return spec.origin.rsplit(os.sep, 2)[0]


def _root(error: ImportError) -> str:
    return (error.name or "").partition(".")[0]
