"""The limits under which SQL runs, and the checks of executors' parameters.

Every executor is a `Limits`: the fields here and those of its engine are its constructor parameters, and `describe()`
puts those that decide results into a score's signature.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import Field, dataclass, field, fields
from functools import partial
from typing import Any, Literal, TypeVar

from finer_rewards.errors import ConfigError, suggest

Choice = TypeVar("Choice", bound=str)
Deadline = Literal["absolute", "relative"]
Check = Callable[[str, Any], object]

#: Bytes that the results of a batch may take in this context, such as one request to a server, if fewer than
#: `max_batch_bytes`.
ROOM: ContextVar[float] = ContextVar("ROOM", default=math.inf)
# The largest number that engines, and the length field of a frame between the processes, can hold.
LARGEST = 2**31 - 1
# In seconds. The system's timers overflow not far above.
_LONGEST = 1_000_000.0
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
    """Return the value as a float; raises `ConfigError` unless it is a positive number that a timer can take."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _LONGEST:
        raise ConfigError(
            f"`{name}` should be a positive number up to {_LONGEST:g}, but got {value!r}. "
            f"Pass for example `{name}=10`."
        )
    return float(value)


def one_of(name: str, value: Choice, choices: Sequence[Choice]) -> Choice:
    """Return the value; raises `ConfigError` unless it is one of the choices."""
    if value not in choices:
        raise ConfigError(
            f"`{name}` should be one of {', '.join(choices)}, but got {value!r}. {suggest(str(value), choices)}"
        )
    return value


def count(name: str, value: int) -> int:
    """Return the value; raises `ConfigError` unless it is a positive whole number up to `LARGEST`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LARGEST:
        raise ConfigError(
            f"`{name}` should be a positive whole number, but got {value!r}. Pass for example `{name}=10`."
        )
    return value


def size_in_bytes(name: str, value: str | int, least: int = 1024, most: int = 1 << 50) -> int:
    """Return a size in bytes, given as a number or as text such as `512MiB`; raises `ConfigError` for any other."""
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
    """Return a dataclass field for `Limits` or an executor, with how it is checked and whether it is described.

    Args:
        default: its value when none is given.
        check: takes name and value, and returns the value to keep or raises `ConfigError`. A value of `None` is not
            checked where that is the default.
        decides: whether results depend on it, so that signatures hold it.
    """
    return field(default=default, metadata={"check": check, "decides": decides})


@dataclass(frozen=True, kw_only=True, repr=False)
class Limits:
    """What a query may take. An executor is a `Limits` too, with the fields of its engine added.

    Args:
        timeout: seconds a query may take.
        max_rows: rows fetched; a longer result is cut and marked `truncated`.
        max_bytes: size of a result, as bytes or as text such as `"32MiB"`; a larger one is `Status.too_large`.
        max_batch_bytes: about how much memory the results of one batch may take in this process; results past it are
            `unavailable`.
        memory_limit: address space of each worker, written like `max_bytes`.
        workers: processes; `None` means one a core, at most 8.
        deadline: `relative`: a prediction may take `deadline_floor` CPU seconds, or `deadline_factor` times what the
            slowest of its golds took if that is more, and never more than `timeout` seconds, so that hopeless queries
            cost little. `absolute`: every query may take `timeout` seconds.
        deadline_factor: see `deadline`.
        deadline_floor: see `deadline`. Where a database server does the work, these are seconds by the clock.

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
        """Return the fields that are constructor parameters, in the constructor's order (positional ones first)."""
        return sorted((one for one in fields(self) if one.init), key=lambda one: bool(one.kw_only))

    def describe(self) -> Mapping[str, object]:
        """Return the parameters that decide results, by name, for signatures."""
        return {
            one.name: getattr(self, one.name) for one in self._parameters() if one.metadata.get("decides")
        }

    def __repr__(self) -> str:
        shown = (f"{one.name}={getattr(self, one.name)!r}" for one in self._parameters())
        return f"{type(self).__name__}({', '.join(shown)})"
