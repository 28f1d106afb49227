"""Published rules that compare data frames: Spider 2.0, IBM and FINER-SQL."""

from __future__ import annotations

from collections import Counter
from typing import Any

from finer_rewards.comparing.frame import Frame, close_numbers, is_null
from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.ordering import is_select_text
from finer_rewards.comparing.result import Comparison, Sides, Table, counted, differing, matched
from finer_rewards.comparing.rows import verdict

__all__ = ["dict_rows", "ibm_exec", "ibm_subset", "spider2"]


def spider2(sides: Sides, mode: Mode) -> Comparison:
    """Every gold column equals some predicted column as a vector; one may serve several, and extra are free.

    Both results pass through CSV, so '1' is 1; numbers within 0.01 are equal; NULL is 0. Where the order of
    rows does not count, each column is sorted on its own, as text.
    """
    gold, predicted = Frame.through_csv(sides.gold), Frame.through_csv(sides.predicted)
    wanted = gold.value_columns()
    if mode.condition_columns:
        if max(mode.condition_columns) >= len(wanted):
            return Comparison(False, 0.0, "gold has no such condition column", "evaluator_error")
        chosen = gold.with_columns(mode.condition_columns)
        wanted = chosen.value_columns()
    sort = mode.row_order != "always"
    vectors = [_vector(column, sort, mode) for column in predicted.value_columns()]
    for index, column in enumerate(wanted):
        vector = _vector(column, sort, mode)
        if not any(_vectors_match(vector, other) for other in vectors):
            return differing(sides, f"no predicted column equals gold column {index + 1}", "columns")
    return matched(f"{counted(len(wanted), 'gold column')} found in the prediction", "columns")


def _vector(column: list[Any], sort: bool, mode: Mode) -> list[Any]:
    vector = [0 if mode.null_is_zero and is_null(cell) else cell for cell in column]
    if sort:
        vector.sort(key=lambda cell: (cell is None, str(cell), isinstance(cell, (int, float))))
    return vector


def _vectors_match(gold: list[Any], predicted: list[Any]) -> bool:
    if len(gold) != len(predicted):
        return False
    for a, b in zip(gold, predicted, strict=True):
        if is_null(a) and is_null(b):
            continue
        if isinstance(a, (int, float)) and isinstance(b, (int, float)):
            if not close_numbers(a, b, 1e-9, 1e-2):
                return False
        elif a != b:
            return False
    return True


def ibm_exec(sides: Sides, mode: Mode) -> Comparison:
    """Equal shapes, cells as text; each row's cells sorted, then rows in order, or each column on its own."""
    gold, predicted = Frame.of(sides.gold), Frame.of(sides.predicted)
    gold_shape, predicted_shape = _ibm_shape(gold), _ibm_shape(predicted)
    if gold_shape != predicted_shape:
        return differing(sides, f"the shape is {predicted_shape}, but gold's is {gold_shape}", "width")
    try:
        gold_rows = [sorted(map(_numpy_text, row)) for row in gold.values()]
        predicted_rows = [sorted(map(_numpy_text, row)) for row in predicted.values()]
    except UnicodeDecodeError as error:
        return Comparison(False, 0.0, f"the evaluator cannot read a blob as text: {error}", "evaluator_error")
    if _orders_by_text(sides.gold_sql, mode):
        equal = gold_rows == predicted_rows
    else:
        gold_columns = [sorted(column) for column in zip(*gold_rows, strict=True)]
        equal = gold_columns == [sorted(column) for column in zip(*predicted_rows, strict=True)]
    if equal:
        return matched("the sorted texts of the cells are gold's", "cells")
    return differing(sides, "the sorted texts of the cells are not gold's", "cells")


def _ibm_shape(frame: Frame) -> tuple[int, int]:
    # A frame made of no rows has no columns.
    return frame.shape if frame.length else (0, 0)


def _numpy_text(cell: Any) -> str:
    # numpy decodes blobs, and drops NUL characters at the end of a text.
    return (cell.decode("ascii") if isinstance(cell, bytes) else str(cell)).rstrip("\0")


