"""Turning rows into the pandas data frames that published evaluators make of them.

Text stays Python objects, as in the versions of pandas that the evaluators were written for; from version 3 on pandas
would turn it into a type of its own. The type is given for each column, because pandas' option for it is global and
not this library's to set.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from finer_rewards.comparing.result import ResultTable

_NUMBERS = {int, float, bool, type(None)}
_CHUNK = 500


def frame_of(table: ResultTable) -> Any:
    """Return the frame that `pandas.DataFrame(rows)` makes, with text as Python objects."""
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
    """Return `object` unless all cells are numbers or all booleans; then `None`, which leaves the type to pandas."""
    kinds = set(map(type, column))
    numeric = kinds == {bool} or (kinds <= _NUMBERS - {bool} and kinds - {type(None)})
    return None if numeric else "object"


def through_csv(table: ResultTable) -> Any:
    """Return the frame read back after the rows were written as CSV, 500 at a time: its types are inferred anew."""
    import pandas

    file = io.StringIO()
    for start in range(0, len(table.rows) or 1, _CHUNK):
        part = ResultTable(table.rows[start : start + _CHUNK], table.names)
        frame_of(part).to_csv(file, index=False, header=not start)
    file.seek(0)
    return pandas.read_csv(file, low_memory=False) if table.names else pandas.DataFrame()
