"""Whether a result is one of those that a gold query may give where its LIMIT cuts through rows that tie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from finer_rewards.comparing.cells import Cells
from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.result import Comparison, counted, matched
from finer_rewards.types import Choices, Execution

_Codes = tuple[int, ...]
_MOST_TIED = 100  # rows that may stand together for the few that a LIMIT lets through
_MOST_ORDERS = 500  # of columns, tried before the search is given up


def compare_with_choices(choices: Choices, predicted: Execution, mode: Mode, *, ordered: bool) -> Comparison:
    """Compare a predicted result with all that is right.

    Right is as many rows of each run of ties as the gold has, runs in their order where that counts; and all the
    rows that tie together, whatever their order, if they are few enough to be an answer (at most 100).

    Args:
        choices: the runs of a gold, as found by an executor.
        predicted: the predicted result.
        mode: says how near numbers are equal, and whether columns may be in another order.
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
    cells = Cells.of((*ours, *theirs), mode.relative_tolerance, mode.absolute_tolerance)
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
    """Yield orders of the predicted columns under which each has only values of its gold column, as they are first."""
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
