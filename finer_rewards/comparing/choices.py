"""Comparing a prediction with a gold that has several right results, because its LIMIT cuts through tied rows.

An executor finds the ties (`executing/right_results.py`) and keeps them in `Execution.choices`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from finer_rewards.comparing.cell_codes import CellCodes
from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.result import Comparison, counted, matched
from finer_rewards.types import Choices, Execution

# Cells as the integers of `CellCodes`.
_Codes = tuple[int, ...]
# A prediction may return all tied rows instead of those that the LIMIT lets through, if they are at most this many.
_MOST_TIED = 100
# The search tries this many orders of the columns, then gives up.
_MOST_ORDERS = 500


def compare_with_choices(choices: Choices, predicted: Execution, mode: Mode, *, ordered: bool) -> Comparison:
    """Compare a predicted result with every result that is right.

    A result is right if it has as many rows of each tie as the gold has, with the ties in their order where order
    counts. All tied rows together are right too, in any order, if they are few enough to be an answer (at most 100).

    Args:
        choices: the ties of a gold, as an executor found them.
        predicted: the predicted result.
        mode: gives the tolerances, and says whether columns may be reordered.
        ordered: whether the order of rows counts.

    Example:
        >>> from finer_rewards.comparing import find_mode
        >>> from finer_rewards.types import Status
        >>> tied = Choices("a tie", runs=(((("Ann",), ("Bob",)), 1),))
        >>> for rows in ([("Bob",)], [("Cid",)], [("Bob",), ("Ann",)]):
        ...     run = Execution(Status.ok, ("name",), tuple(rows))
        ...     compare_with_choices(tied, run, find_mode("answer"), ordered=True).match
        True
        False
        True
    """
    gold = [row for rows, _ in choices.runs for row in rows]
    wide = len(gold[0])
    if not predicted.rows or len(predicted.rows[0]) != wide:
        got = counted(len(predicted.columns), "column")
        return Comparison(
            False, 0.0, f"{counted(len(predicted.rows), 'row')} of {got}, but gold has {wide}", "width"
        )
    ours, theirs = (list(zip(*rows, strict=True)) for rows in (gold, predicted.rows))
    cells = CellCodes.of((*ours, *theirs), mode.relative_tolerance, mode.absolute_tolerance)
    known, found = (list(map(cells.column, columns)) for columns in (ours, theirs))
    rows = list(zip(*known, strict=True))
    runs, start = [], 0
    for some, count in choices.runs:
        runs.append((rows[start : start + len(some)], count))
        start += len(some)
    for columns in _orders(known, found, mode.permute_columns):
        shown = list(zip(*(found[column] for column in columns), strict=True))
        if _is_choice(runs, shown, ordered):
            return matched("a right choice of the rows that tie at gold's LIMIT", "tie", columns)
        if len(rows) <= _MOST_TIED and set(shown) == set(rows):
            return matched("all the rows that tie at gold's LIMIT", "tie", columns)
    return Comparison(False, 0.0, "no right choice of the rows that tie at gold's LIMIT", "tie")


def _orders(gold: Sequence[_Codes], predicted: Sequence[_Codes], permuted: bool) -> Iterator[tuple[int, ...]]:
    """Yield orders of the predicted columns in which each holds only values of its gold column.

    The columns as they stand come first, if they are such an order.
    """
    values, shown = list(map(set, gold)), list(map(set, predicted))
    fits = [[place for place, some in enumerate(shown) if some <= known] for known in values]
    tried = 0
    waiting: list[tuple[int, ...]] = [()]
    while waiting and tried < _MOST_ORDERS:
        chosen = waiting.pop()
        if len(chosen) == len(gold):
            tried += 1
            yield chosen
            continue
        index = len(chosen)
        places = [place for place in fits[index] if place not in chosen and (permuted or place == index)]
        waiting += [(*chosen, place) for place in sorted(places, key=lambda place: (place == index, -place))]


def _is_choice(runs: Sequence[tuple[list[_Codes], int]], shown: list[_Codes], ordered: bool) -> bool:
    """Whether the predicted rows take the right number of rows from each tie.

    Args:
        runs: for each tie all its rows, and how many of them the gold shows.
        shown: the predicted rows.
        ordered: whether the order of rows counts.
    """
    if len(shown) != sum(count for _, count in runs):
        return False
    if ordered:
        start = 0
        for rows, count in runs:
            if Counter(shown[start : start + count]) - Counter(rows):
                return False
            start += count
        return True
    left = Counter(shown)
    for rows, count in runs:
        if count == len(rows):
            if Counter(rows) - left:
                return False
            left -= Counter(rows)
    return not left - Counter(row for rows, count in runs if count < len(rows) for row in rows)
