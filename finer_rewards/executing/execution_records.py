"""Writing an execution as a mapping of JSON values, and reading it back, for the cache on disk and the wire.

Everything read is checked, because files and servers may send anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from itertools import chain
from typing import Any, Final, get_args

from finer_rewards.types import Choices, Execution, Row, Status, Volatility

_CELLS: Final = frozenset((bool, bytes, float, int, str, type(None)))
_NAMES: Final = frozenset(field.name for field in fields(Execution))


def execution_record(execution: Execution) -> dict[str, Any]:
    """Return an execution as a mapping of its fields, which `lossless_json.py` can write as JSON."""
    record = {name: getattr(execution, name) for name in _NAMES}
    record["status"] = execution.status.name
    record["tables"] = None if execution.tables is None else sorted(execution.tables)
    record["choices"] = None if execution.choices is None else asdict(execution.choices)
    return record


def execution_from(record: Any) -> Execution:
    """Return the execution that a record describes.

    Raises:
        ValueError: it is not the record of an execution.
    """
    if not isinstance(record, Mapping) or record.keys() != _NAMES:
        raise ValueError("it does not have the fields of an execution")
    tables, order, steps = (record[name] for name in ("tables", "order", "steps"))
    if not (
        isinstance(record["status"], str)
        and record["status"] in Status.__members__
        and _texts(record["columns"])
        and all(_is_duration(record[name]) for name in ("seconds", "cpu_seconds"))
        and isinstance(record["error"], str)
        and isinstance(record["truncated"], bool)
        and (tables is None or _texts(tables))
        and record["volatile"] in get_args(Volatility)
        and isinstance(record["ambiguous"], bool)
        and (steps is None or type(steps) is int)
    ):
        raise ValueError("a field of it is of another type")
    return Execution(
        Status[record["status"]],
        tuple(record["columns"]),
        _rows(record["rows"]),
        record["seconds"],
        record["error"],
        record["truncated"],
        None if tables is None else frozenset(tables),
        record["volatile"],
        None if order is None else _rows(order),
        record["ambiguous"],
        steps,
        record["cpu_seconds"],
        None if record["choices"] is None else _choices(record["choices"]),
    )


def _choices(value: Any) -> Choices:
    try:
        why, results = value["why"], value["results"]
        runs = tuple((_rows(rows), count) for rows, count in value["runs"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"its choices are none: {error}") from None
    if not isinstance(why, str) or not isinstance(results, list):
        raise ValueError("its choices are of another type")
    if not all(type(count) is int and 0 <= count <= len(rows) for rows, count in runs):
        raise ValueError("a run of its choices has no such number of rows")
    return Choices(why, runs, tuple(map(_rows, results)))


def _is_duration(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _rows(value: Any) -> tuple[Row, ...]:
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise ValueError("its rows are no lists")
    if not _CELLS.issuperset(map(type, chain.from_iterable(value))):
        raise ValueError("a cell of it is no value")
    return tuple(map(tuple, value))
