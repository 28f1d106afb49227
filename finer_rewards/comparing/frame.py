"""A data frame in miniature: what pandas makes of rows, as far as published evaluators depend on it.

Columns have one kind each. Integers and NULL become floats and NaN, text keeps its NULLs, and `values`
turns a frame of numbers into floats as soon as one column is. Text is object data, as in pandas 2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from finer_rewards.comparing.result import Table

__all__ = ["Frame", "is_null"]

Kind = Literal["int", "float", "bool", "object"]
NAN = float("nan")
# The texts that pandas.read_csv reads as missing, from its documentation.
_MISSING = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip
_INTEGER = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*")
_FLOAT = re.compile(r"[ \t\n\v\f\r]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t\n\v\f\r]*")
_INFINITY = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_CHUNK = 500


def is_null(cell: Any) -> bool:
    """True for None and NaN."""
    return cell is None or cell != cell


@dataclass(slots=True)
class Frame:
    """Named columns, each with a kind."""

    names: list[str]
    columns: list[list[Any]]
    kinds: list[Kind]
    length: int

    @classmethod
    def of(cls, table: Table) -> Frame:
        """Read rows as `pandas.DataFrame(rows)` does."""
        names = list(table.names)
        columns = [list(column) for column in zip(*table.rows, strict=True)] or [[] for _ in names]
        kinds: list[Kind] = []
        for index, column in enumerate(columns):
            kind = _kind(column)
            if kind == "float":
                columns[index] = [NAN if cell is None else float(cell) for cell in column]
            kinds.append(kind)
        return cls(names, columns, kinds, len(table.rows))

    @classmethod
    def through_csv(cls, table: Table) -> Frame:
        """Read rows, write them as CSV 500 rows at a time, read the CSV: types are inferred anew."""
        parts = [
            Frame.of(Table(table.rows[start : start + _CHUNK], table.columns))
            for start in range(0, len(table.rows), _CHUNK)
        ] or [Frame.of(table)]
        texts = [
            [_written(cell) for part in parts for cell in part.columns[index]]
            for index in range(len(table.names))
        ]
        if len(texts) == 1:
            # A line of blanks is an empty line, which is skipped; an empty cell is quoted, and stays.
            texts[0] = [text for text in texts[0] if not text or text.strip(" \t")]
        columns, kinds = [], []
        for text in texts:
            column, kind = _read(text)
            columns.append(column)
            kinds.append(kind)
        return cls(list(table.names), columns, kinds, len(texts[0]) if texts else 0)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.length, len(self.columns)

    @property
    def numeric(self) -> bool:
        """True when all cells are integers and floats."""
        return set(self.kinds) <= {"int", "float"}

    def value_columns(self) -> list[list[Any]]:
        """The columns as `frame.values` holds them: all floats when all are numbers and one is a float."""
        if self.numeric and "float" in self.kinds:
            return [[float(cell) for cell in column] for column in self.columns]
        return self.columns

    def values(self) -> list[tuple[Any, ...]]:
        """The rows as `frame.values` holds them."""
        return list(zip(*self.value_columns(), strict=True))

    def with_rows(self, positions: Sequence[int]) -> Frame:
        """The rows at these positions, in this order."""
        columns = [[column[i] for i in positions] for column in self.columns]
        return Frame(self.names, columns, self.kinds, len(positions))

    def with_columns(self, positions: Sequence[int]) -> Frame:
        """The columns at these positions, in this order."""
        return Frame(
            [self.names[i] for i in positions],
            [self.columns[i] for i in positions],
            [self.kinds[i] for i in positions],
            self.length,
        )


def _kind(column: Sequence[Any]) -> Kind:
    types = {type(cell) for cell in column}
    if types == {int}:
        return "int"
    if types == {bool}:
        return "bool"
    if types <= {int, float, type(None)} and types & {int, float}:
        return "float"
    return "object"


def _written(cell: Any) -> str:
    if is_null(cell):
        return ""
    return repr(cell) if isinstance(cell, float) else str(cell)


def _read(texts: Sequence[str]) -> tuple[list[Any], Kind]:
    """One CSV column: integers, else floats, else truth values, else text."""
    present = [text for text in texts if text not in _MISSING]
    missing = len(present) < len(texts)
    numbers = _integers(present, missing)
    if numbers == "overflow":
        return [NAN if text in _MISSING else text for text in texts], "object"
    if numbers is None:
        numbers = _floats(present)
    if isinstance(numbers, list):
        if not missing and texts:
            return numbers, "int" if all(isinstance(number, int) for number in numbers) else "float"
        if texts:
            remaining = iter(numbers)
            return [NAN if text in _MISSING else float(next(remaining)) for text in texts], "float"
        return [], "object"
    truths = {"true": True, "false": False}
    if all(text.lower() in truths for text in present):
        column = [NAN if text in _MISSING else truths[text.lower()] for text in texts]
        return column, "object" if missing else "bool"
    return [NAN if text in _MISSING else text for text in texts], "object"


def _integers(texts: Sequence[str], missing: bool) -> list[Any] | Literal["overflow"] | None:
    numbers = []
    for text in texts:
        if not _INTEGER.fullmatch(text):
            return None
        number = int(text) if len(text) < 40 else 10**40
        if not -(2**63) <= number < 2**63:
            if missing or not all(_unsigned(each) for each in texts):
                return "overflow"
            return [int(each) for each in texts]
        numbers.append(number)
    return numbers


def _unsigned(text: str) -> bool:
    return bool(_INTEGER.fullmatch(text)) and len(text) < 40 and 0 <= int(text) < 2**64


def _floats(texts: Sequence[str]) -> list[Any] | None:
    if all(_FLOAT.fullmatch(text) or _INFINITY.fullmatch(text) for text in texts):
        return [float(text) for text in texts]
    return None


def homogeneous_floats(a: Frame, b: Frame) -> bool:
    """True when numpy compares the values of two frames as floats, so that 2**53 + 1 == 2.0**53."""
    return a.numeric and b.numeric and "float" in (*a.kinds, *b.kinds)


def close_numbers(a: Any, b: Any, relative: float, absolute: float) -> bool:
    """`math.isclose` of two numbers read as floats."""
    return math.isclose(float(a), float(b), rel_tol=relative, abs_tol=absolute)
