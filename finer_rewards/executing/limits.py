"""The limits under which SQL runs, and what parameters of executors may be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import Field, dataclass, field, fields
from functools import partial
from typing import Any, Literal, TypeVar

from finer_rewards.errors import ConfigError, suggest

__all__ = [
    "LARGEST",
    "ROOM",
    "Check",
    "Deadline",
    "Limits",
    "count",
    "limit",
    "one_of",
    "positive",
    "size_in_bytes",
]

Choice = TypeVar("Choice", bound=str)
Deadline = Literal["absolute", "relative"]
Check = Callable[[str, Any], object]

#: Bytes that the results of a batch may take for who asks here, where that is less than `max_batch_bytes`.
ROOM: ContextVar[float] = ContextVar("ROOM", default=math.inf)
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


def limit(default: Any, check: Check, *, decides: bool = True) -> Any:
    """Return a field of `Limits`.

    Args:
        default: its value when none is given.
        check: takes name and value, and returns the value to keep; raises `ConfigError` for one that cannot be used.
            A default of `None` is not checked.
        decides: whether results depend on it, so that signatures hold it.
    """
    return field(default=default, metadata={"check": check, "decides": decides})


@dataclass(frozen=True, kw_only=True, repr=False)
class Limits:
    """What a query may take. An executor is one too, with the fields of its engine besides.

    Args:
        timeout: seconds a query may take.
        max_rows: rows fetched; a longer result is cut and marked `truncated`.
        max_bytes: size of a result, as bytes or as text such as `"32MiB"`; a larger one is `Status.too_large`.
        max_batch_bytes: memory that the results of one batch may take here, about; those past it are `unavailable`.
        memory_limit: address space of each worker, as `max_bytes`.
        workers: processes; `None` means one a core, at most 8.
        deadline: `relative`, a prediction may take `deadline_floor` seconds of a processor, or `deadline_factor` times
            what the slowest of its golds took where that is more, and never more than `timeout` seconds: hopeless
            queries then cost little. `absolute`, every query may take `timeout` seconds.
        deadline_factor: see there.
        deadline_floor: see there. (Where a server's processor does the work, seconds of any kind.)

    Raises:
        ConfigError: a value cannot be used.

    Example:
        >>> Limits(timeout=5, max_bytes="1MiB").describe()["max_bytes"]
        1048576
    """

    timeout: float = limit(30.0, positive)
    max_rows: int = limit(10_000, count)
    max_bytes: str | int = limit("32MiB", partial(size_in_bytes, most=LARGEST))
    max_batch_bytes: str | int = limit("1GiB", partial(size_in_bytes, least=1 << 20))
    memory_limit: str | int = limit("1GiB", partial(size_in_bytes, least=128 << 20))
    workers: int | None = limit(None, count, decides=False)
    deadline: Deadline = limit("relative", partial(one_of, choices=("absolute", "relative")))
    deadline_factor: float = limit(20.0, positive)
    deadline_floor: float = limit(2.0, positive)

    def __post_init__(self) -> None:
        for one in self._parameters():
            value = getattr(self, one.name)
            if "check" in one.metadata and (value is not None or one.default is not None):
                object.__setattr__(self, one.name, one.metadata["check"](one.name, value))

    def _parameters(self) -> list[Field[Any]]:
        """Return the fields that are given to the constructor, in its order."""
        return sorted((one for one in fields(self) if one.init), key=lambda one: bool(one.kw_only))

    def describe(self) -> Mapping[str, object]:
        """Return what decides the results, by name."""
        return {
            one.name: getattr(self, one.name) for one in self._parameters() if one.metadata.get("decides")
        }

    def __repr__(self) -> str:
        shown = (f"{one.name}={getattr(self, one.name)!r}" for one in self._parameters())
        return f"{type(self).__name__}({', '.join(shown)})"
