"""The two rules of defog's sql-eval, which drop duplicate rows, sort what is left and compare it cell by cell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.published.pandas import frame_of
from finer_rewards.comparing.result import Comparison, Sides, differing, matched
from finer_rewards.comparing.rules import rule

_ASKS_FOR_ORDER = re.compile(r"\b(order|sort|arrange)\b")
_ORDER_BY = re.compile(r"ORDER BY[\s\S]*", re.IGNORECASE)
_FIRST_KEY = re.compile(r"(?<=ORDER BY)(.*?)(?=;|,|\)|$)", re.IGNORECASE)
_NOT_A_COLUMN = frozenset({"desc", "asc", "nulls", "last", "first", "limit"})
_NULL = -99999
# Errors that the published code does not catch; its caller counts them as no match.
_FAILURES = (TypeError, ValueError, KeyError)


@rule(reads={"row_order"}, needs_pandas=True)
def defog_exact(sides: Sides, mode: Mode) -> Comparison:
    """Match if the values are equal under numpy's broadcasting, or else if those of the normalised frames are equal.

    Normalised: duplicate rows dropped, columns sorted by name, rows sorted by all columns, or by the first
    ORDER BY key when the question asks for an order; NULL is -99999.
    """
    comparison = _exact(sides, mode)
    if None in (sides.gold.columns, sides.predicted.columns):
        return comparison.assuming("no column names were given, so columns were named by position")
    return comparison


def _exact(sides: Sides, mode: Mode) -> Comparison:
    gold, predicted = frame_of(sides.gold), frame_of(sides.predicted)
    if _broadcast_equal(gold.values, predicted.values):
        return matched("the values are gold's (a single row or column stands for many)", "identical")
    try:
        ordered = _ordered(sides, mode)
        gold = _normalised(gold, ordered, sides.gold_sql)
        predicted = _normalised(predicted, ordered, sides.predicted_sql)
    except _FAILURES as error:
        return Comparison(False, 0.0, f"the evaluator fails: {error}", "evaluator_error")
    if gold.shape != predicted.shape:
        reason = f"the normalised shape is {predicted.shape}, but gold's is {gold.shape}"
        return differing(sides, reason, "row_count")
    if bool((_filled(gold) == _filled(predicted)).all()):
        return matched("the normalised values are gold's", "rows")
    return differing(sides, "the normalised values are not gold's", "rows")


@rule(reads={"row_order"}, needs_pandas=True)
def defog_subset(sides: Sides, mode: Mode) -> Comparison:
    """Each gold column, sorted, is near a predicted column of its own; then the normalised rows agree.

    Columns are matched greedily from the left; floats agree within 1e-5. An empty gold never matches.
    """
    from pandas.testing import assert_frame_equal

    gold, predicted = frame_of(sides.gold), frame_of(sides.predicted)
    if gold.empty:
        return Comparison(False, 0.0, "an empty gold result never matches", "empty")
    gold.columns = _unique_names(sides.gold.names)
    try:
        names = _matched_columns(gold, predicted)
        if isinstance(names, int):
            reason = f"no predicted column holds the values of gold column {names + 1}"
            return differing(sides, reason, "columns")
        ordered = _ordered(sides, mode)
        chosen = predicted[names].set_axis(list(gold.columns), axis=1)
        wanted = _normalised(gold, ordered, sides.gold_sql)
        chosen = _normalised(chosen, ordered, sides.predicted_sql)
    except _FAILURES as error:
        return Comparison(False, 0.0, f"the evaluator fails: {error}", "evaluator_error")
    try:
        assert_frame_equal(wanted, chosen, check_dtype=False)
    except AssertionError:
        return differing(sides, "the columns hold the same values, but not in the same rows", "rows")
    positions = tuple(map(_unique_names(sides.predicted.names).index, names))
    return matched("the gold columns are among the predicted ones", "rows", positions)


def _ordered(sides: Sides, mode: Mode) -> bool:
    return mode.row_order == "always" or bool(_ASKS_FOR_ORDER.search(sides.question.lower()))


def _broadcast_equal(gold: Any, predicted: Any) -> bool:
    if any(a != b and 1 not in (a, b) for a, b in zip(gold.shape, predicted.shape, strict=True)):
        # For such shapes numpy returns a single False or raises, depending on its version.
        return False
    return bool((gold == predicted).all())


def _filled(frame: Any) -> Any:
    return frame.where(frame.notna(), _NULL).values


def _normalised(frame: Any, ordered: bool, sql: str | None) -> Any:
    """Return the frame as the published code compares it: no duplicates, columns by name, rows sorted.

    The odd reading of the ORDER BY clause is that of the published code, too.
    """
    frame = frame.drop_duplicates()
    frame = frame.reindex(sorted(frame.columns), axis=1)
    if not ordered:
        return frame.sort_values(by=list(frame.columns)).reset_index(drop=True)
    clause = _ORDER_BY.search(sql or "")
    if clause is None:
        return frame.reset_index(drop=True)
    words = (_FIRST_KEY.findall(clause.group()) or [""])[0].split()
    words = [word.rsplit(".", 1)[-1] for word in words]
    directions = {word.upper() for word in words}
    ascending = "DESC" not in directions and "ASC" in directions
    words = [word.replace(",", "").replace("(", "") for word in words]
    words = [word for word in words if word.lower() not in _NOT_A_COLUMN]
    keys = [word for word in words if word in frame.columns]
    others = [name for name in frame.columns if name not in words]
    frame = frame.sort_values(by=keys + others, ascending=ascending)
    return frame[others + keys].reset_index(drop=True)


def _matched_columns(gold: Any, predicted: Any) -> list[str] | int:
    """Return for each gold column the name of its predicted column, or the index of the first column that has none."""
    free = predicted.copy()
    free.columns = _unique_names(list(predicted.columns))
    chosen: list[str] = []
    for index, name in enumerate(gold.columns):
        wanted = _sorted(gold[name])
        near = (other for other in free.columns if _near(wanted, free[other]))
        found = next(near, None)
        if found is None:
            return index
        chosen.append(found)
        free = free.drop(columns=[found])
    return chosen


def _sorted(column: Any) -> Any:
    # Sort the index instead of the values: from version 3 on, `sort_values` would turn the values into pandas' own text
    # type, and None into NaN.
    return column.loc[column.sort_values().index].reset_index(drop=True)


def _near(wanted: Any, offered: Any) -> bool:
    from pandas.testing import assert_series_equal

    try:
        assert_series_equal(wanted, _sorted(offered), check_dtype=False, check_names=False)
    except AssertionError:
        return False
    return True


def _unique_names(names: Sequence[str]) -> list[str]:
    counts = Counter(names)
    return [f"{name}_{index}" if counts[name] > 1 else name for index, name in enumerate(names)]
