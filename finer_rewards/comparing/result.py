"""The values that every rule handles: two `ResultTable`s go in (as `Sides`), a `Comparison` comes out."""

from __future__ import annotations

import marshal
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from finer_rewards.errors import ConfigError
from finer_rewards.types import Execution, Row

# The lone surrogates that stand for bytes that are not UTF-8.
_BYTES = re.compile("[\udc80-\udcff]")
# The first two bytes of such a surrogate when marshalled.
_SURROGATES = (b"\xed\xb2", b"\xed\xb3")

# Rows that a comparison shows of those that differ.
SHOWN_ROWS = 3


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome of comparing two results; in a condition it is true when they match.

    Args:
        match: whether the prediction is right under the mode.
        score: 1.0 for a match, else 0.0.
        reason: one line for a person.
        rule: what decided: `identical`, `empty`, `width`, `row_count`, `cells`, `columns`, `order`, `rows`,
            `truncated`, `not_run`, `not_select`, `evaluator_error`, or `budget`.
        only_gold: the first few rows that only gold has.
        only_predicted: the first few rows that only the prediction has.
        columns: for each gold column, the predicted column it was matched to; `None` when not searched.
        assumed: what was assumed because an argument was missing; empty when nothing was.
    """

    match: bool
    score: float
    reason: str
    rule: str = ""
    only_gold: tuple[Row, ...] = ()
    only_predicted: tuple[Row, ...] = ()
    columns: tuple[int, ...] | None = None
    assumed: str = ""

    def __bool__(self) -> bool:
        return self.match

    def assuming(self, what: str) -> Comparison:
        """Return the comparison with one more assumption noted."""
        return replace(self, assumed="; ".join(filter(None, (what, self.assumed))))


class Settled(NamedTuple):
    """The outcome of comparing two results that were too large to be sent, perhaps in a worker.

    Args:
        comparison: the comparison; `None` when a limit left it open.
        swapped: whether two columns of similar values have changed places; see `swapped`.
        ambiguous: whether the gold's LIMIT cuts through a tie.
        reason: why it was left open.
    """

    comparison: Comparison | None
    swapped: bool = False
    ambiguous: bool = False
    reason: str = ""


class ResultTable(NamedTuple):
    """One side of a comparison.

    Args:
        rows: the rows.
        columns: the names of the columns; `None` when they are not known.
        truncated: whether rows are missing because of the row limit.
        order: the sort key of each row; `None` when not known.
    """

    rows: tuple[Row, ...]
    columns: tuple[str, ...] | None = None
    truncated: bool = False
    order: tuple[Row, ...] | None = None

    @property
    def width(self) -> int | None:
        """Number of columns; `None` for an empty result whose columns are not known."""
        if self.rows:
            return len(self.rows[0])
        return None if self.columns is None else len(self.columns)

    def first_of_each(self, keys: Iterable[Any]) -> ResultTable:
        """Return the table with only the first row of each key, given one key for each row."""
        places = list({key: place for place, key in reversed(list(enumerate(keys)))}.values())
        places.sort()
        if len(places) == len(self.rows):
            return self
        order = self.order if self.order and len(self.order) == len(self.rows) else None
        return self._replace(
            rows=tuple(self.rows[place] for place in places),
            order=order and tuple(order[place] for place in places),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns; `column_0` and so on when they are not known."""
        if self.columns is not None:
            return self.columns
        return tuple(f"column_{index}" for index in range(self.width or 0))


class Sides(NamedTuple):
    """Both sides of a comparison, with the statements and the question, which some rules look at."""

    gold: ResultTable
    predicted: ResultTable
    gold_sql: str | None = None
    predicted_sql: str | None = None
    question: str = ""


def result_table(
    side: Execution | Iterable[Sequence[Any]], columns: Sequence[str] | None, name: str
) -> ResultTable:
    """Return one side of a comparison as a table.

    Raises:
        ConfigError: the rows are not a sequence of equally long sequences.
    """
    if isinstance(side, Execution):
        names = tuple(columns) if columns is not None else side.columns
        # A result without rows and without column names has an unknown width.
        return _checked(ResultTable(side.rows, names or None, side.truncated, side.order), name)
    try:
        if isinstance(side, (str, bytes)) or any(isinstance(row, (str, bytes)) for row in side):
            raise TypeError
        rows = tuple(tuple(row) for row in side)
    except TypeError:
        raise ConfigError(
            f"`compare({name}=...)` should be an Execution or rows (a sequence of sequences), "
            f"but got {side!r:.80}. Write one row as [(1, 'x')]."
        ) from None
    return _checked(ResultTable(rows, None if columns is None else tuple(columns)), name)


