"""Finds the rows in which two results differ and shows them side by side, for the verb `explain`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from finer_rewards.cli.terminal import one_line, shorten
from finer_rewards.types import Execution, Row

INF = float("inf")


class Differences(NamedTuple):
    """The rows that one result has and the other has not, duplicates counted.

    Args:
        shared: how many rows both have.
        predicted: rows that only the predicted result has.
        gold: rows that only the gold result has.
    """

    shared: int
    predicted: list[Row]
    gold: list[Row]


def find_differences(predicted: Sequence[Row], gold: Sequence[Row]) -> Differences:
    """Return what two results share and where they differ, whatever the order of the rows.

    Example:
        >>> find_differences([(1,), (2,), (2,)], [(2,), (3,)])
        Differences(shared=1, predicted=[(1,), (2,)], gold=[(3,)])
    """
    ours, theirs = Counter(predicted), Counter(gold)
    return Differences(
        (ours & theirs).total(), list((ours - theirs).elements()), list((theirs - ours).elements())
    )


def side_by_side(predicted: Execution, gold: Execution, *, width: int = 100, limit: int = 5) -> Iterator[str]:
    """Yield lines with the rows that differ: predicted to the left, gold to the right.

    If the results differ only in the order of their rows, all rows are shown in the order in which they came.
    """
    if not (predicted.ok and gold.ok):
        return
    found = find_differences(predicted.rows, gold.rows)
    left, right, what = found.predicted, found.gold, "only "
    if not left and not right:
        left, right, what = list(predicted.rows), list(gold.rows), ""
    columns = [
        _column(f"{what}predicted", predicted, left, limit),
        _column(f"{what}gold", gold, right, limit),
    ]
    room = min(max(len(line) for line in columns[0]), (width - 3) // 2)
    for ours, theirs in zip_longest(*columns, fillvalue=""):
        yield f"{shorten(ours, room).ljust(room)} │ {shorten(theirs, width - room - 3)}".rstrip()


def plain(rows: Sequence[Row]) -> list[list[object]]:
    """Return rows as JSON can hold them: blobs as SQL literals, infinities as text."""
    return [
        [
            f"X'{cell.hex()}'" if isinstance(cell, bytes) else repr(cell) if cell in (INF, -INF) else cell
            for cell in row
        ]
        for row in rows
    ]


def _column(title: str, result: Execution, rows: Sequence[Row], limit: int) -> list[str]:
    count = f"{len(rows)} of {len(result.rows)} row{'s' * (len(result.rows) != 1)}"
    cut = ", cut" if result.truncated else ""
    cells = [[_cell(value) for value in row] for row in rows[:limit]]
    names = [one_line(name) for name in result.columns]
    sizes = [max(len(line[index]) for line in [names, *cells]) for index in range(len(names))]
    lines = [
        "  ".join(cell.ljust(size) for cell, size in zip(line, sizes, strict=False))
        for line in [names, *cells]
    ]
    return [f"{title}: {count}{cut}", *(line.rstrip() for line in lines), *["..."][: len(rows) > limit]]


def _cell(value: object) -> str:
    if value is None:
        return "NULL"
    return shorten(one_line(value if isinstance(value, str) else repr(value)), 40)