def ibm_subset(sides: Sides, mode: Mode) -> Comparison:
    """Row by row, the cells of the narrower result are among those of the wider one, whichever is gold.

    Numbers are compared in 15 digits, also those spelled as text; where gold has no ORDER BY every column
    is sorted on its own first. An empty result never matches.
    """
    gold, predicted = Frame.of(sides.gold), Frame.of(sides.predicted)
    if not gold.length or not predicted.length:
        return Comparison(False, 0.0, "an empty result never matches", "empty")
    if gold.length != predicted.length:
        rows = counted(predicted.length, "row")
        return differing(sides, f"{rows}, but gold has {gold.length:,}", "row_count")
    narrow, wide = (gold, predicted) if len(gold.columns) <= len(predicted.columns) else (predicted, gold)
    bags = [_row_bags(frame, _orders_by_text(sides.gold_sql, mode)) for frame in (narrow, wide)]
    if all(bag <= other for bag, other in zip(*bags, strict=True)):
        return matched("each row's cells are among the other's", "cells")
    return differing(sides, "some row's cells are not among the other's", "cells")


def _row_bags(frame: Frame, ordered: bool) -> list[Counter[str]]:
    if ordered:
        return [Counter(map(_canonical, row)) for row in frame.values()]
    columns = [sorted(map(_canonical, column)) for column in frame.columns]
    # The texts are made canonical once more, now as texts: large integers lose their last digits.
    return [Counter(map(_canonical, row)) for row in zip(*columns, strict=True)]


def _canonical(cell: Any) -> str:
    if cell is None or isinstance(cell, (bool, int)):
        return str(cell)
    if isinstance(cell, float):
        return _float_text(cell)
    text = str(cell).strip()
    try:
        return _float_text(float(text))
    except ValueError:
        return text


def _float_text(number: float) -> str:
    if number != number:
        return "nan"
    if number in (float("inf"), float("-inf")):
        return "inf" if number > 0 else "-inf"
    return str(int(number)) if number.is_integer() else format(number, ".15g")


def _orders_by_text(sql: str | None, mode: Mode) -> bool:
    if mode.row_order == "text":
        return "ORDER BY" in _without_literals(sql or "").upper()
    return mode.row_order == "always"


def _without_literals(sql: str) -> str:
    """Empty everything in quotes, single or double, where a doubled quote does not end it."""
    out = []
    position = 0
    while position < len(sql):
        quote = sql[position]
        if quote in "'\"":
            end = sql.find(quote, position + 1)
            while end != -1 and sql[end + 1 : end + 2] == quote:
                end = sql.find(quote, end + 2)
            out.append(quote * 2)
            position = len(sql) if end == -1 else end + 1
        else:
            out.append(quote)
            position += 1
    return "".join(out)


def dict_rows(sides: Sides, mode: Mode) -> Comparison:
    """Rows as dictionaries (of two columns with one name the last stays), NULL read as '', then as a set."""
    if sides.predicted_sql is not None and not is_select_text(sides.predicted_sql):
        return Comparison(
            False, 0.0, "the text does not begin with SELECT, WITH or EXPLAIN, so it gives no rows",
            "not_select",
        )  # fmt: skip
    gold, predicted = (_rows_by_name(table, mode) for table in (sides.gold, sides.predicted))
    return verdict(sides, gold == predicted, "set of rows by column name, NULL read as '',")


def _rows_by_name(table: Table, mode: Mode) -> set[tuple[Any, ...]]:
    frame = Frame.of(Table(table.rows[: mode.max_rows], table.columns))
    # A dictionary keeps the place of the first column of a name, and the value of the last.
    frame = frame.with_columns(list({name: index for index, name in enumerate(frame.names)}.values()))
    for index, column in enumerate(frame.columns):
        if any(map(is_null, column)):
            frame.columns[index] = ["" if is_null(cell) else cell for cell in column]
            frame.kinds[index] = "object"
    return set(frame.values())