def undecodable(sides: Sides) -> str:
    """Return which side has text with bytes that are not UTF-8: `gold`, `predicted`, or empty for neither.

    Executors return such bytes as lone surrogates. Marshalling both sides finds out quickly that there are none.
    """
    tables = {"gold": sides.gold.rows, "predicted": sides.predicted.rows}
    try:
        written = marshal.dumps(tuple(tables.values()), 2)
    except ValueError:
        # `marshal` does not know all types of cells that a caller may pass, such as decimals.
        pass
    else:
        if _SURROGATES[0] not in written and _SURROGATES[1] not in written:
            return ""
    for name, rows in tables.items():
        cells = (cell for row in rows for cell in row if isinstance(cell, str) and not cell.isascii())
        if any(map(_BYTES.search, cells)):
            return name
    return ""


def decoded(table: ResultTable) -> ResultTable:
    """Return a table without the bytes that are not UTF-8."""
    rows = tuple(
        tuple(_BYTES.sub("", cell) if isinstance(cell, str) else cell for cell in row) for row in table.rows
    )
    return table._replace(rows=rows)


def _checked(table: ResultTable, name: str) -> ResultTable:
    widths = set(map(len, table.rows))
    if table.columns is not None:
        widths.add(len(table.columns))
    if len(widths) > 1:
        raise ConfigError(
            f"`compare({name}=...)` should have rows and column names of one width, but got widths "
            f"{sorted(widths)}. Pass every row with all its columns."
        )
    try:
        hash(table.rows)
    except TypeError:
        # Some engines return lists and structures as cells; rules need cells that can be hashed.
        rows = tuple(tuple(_frozen(cell) for cell in row) for row in table.rows)
        return table._replace(rows=rows)
    return table


def _frozen(cell: Any) -> Any:
    if isinstance(cell, (list, tuple)):
        return tuple(_frozen(item) for item in cell)
    if isinstance(cell, dict):
        return frozenset((key, _frozen(value)) for key, value in cell.items())
    try:
        hash(cell)
    except TypeError:
        return type(cell).__name__, repr(cell)
    return cell


def swapped(rows: Iterable[Row], columns: Sequence[int]) -> bool:
    """Return whether two gold columns of similar values are matched to predicted columns in the opposite order.

    The rows are then equal up to a column order, but a reader would take, say, the winner for the loser.

    Args:
        rows: rows of the gold.
        columns: for each gold column, the predicted column it was matched to.
    """
    # Not strict: on two databases a `*` may give rows of different widths.
    values = list(zip(*rows, strict=False))
    shown = list(enumerate(columns))[: len(values)]
    return any(
        place > other_place and _alike(values[index], values[other])
        for index, place in shown
        for other, other_place in shown[index + 1 :]
    )


def _alike(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two different columns share at least half of their values."""
    if one == other:
        # The same column twice cannot be swapped.
        return False
    ours, theirs = set(one) - {None}, set(other) - {None}
    return 2 * len(ours & theirs) >= len(ours | theirs) > 0


def counted(number: int, word: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "row"), counted(2, "row")
        ('1 row', '2 rows')
    """
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def matched(reason: str, rule: str, columns: tuple[int, ...] | None = None) -> Comparison:
    """Return the comparison of two results that match."""
    return Comparison(True, 1.0, reason, rule, columns=columns)


def differing(
    sides: Sides,
    reason: str,
    rule: str,
    gold_keys: Sequence[Any] | None = None,
    predicted_keys: Sequence[Any] | None = None,
) -> Comparison:
    """Return the comparison of two results that differ, with the first few rows that only one side has.

    Args:
        sides: both sides.
        reason: one line for a person.
        rule: what decided.
        gold_keys: a key for each gold row; rows with equal keys count as equal. By default the rows themselves.
        predicted_keys: a key for each predicted row.
    """
    gold, predicted = sides.gold.rows, sides.predicted.rows
    gold_keys, predicted_keys = gold_keys or gold, predicted_keys or predicted
    return Comparison(
        False, 0.0, reason, rule,
        _missing(gold, gold_keys, predicted_keys), _missing(predicted, predicted_keys, gold_keys),
    )  # fmt: skip


def _missing(rows: Sequence[Row], keys: Sequence[Any], others: Sequence[Any]) -> tuple[Row, ...]:
    available = Counter(others)
    missing: list[Row] = []
    for row, key in zip(rows, keys, strict=True):
        if available[key]:
            available[key] -= 1
        else:
            missing.append(row)
            if len(missing) == SHOWN_ROWS:
                break
    return tuple(missing)
