"""The rules of Spider 2.0 and of IBM's text2sql-eval-toolkit, which compare pandas data frames."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.published.pandas import frame_of, through_csv
from finer_rewards.comparing.result import Comparison, ResultTable, Sides, counted, differing, matched
from finer_rewards.comparing.rules import rule

# A quoted literal. A doubled quote does not end it.
_LITERAL = re.compile(r"""(['"])(?:(?!\1).|\1\1)*(?:\1|\Z)""", re.DOTALL)


@rule(reads={"row_order", "condition_columns", "null_is_zero"}, needs_pandas=True)
def spider2(sides: Sides, mode: Mode) -> Comparison:
    """Match if every gold column equals some predicted column as a vector.

    One predicted column may serve several gold columns, and extra columns do not matter. Both results pass through CSV,
    so '1' is 1; numbers within 0.01 are equal; NULL is 0. Where the order of rows does not count, each column is sorted
    on its own, as text.
    """
    gold, predicted = through_csv(sides.gold), through_csv(sides.predicted)
    if mode.condition_columns:
        if max(mode.condition_columns) >= len(gold.columns):
            return Comparison(False, 0.0, "gold has no such condition column", "evaluator_error")
        gold = gold.iloc[:, list(mode.condition_columns)]
    wanted = gold.values.T.tolist()
    vectors = [_vector(column, mode) for column in predicted.values.T.tolist()]
    for index, column in enumerate(wanted):
        vector = _vector(column, mode)
        if not any(_vectors_match(vector, other) for other in vectors):
            return differing(sides, f"no predicted column equals gold column {index + 1}", "columns")
    return matched(f"{counted(len(wanted), 'gold column')} found in the prediction", "columns")


def _is_null(cell: Any) -> bool:
    return cell is None or cell != cell


def _vector(column: list[Any], mode: Mode) -> list[Any]:
    vector = [0 if mode.null_is_zero and _is_null(cell) else cell for cell in column]
    if mode.row_order != "always":
        vector.sort(key=lambda cell: (cell is None, str(cell), isinstance(cell, (int, float))))
    return vector


def _vectors_match(gold: list[Any], predicted: list[Any]) -> bool:
    return len(gold) == len(predicted) and all(map(_cells_match, gold, predicted))


def _cells_match(gold: Any, predicted: Any) -> bool:
    if _is_null(gold) and _is_null(predicted):
        return True
    if isinstance(gold, (int, float)) and isinstance(predicted, (int, float)):
        return math.isclose(float(gold), float(predicted), abs_tol=1e-2)
    return bool(gold == predicted)


@rule(reads={"row_order"}, needs_pandas=True)
def ibm_exec(sides: Sides, mode: Mode) -> Comparison:
    """Match if the shapes are equal and the cells, as texts sorted within each row, agree.

    The rows are compared in order if gold has ORDER BY; otherwise each column is sorted on its own first.
    """
    gold, predicted = _ibm_rows(sides.gold), _ibm_rows(sides.predicted)
    shapes = [(len(rows), len(rows[0]) if rows else 0) for rows in (gold, predicted)]
    if shapes[0] != shapes[1]:
        return differing(sides, f"the shape is {shapes[1]}, but gold's is {shapes[0]}", "width")
    try:
        gold_rows = [sorted(map(_numpy_text, row)) for row in gold]
        predicted_rows = [sorted(map(_numpy_text, row)) for row in predicted]
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


def _ibm_rows(table: ResultTable) -> list[list[Any]]:
    rows: list[list[Any]] = frame_of(table).values.tolist()
    return rows


def _numpy_text(cell: Any) -> str:
    # The same as numpy's `values.astype(str)`, which decodes blobs and drops NUL characters at the end of a text. Done
    # cell by cell, because numpy would give every cell the memory of the longest.
    return (cell.decode("ascii") if isinstance(cell, bytes) else str(cell)).rstrip("\0")


@rule(reads={"row_order"}, needs_pandas=True)
def ibm_subset(sides: Sides, mode: Mode) -> Comparison:
    """Match if in each row the cells of the narrower result are among those of the wider one, whichever is gold.

    Numbers are compared in 15 digits, also those spelled as text; where gold has no ORDER BY every column
    is sorted on its own first. An empty result never matches.
    """
    gold, predicted = frame_of(sides.gold), frame_of(sides.predicted)
    if not len(gold) or not len(predicted):
        return Comparison(False, 0.0, "an empty result never matches", "empty")
    if len(gold) != len(predicted):
        rows = counted(len(predicted), "row")
        return differing(sides, f"{rows}, but gold has {len(gold):,}", "row_count")
    narrow, wide = sorted((gold, predicted), key=lambda frame: frame.shape[1])
    bags = [_row_bags(frame, _orders_by_text(sides.gold_sql, mode)) for frame in (narrow, wide)]
    if all(bag <= other for bag, other in zip(*bags, strict=True)):
        return matched("each row's cells are among the other's", "cells")
    return differing(sides, "some row's cells are not among the other's", "cells")


def _row_bags(frame: Any, ordered: bool) -> list[Counter[str]]:
    """Return the cells of each row as texts, in a bag; unless ordered, after each column is sorted on its own."""
    if ordered:
        return [Counter(map(_canonical, row)) for row in frame.values.tolist()]
    columns = [sorted(map(_canonical, frame.iloc[:, index].tolist())) for index in range(frame.shape[1])]
    # The published code makes the texts canonical a second time, in which large integers lose their last digits.
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
    if not math.isfinite(number):
        return str(number)
    return str(int(number)) if number.is_integer() else format(number, ".15g")


def _orders_by_text(sql: str | None, mode: Mode) -> bool:
    if mode.row_order == "text":
        return "ORDER BY" in _LITERAL.sub("", sql or "").upper()
    return mode.row_order == "always"
