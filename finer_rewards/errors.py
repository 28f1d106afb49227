"""The errors that finer-rewards raises.

    FinerError
    ├── ConfigError          something you passed is wrong; the message says what to write instead
    │   └── DataError        a file or a row of your data cannot be used
    ├── MissingExtraError    an optional package is not installed; the message holds the `pip install`
    └── UnscorableError      a number was demanded of a score that has none

A query that fails raises nothing: its failure is the `Status` of an `Execution`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["ConfigError", "DataError", "FinerError", "MissingExtraError", "UnscorableError"]


class FinerError(Exception):
    """Base of every error this library raises."""


class ConfigError(FinerError, ValueError):
    """An argument, a name or a spec that cannot be used."""


class DataError(ConfigError):
    """A file or a row that cannot be used."""


#: What to do about packages that pip alone cannot install.
_OTHERWISE = {
    "nemo_rl": "Run inside a checkout of NeMo-RL: on the package index its name is an empty package",
    "openrlhf": "Install it as its own documentation says: pip cannot build its flash-attn before torch is there",
}


class MissingExtraError(FinerError, ImportError):
    """An optional dependency is absent."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        how = _OTHERWISE.get(extra, f"Install it with: pip install 'finer-rewards[{extra}]'")
        super().__init__(f"{what} needs {package}. {how}")
        self._arguments = (what, package, extra)

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str, str]]:
        return type(self), self._arguments


class UnscorableError(FinerError):
    """A score without a value was asked for its number."""


def suggest(got: str, known: Iterable[str]) -> str:
    """Return ``"Did you mean 'x'? "`` if a known name is similar, else the empty string.

    Example:
        >>> suggest("stict", ["strict", "lenient"])
        "Did you mean 'strict'? "
    """
    near = get_close_matches(got, list(known), n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}? " if near else ""
