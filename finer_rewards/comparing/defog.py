"""The rules of defog's sql-eval: frames with duplicate rows dropped, sorted, and compared cell by cell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from finer_rewards.comparing.frame import Frame, close_numbers, homogeneous_floats, is_null
from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.result import Comparison, Sides, differing, matched

__all__ = ["defog_exact", "defog_subset"]

_ASKS_FOR_ORDER = re.compile(r"\b(order|sort|arrange)\b")
_ORDER_BY = re.compile(r"ORDER BY[\s\S]*", re.IGNORECASE)
_FIRST_KEY = re.compile(r"(?<=ORDER BY)(.*?)(?=;|,|\)|$)", re.IGNORECASE)
_NOT_A_COLUMN = frozenset({"desc", "asc", "nulls", "last", "first", "limit"})
_NULL = -99999


class _EvaluatorError(Exception):
    """The published code raises here, and its caller counts no match."""


def defog_exact(sides: Sides, mode: Mode) -> Comparison:
    """Equal values as they are, under numpy's broadcasting; else equal values of the normalised frames.

    Normalised: duplicate rows dropped, columns sorted by name, rows sorted by all columns, or by the first
    ORDER BY key when the question asks for an order; NULL is -99999.
    """
    gold, predicted = Frame.of(sides.gold), Frame.of(sides.predicted)
    if _broadcast_equal(gold, predicted):
        return matched("the values are gold's (a single row or column stands for many)", "identical")
    try:
        ordered = _ordered(sides, mode)
        gold = _normalised(gold, ordered, sides.gold_sql)
        predicted = _normalised(predicted, ordered, sides.predicted_sql)
    except _EvaluatorError as error:
        return Comparison(False, 0.0, f"the evaluator fails: {error}", "evaluator_error")
    if gold.shape != predicted.shape:
        reason = f"the normalised shape is {predicted.shape}, but gold's is {gold.shape}"
        return differing(sides, reason, "row_count")
    if _values_equal(_filled(gold), _filled(predicted)):
        return matched("the normalised values are gold's", "rows")
    return differing(sides, "the normalised values are not gold's", "rows")


def defog_subset(sides: Sides, mode: Mode) -> Comparison:
    """Each gold column, sorted, is near a predicted column of its own; then the normalised rows agree.

    Columns are matched greedily from the left; floats agree within 1e-5. An empty gold never matches.
    """
    gold, predicted = Frame.of(sides.gold), Frame.of(sides.predicted)
    if not gold.length or not gold.columns:
        return Comparison(False, 0.0, "an empty gold result never matches", "empty")
    try:
        positions = _matched_columns(gold, predicted)
        if isinstance(positions, int):
            reason = f"no predicted column holds the values of gold column {positions + 1}"
            return differing(sides, reason, "columns")
        names = _unique_names(gold.names)
        ordered = _ordered(sides, mode)
        wanted = Frame(names, gold.columns, gold.kinds, gold.length)
        chosen = predicted.with_columns(positions)
        chosen.names = names
        wanted = _normalised(wanted, ordered, sides.gold_sql)
        chosen = _normalised(chosen, ordered, sides.predicted_sql)
    except _EvaluatorError as error:
        return Comparison(False, 0.0, f"the evaluator fails: {error}", "evaluator_error")
    if wanted.shape == chosen.shape and wanted.names == chosen.names:
        pairs = zip(range(len(wanted.columns)), wanted.kinds, chosen.kinds, strict=True)
        if all(_near(wanted.columns[i], chosen.columns[i], a, b) for i, a, b in pairs):
            return matched("the gold columns are among the predicted ones", "rows", tuple(positions))
    return differing(sides, "the columns hold the same values, but not in the same rows", "rows")


def _ordered(sides: Sides, mode: Mode) -> bool:
    return mode.row_order == "always" or bool(_ASKS_FOR_ORDER.search(sides.question.lower()))


def _broadcast_equal(gold: Frame, predicted: Frame) -> bool:
    shapes = list(zip(gold.shape, predicted.shape, strict=True))
    if any(a != b and 1 not in (a, b) for a, b in shapes):
        return False
    rows, columns = (0 if 0 in pair else max(pair) for pair in shapes)
    if not rows or not columns:
        return True
    gold_values, predicted_values = gold.value_columns(), predicted.value_columns()
    as_floats = homogeneous_floats(gold, predicted)
    for j in range(columns):
        a = gold_values[j if len(gold_values) > 1 else 0]
        b = predicted_values[j if len(predicted_values) > 1 else 0]
        for i in range(rows):
            if not _equal(a[i if len(a) > 1 else 0], b[i if len(b) > 1 else 0], as_floats):
                return False
    return True


def _values_equal(gold: Frame, predicted: Frame) -> bool:
    as_floats = homogeneous_floats(gold, predicted)
    return all(
        _equal(a, b, as_floats)
        for left, right in zip(gold.value_columns(), predicted.value_columns(), strict=True)
        for a, b in zip(left, right, strict=True)
    )


def _equal(a: Any, b: Any, as_floats: bool) -> bool:
    return bool(float(a) == float(b) if as_floats else a == b)


def _filled(frame: Frame) -> Frame:
    columns = [[_NULL if is_null(cell) else cell for cell in column] for column in frame.columns]
    return Frame(frame.names, columns, frame.kinds, frame.length)


def _normalised(frame: Frame, ordered: bool, sql: str | None) -> Frame:
    kept: dict[tuple[Any, ...], int] = {}
    for position, row in enumerate(zip(*frame.columns, strict=True)):
        kept.setdefault(tuple(None if is_null(cell) else cell for cell in row), position)
    frame = frame.with_rows(list(kept.values()))
    if len(set(frame.names)) < len(frame.names) and (frame.names != sorted(frame.names) or not ordered):
        raise _EvaluatorError("two columns have one name")
    frame = frame.with_columns(sorted(range(len(frame.names)), key=frame.names.__getitem__))
    if not ordered:
        return _sorted(frame, range(len(frame.names)), descending=False)
    clause = _ORDER_BY.search(sql or "")
    if clause is None:
        return frame
    words = (_FIRST_KEY.findall(clause.group()) or [""])[0].split()
    words = [word.rsplit(".", 1)[-1] for word in words]
    directions = {word.upper() for word in words}
    ascending = "DESC" not in directions and "ASC" in directions
    words = [word.replace(",", "").replace("(", "") for word in words]
    words = [word for word in words if word.lower() not in _NOT_A_COLUMN]
    if len(set(frame.names)) < len(frame.names):
        raise _EvaluatorError("two columns have one name")
    keys = [frame.names.index(word) for word in words if word in frame.names]
    others = [index for index, name in enumerate(frame.names) if name not in words]
    return _sorted(frame, keys + others, descending=not ascending).with_columns(others + keys)


def _sorted(frame: Frame, keys: Sequence[int], descending: bool) -> Frame:
    order = list(range(frame.length))
    for key in reversed(keys):
        column, kind = frame.columns[key], frame.kinds[key]
        nulls = [i for i in order if is_null(column[i])]
        others = [i for i in order if not is_null(column[i])]
        try:
            # Several keys go through categories, which put numbers before texts; one key does not.
            several = kind == "object" and len(keys) > 1
            rank = (lambda i, c=column: (isinstance(c[i], str), c[i])) if several else column.__getitem__
            others.sort(key=rank, reverse=descending)
        except TypeError as error:
            raise _EvaluatorError(str(error)) from None
        order = others + nulls
    return frame.with_rows(order)


def _matched_columns(gold: Frame, predicted: Frame) -> list[int] | int:
    """For each gold column its predicted column, or the first gold column without one."""
    names = _unique_names(predicted.names)
    free = list(range(len(predicted.columns)))
    found = []
    for index, (column, kind) in enumerate(zip(gold.columns, gold.kinds, strict=True)):
        if not free:
            return index
        wanted = _sorted_column(column, kind)
        for other in free:
            kind_there = predicted.kinds[other]
            if _near(wanted, _sorted_column(predicted.columns[other], kind_there), kind, kind_there):
                found.append(other)
                free.remove(other)
                break
        else:
            return index
    if any(names[other] != predicted.names[other] for other in found):
        raise _EvaluatorError("two predicted columns have one name")
    return found


def _sorted_column(column: list[Any], kind: str) -> list[Any]:
    present = [cell for cell in column if not is_null(cell)]
    try:
        return sorted(present) + [cell for cell in column if is_null(cell)]
    except TypeError as error:
        raise _EvaluatorError(str(error)) from None


def _near(gold: list[Any], predicted: list[Any], gold_kind: str, predicted_kind: str) -> bool:
    """`pandas.testing.assert_series_equal(check_dtype=False)`: integers exactly, floats within 1e-5."""
    if len(gold) != len(predicted):
        return False
    exact = "int" in (gold_kind, predicted_kind) or "bool" in (gold_kind, predicted_kind)
    as_floats = exact and "float" in (gold_kind, predicted_kind)
    for a, b in zip(gold, predicted, strict=True):
        if is_null(a) or is_null(b):
            if not (is_null(a) and is_null(b)):
                return False
        elif exact:
            if not _equal(a, b, as_floats):
                return False
        elif isinstance(a, (int, float)) and isinstance(b, (int, float)):
            if a != b and not close_numbers(a, b, 1e-5, 1e-8):
                return False
        elif a != b:
            return False
    return True


def _unique_names(names: Sequence[str]) -> list[str]:
    counts = Counter(names)
    return [f"{name}_{index}" if counts[name] > 1 else name for index, name in enumerate(names)]
