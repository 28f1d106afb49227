"""PaVeRL-SQL's accuracy: gold columns found among the predicted ones, results first aligned where a few rows differ.

As its public code has it, on pandas' types: a column is of integers, of floats (with NULLs, or any float) or of objects
(any text); texts that are all numbers count as numbers. NULL is a number or a text of its own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple

from finer_rewards.reward import reward
from finer_rewards.rewards.cells import nearest
from finer_rewards.types import Evidence, Execution, Score

# Rows by which two results may differ.
_APART: Final = 5
_TOLERANCE: Final = 0.005
_NULL: Final = -10_000_000_000
Kind = Literal["int", "float", "object"]
Rows = Sequence[Sequence[object]]


class _TypedColumn(NamedTuple):
    """A column as pandas would type it, with NULLs filled."""

    kind: Kind
    values: tuple[object, ...]

    def picked(self, places: Sequence[int]) -> _TypedColumn:
        return self._replace(values=tuple(self.values[place] for place in places))


Table = list[_TypedColumn]


@reward(needs={"execution"})
def aligned_columns(evidence: Evidence) -> Score:
    """Share of the gold columns that are predicted, after PaVeRL-SQL. Range from 0 up, seldom above 1.

    Formula: rows aligned · gold columns found / (gold rows · gold columns). Columns are compared as sorted lists,
    floats within 0.005, whatever their names and places. Where the rows differ by 1 to 5, the rows of the longer
    result are kept whose first text (else float, else integer) is in the other; further apart it is 0. 0 when the
    prediction does not run.

    Known to pay for: rows scrambled across columns; further columns; for a gold of one column, a shorter result of
    several columns may earn more than 1, as there. Empty equals empty.

    Example:
        >>> aligned_columns()
        aligned_columns()

    References:
        PaVeRL-SQL, arXiv 2509.07159, `accuracy_reward.py`, commit 5ce9a48, 2025.
    """
    return nearest(evidence, "accept", _of_runs)


def _of_runs(gold: Execution, predicted: Execution) -> float:
    if len(set(predicted.columns)) < len(predicted.columns):
        # pandas gives several columns for one name, and the published code fails.
        return 0.0
    width = max(len(gold.columns), len(gold.rows[0]) if gold.rows else 0)
    other = max(len(predicted.columns), len(predicted.rows[0]) if predicted.rows else 0)
    return aligned_columns_of(gold.rows, predicted.rows, widths=(width, other))


def aligned_columns_of(gold: Rows, predicted: Rows, *, widths: tuple[int, int] | None = None) -> float:
    """Return `aligned_columns` of two results.

    Args:
        gold: rows of the gold.
        predicted: rows of the prediction.
        widths: how many columns the two have, for results without rows.

    Example:
        >>> aligned_columns_of([("a", 1), ("b", 2)], [(2, "x"), (1, "y")])
        0.5
    """
    wide, other = widths or (len(gold[0]) if gold else 1, len(predicted[0]) if predicted else 1)
    if not wide:
        return 0.0
    ours, theirs = _table(predicted, other), _table(gold, wide)
    try:
        aligned, found = _found(theirs, ours, len(gold), len(predicted))
    # Values that have no order.
    except TypeError:
        return 0.0
    return aligned * found / (len(gold) * wide) if gold else found / wide


def _found(gold: Table, predicted: Table, rows: int, others: int) -> tuple[int, int]:
    """Return how many rows were aligned, and how many gold columns are found in them."""
    if abs(rows - others) > _APART:
        return rows, 0
    if others == rows:
        return rows, _matching(gold, predicted)
    if others < rows:
        part = _aligned(predicted, gold, one_column=len(gold) == 1, predicted_first=True)
        if _length(part) != others:
            return _length(part), 0
        return _length(part), _matching(part, predicted)
    part = _aligned(gold, predicted, one_column=len(gold) == 1, predicted_first=False)
    return rows, _matching(gold, part) if _length(part) == rows else 0


def _aligned(short: Table, long: Table, *, one_column: bool, predicted_first: bool) -> Table:
    """Return the rows of the longer result whose key is in the shorter one; a table without columns where none fits."""
    key = next(
        (column for kind in ("object", "float", "int") for column in short if column.kind == kind), None
    )
    if key is None or not key.values:
        return []
    wanted = set(key.values)
    kept: list[object] = []
    column = long[-1]
    whole = False
    for column in long:
        if column.kind != key.kind:
            continue
        if key.kind == "float":
            # NaN is near nothing.
            numbers: list[Any] = [value for value in wanted if value == value]
            ordered = sorted(numbers)
            near = [_near(value, ordered) for value in column.values]
            # As there: also those of columns that do not fit.
            kept += [value for value, count in zip(column.values, near, strict=True) if count]
            whole = sum(near) >= len(wanted)
        else:
            whole = sum(value in wanted for value in column.values) >= len(wanted)
            kept = list(wanted) if whole else []
        if whole:
            break
    if not kept:
        return []
    if one_column:
        if predicted_first:
            counts = Counter(column.values)
            if all(counts[value] >= count for value, count in Counter(key.values).items()):
                return short
        # As there the order counts in which Python goes through the two sets: that of the numbers' hashes, each time.
        if key.kind == "float" and list(set(kept)) != list(wanted):
            if len(long) != 1:
                raise TypeError("a list of values does not fill several columns")
            return [column._replace(values=tuple(dict.fromkeys(column.values)))]
    chosen = set(kept)
    places = [place for place, value in enumerate(column.values) if value in chosen]
    return [one.picked(places) for one in long]


def _near(value: Any, ordered: Sequence[Any]) -> int:
    """How many numbers, in ascending order, are as good as the same: they stand side by side."""
    start = bisect_left(ordered, True, key=lambda like: value - like < _TOLERANCE)
    return bisect_left(ordered, True, start, key=lambda like: like - value >= _TOLERANCE) - start


def _matching(wanted: Table, there: Table) -> int:
    """Return how many of the wanted columns are there, each column there counting once."""
    used: set[int] = set()
    for column in wanted:
        mine = _sorted(column)
        for place, other in enumerate(there):
            if place not in used and _equal(column.kind, mine, other.kind, _sorted(other)):
                used.add(place)
                break
    return len(used)


def _equal(kind: Kind, mine: list[object], other_kind: Kind, others: list[object]) -> bool:
    if kind == other_kind == "float":
        return all(
            abs(one - other) <= _TOLERANCE  # type: ignore[operator]
            for one, other in zip(mine, others, strict=True)
        )
    return mine == others


def _sorted(column: _TypedColumn) -> list[object]:
    values = column.values
    if column.kind == "float":
        values = tuple(round(value, 3) for value in values)  # type: ignore[call-overload]
    if column.kind == "object":
        # What is left of a column after aligning may be numbers alone, NULL among them.
        with suppress(ValueError, TypeError):
            values = tuple(int(value) for value in values)  # type: ignore[call-overload]
    return sorted(values)  # type: ignore[type-var]


def _length(table: Table) -> int:
    return len(table[0].values) if table else 0


def _table(rows: Rows, width: int) -> Table:
    return [_typed([row[place] for row in rows]) for place in range(width)]


def _typed(cells: Sequence[object]) -> _TypedColumn:
    """Return a column as pandas types it."""
    if not cells:
        return _TypedColumn("object", ())
    texts = [cell for cell in cells if isinstance(cell, (str, bytes))]
    if texts:
        numbers = [_number(cell) for cell in cells]
        if not all(number is not None or cell is None for number, cell in zip(numbers, cells, strict=True)):
            return _TypedColumn("object", tuple(str(_NULL) if cell is None else cell for cell in cells))
        cells = numbers
    whole = all(isinstance(cell, int) for cell in cells)
    if whole:
        return _TypedColumn("int", tuple(cells))
    filled = (float(_NULL) if cell is None or cell != cell else float(cell) for cell in cells)  # type: ignore[arg-type]
    return _TypedColumn("float", tuple(filled))


def _number(cell: object) -> int | float | None:
    """Return the number that pandas reads in a cell; `None` where it reads none."""
    if isinstance(cell, (int, float)):
        return cell
    if not isinstance(cell, str) or "_" in cell:
        return None
    for read in (int, float):
        try:
            return read(cell)
        except ValueError:
            continue
    return None
