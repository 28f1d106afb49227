"""Rows as the data frames that published evaluators make of them.

Text is kept as Python objects, as in the versions of pandas the evaluators were written for; from version 3 on
pandas would make a type of its own of it. That is said column by column: an option of pandas is global, and
belongs to whoever imports this library.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from finer_rewards.comparing.result import Table

_NUMBERS = {int, float, bool, type(None)}
_CHUNK = 500


def frame_of(table: Table) -> Any:
    """Return rows as `pandas.DataFrame(rows)` does."""
    import pandas

    names = table.names
    columns = list(zip(*table.rows, strict=True)) or [() for _ in names]
    series = {
        index: pandas.Series(list(column), dtype=_dtype(column)) for index, column in enumerate(columns)
    }
    frame = pandas.DataFrame(series, index=range(len(table.rows)))
    frame.columns = list(names)
    return frame


def _dtype(column: Sequence[Any]) -> str | None:
    """Return `object` for what is no column of numbers; `None` leaves the choice to pandas."""
    kinds = set(map(type, column))
    numeric = kinds == {bool} or (kinds <= _NUMBERS - {bool} and kinds - {type(None)})
    return None if numeric else "object"


def through_csv(table: Table) -> Any:
    """Write rows as CSV, 500 at a time, and read that: types are inferred anew."""
    import pandas

    file = io.StringIO()
    for start in range(0, len(table.rows) or 1, _CHUNK):
        part = Table(table.rows[start : start + _CHUNK], table.names)
        frame_of(part).to_csv(file, index=False, header=not start)
    file.seek(0)
    return pandas.read_csv(file, low_memory=False) if table.names else pandas.DataFrame()
