"""The published rules that compare rows as plain Python values: BIRD, Spider's test suite, QATCH and others."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from finer_rewards.comparing.column_order import exact_mapping
from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.ordering import is_select_text
from finer_rewards.comparing.result import Comparison, ResultTable, Sides, counted, differing, matched
from finer_rewards.comparing.rules import Equates, rule
from finer_rewards.types import Row

_TWO_ENDS = re.compile(r";\s*;\s*\Z")
_NUMBERS = frozenset((int, float))


@rule(reads={"accept_empty"}, equates=lambda mode, ordered: Equates(counted=False))
def row_set(sides: Sides, mode: Mode) -> Comparison:
    """`set(gold) == set(predicted)` with Python equality: 1 == 1.0, column order counts, nothing else.

    The evaluator runs the text as it is, and Python's sqlite3 refuses a second `;` as another statement.
    """
    if _has_two_ends(sides.gold_sql) or _has_two_ends(sides.predicted_sql):
        return Comparison(
            False, 0.0, "the evaluator takes a second `;` for another statement", "evaluator_error"
        )
    gold, predicted = sides.gold.rows[: mode.max_rows], sides.predicted.rows[: mode.max_rows]
    if not mode.accept_empty and not (gold and predicted):
        return Comparison(False, 0.0, "an empty result never matches", "empty")
    return verdict(sides, set(gold) == set(predicted), "set of rows")


def _has_two_ends(sql: str | None) -> bool:
    return sql is not None and ";" in sql and _TWO_ENDS.search(sql) is not None


@rule(equates=lambda mode, ordered: Equates(alike=False))
def sorted_rows(sides: Sides, mode: Mode) -> Comparison:
    """`sorted(gold) == sorted(predicted)`; rows that Python cannot sort never match, not even themselves."""
    try:
        equal = sorted(sides.gold.rows) == sorted(sides.predicted.rows)
    except TypeError as error:
        return Comparison(False, 0.0, f"the evaluator cannot sort the rows: {error}", "evaluator_error")
    return verdict(sides, equal, "sorted rows")


@rule(equates=lambda mode, ordered: Equates(different=False))
def qatch(sides: Sides, mode: Mode) -> Comparison:
    """Match if both have equally many rows, and equal sets of rows once the cells of each row are sorted."""
    gold, predicted = sides.gold.rows, sides.predicted.rows
    if len(gold) != len(predicted):
        return _row_count(sides)
    equal = {_cells_sorted(row) for row in gold} == {_cells_sorted(row) for row in predicted}
    return verdict(sides, equal, "set of rows with sorted cells")


def _cells_sorted(row: Row) -> tuple[Any, ...]:
    def key(cell: Any) -> tuple[int, Any]:
        if cell is None:
            return 0, ""
        return (1, float(cell)) if isinstance(cell, (int, float)) else (2, str(cell))

    return tuple(sorted(row, key=key))


@rule(reads={"row_order"}, equates=lambda mode, ordered: Equates(ordered=ordered))
def typed_rows(sides: Sides, mode: Mode) -> Comparison:
    """Bag of typed rows (1 is not 1.0); the list of them when gold has a top-level ORDER BY."""
    gold, predicted = sides.gold, sides.predicted
    if gold.width is not None and predicted.width is not None and gold.width != predicted.width:
        return differing(sides, f"{counted(predicted.width, 'column')}, but gold has {gold.width}", "width")
    typed_gold, typed_predicted = list(map(_typed, gold.rows)), list(map(_typed, predicted.rows))
    if mode.counts_order(sides.gold_sql):
        return verdict(sides, typed_gold == typed_predicted, "list of typed rows")
    return verdict(sides, Counter(typed_gold) == Counter(typed_predicted), "bag of typed rows")


def _typed(row: Row) -> tuple[Any, ...]:
    # NaN is not equal to itself, so its name stands for it.
    return tuple((type(cell).__name__, cell if cell == cell else "nan") for cell in row)


@rule(reads={"row_order"}, equates=lambda mode, ordered: Equates(ordered=ordered, different=False))
def test_suite(sides: Sides, mode: Mode) -> Comparison:
    """The test-suite evaluator's `result_eq`: equal bags of rows (lists, if gold says ORDER BY) up to a column order.

    Two empty results match, whatever their widths. Before columns are permuted, each row's cells are sorted by their
    text and type and have to agree, which rejects (1, 10) against (1.0, 10).
    """
    gold, predicted = sides.gold.rows, sides.predicted.rows
    if not gold and not predicted:
        return matched("both results are empty", "empty")
    if len(gold) != len(predicted):
        return _row_count(sides)
    if len(gold[0]) != len(predicted[0]):
        width = counted(len(predicted[0]), "column")
        return differing(sides, f"{width}, but gold has {len(gold[0]):,}", "width")
    ordered = mode.counts_order(sides.gold_sql)
    gold_cells, predicted_cells = list(map(_by_text, gold)), list(map(_by_text, predicted))
    alike = gold_cells == predicted_cells if ordered else set(gold_cells) == set(predicted_cells)
    if not alike:
        return differing(sides, "the rows differ even with their cells sorted as text", "cells")
    columns = exact_mapping(sides.gold, sides.predicted, ordered)
    if columns is None:
        return differing(sides, "no order of the columns makes the rows equal", "rows")
    return matched(f"{counted(len(gold), 'row')} = gold", "rows", columns)


def _by_text(row: Row) -> Row:
    return tuple(sorted(row, key=lambda cell: str(cell) + str(type(cell))))


def _row_count(sides: Sides) -> Comparison:
    rows = counted(len(sides.predicted.rows), "row")
    return differing(sides, f"{rows}, but gold has {len(sides.gold.rows):,}", "row_count")


def verdict(sides: Sides, equal: bool, what: str) -> Comparison:
    """Return the comparison, with the reason that a published evaluator does not give."""
    if equal:
        return matched(f"the {what} is gold's", "rows")
    return differing(sides, f"the {what} is not gold's", "rows")


@rule(reads={"max_rows"})
def dict_rows(sides: Sides, mode: Mode) -> Comparison:
    """Match if the sets of rows are equal when each row is a dictionary by column name and NULL is ''.

    In a dictionary only the last of several columns with one name is left.
    """
    if sides.predicted_sql is not None and not is_select_text(sides.predicted_sql):
        return Comparison(
            False, 0.0, "the text does not begin with SELECT, WITH or EXPLAIN, so it gives no rows",
            "not_select",
        )  # fmt: skip
    gold, predicted = (_rows_by_name(table, mode) for table in (sides.gold, sides.predicted))
    comparison = verdict(sides, gold == predicted, "set of rows by column name, NULL read as '',")
    if None in (sides.gold.columns, sides.predicted.columns):
        comparison = comparison.assuming("no column names were given, so columns were named by position")
    if sides.predicted_sql is None:
        comparison = comparison.assuming("no predicted SQL was given, so it was taken to begin with SELECT")
    return comparison


def _rows_by_name(table: ResultTable, mode: Mode) -> set[Row]:
    """Return the rows as the published code reads them from a data frame.

    A column of numbers with a NULL has become floats there; so have all columns, if all hold numbers and at least one
    column holds floats.
    """
    rows = table.rows[: mode.max_rows]
    # A dictionary keeps the place of the first of several columns with one name, and the value of the last.
    positions = {name: index for index, name in enumerate(table.names)}.values()
    columns = [[row[index] for row in rows] for index in positions]
    kinds = [set(map(type, column)) for column in columns]
    floats = [bool(kind & _NUMBERS) and kind <= {*_NUMBERS, type(None)} and kind != {int} for kind in kinds]
    whole = any(floats) and all(
        kind <= _NUMBERS and not any(cell != cell for cell in column)
        for kind, column in zip(kinds, columns, strict=True)
    )
    return set(
        zip(
            *(
                [_as_held(cell, whole or as_float) for cell in column]
                for column, as_float in zip(columns, floats, strict=True)
            ),
            strict=True,
        )
    )


def _as_held(cell: Any, as_float: bool) -> Any:
    if cell is None or cell != cell:
        return ""
    return float(cell) if as_float else cell
