"""What an executor's parameters may be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from finer_rewards.errors import ConfigError, suggest

__all__ = ["LARGEST", "count", "one_of", "positive", "size_in_bytes"]

Choice = TypeVar("Choice", bound=str)

LARGEST = 2**31 - 1  # what engines, and the frames between the processes, can count
_LONGEST = 1_000_000.0  # seconds; the system's timers end soon after
_UNITS = {
    "": 1,
    "b": 1,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
}


def positive(name: str, value: float) -> float:
    """Return a positive number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _LONGEST:
        raise ConfigError(
            f"`{name}` should be a positive number up to {_LONGEST:g}, but got {value!r}. "
            f"Pass for example `{name}=10`."
        )
    return float(value)


def one_of(name: str, value: Choice, choices: Sequence[Choice]) -> Choice:
    """Return one of the choices."""
    if value not in choices:
        raise ConfigError(
            f"`{name}` should be one of {', '.join(choices)}, but got {value!r}. {suggest(str(value), choices)}"
        )
    return value


def count(name: str, value: int) -> int:
    """Return a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LARGEST:
        raise ConfigError(
            f"`{name}` should be a positive whole number, but got {value!r}. Pass for example `{name}=10`."
        )
    return value


def size_in_bytes(name: str, value: str | int, least: int = 1024, most: int = 1 << 50) -> int:
    """Return a size in bytes, given so or as text."""
    size: float | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (found := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)):
        unit = _UNITS.get(found.group(2).lower())
        size = None if unit is None else float(found.group(1)) * unit
    if size is None or not least <= size <= most:
        raise ConfigError(
            f"`{name}` should be a size from {least} to {most} bytes, but got {value!r}. "
            f'Pass bytes or text such as `{name}="512MiB"`.'
        )
    return int(size)
