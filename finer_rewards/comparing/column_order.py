"""The rule `aligned`, behind all modes of this library's own (`answer`, `strict`, `lenient` ...).

Two results match if one reordering of the predicted columns, the same for all rows, makes their rows equal as a bag, or
in order where order counts. Most of the file is the search for that reordering.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from finer_rewards._util.assignment import can_pair_up
from finer_rewards.comparing.cell_codes import CellCodes, close, folded, number_of_text
from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.ordering import ordering_of
from finer_rewards.comparing.result import Comparison, ResultTable, Sides, counted, differing, matched
from finer_rewards.comparing.rules import Equates, rule
from finer_rewards.comparing.statements import asks_for_best, drops_repeats, limits_to_one
from finer_rewards.types import Row

# The search may look at each cell _VISITS times and at _WORK cells on top, then gives up: in the worst case the number
# of column orders is a factorial. A step of the search counts as _STEP cells more, for its fixed cost.
_WORK = 3_000_000
_VISITS = 30
_STEP = 64
# The cells of a row or column as the integers that `CellCodes` gives them.
_Codes = tuple[int, ...]


class _OutOfWorkError(Exception):
    """The search for a column order looked at more cells than it may, and was given up."""


def _equates(mode: Mode, ordered: bool) -> Equates:
    """Say when large results surely match or differ without a look at their cells; see `Equates`."""
    return Equates(
        ordered=ordered,
        counted=mode.repeats == "count",
        different=not (mode.fold_text or mode.numeric_text),
        width=not mode.extra_columns,
    )


@rule(
    equates=_equates,
    reads={
        "row_order", "relative_tolerance", "absolute_tolerance", "extra_columns", "permute_columns",
        "numeric_text", "fold_text", "accept_truncated", "accept_empty", "repeats", "one_of_best",
    }
)  # fmt: skip
def aligned(sides: Sides, mode: Mode) -> Comparison:
    """Compare row by row under one injective mapping of gold columns to predicted columns.

    They match if the widths are equal (or the prediction has more columns and the mode allows it) and some mapping
    makes the rows equal as bags. Where the order of rows counts, only gold rows with equal sort keys may change places:
    each run of tied rows is compared as a bag of its own.
    """
    gold, predicted = sides.gold, sides.predicted
    if not mode.accept_truncated and (gold.truncated or predicted.truncated):
        which = "gold" if gold.truncated else "predicted"
        return Comparison(False, 0.0, f"the {which} result was cut by the row limit", "truncated")
    width = _width_problem(gold.width, predicted.width, mode)
    if width:
        return differing(sides, width, "width")
    if not gold.rows and not predicted.rows:
        if not mode.accept_empty:
            return Comparison(False, 0.0, "both results are empty, which proves nothing", "empty")
        return matched("both results are empty", "empty")
    if gold.rows == predicted.rows:
        order = ", in the same order" if len(gold.rows) > 1 else ""
        return matched(f"{counted(len(gold.rows), 'row')} = gold{order}", "identical")
    if len(predicted.rows) == 1 < len(gold.rows) <= mode.one_of_best:
        columns = _one_of_best(sides, mode)
        if columns is not None:
            return matched(f"one of {len(gold.rows)} rows that share the best value", "best", columns)
    row = "row"
    if _ignores_repeats(sides, mode):
        sides, row = _without_repeats(sides, mode), "different row"
        gold, predicted = sides.gold, sides.predicted
    if len(gold.rows) != len(predicted.rows):
        rows = counted(len(predicted.rows), row)
        return differing(sides, f"{rows}, but gold has {len(gold.rows):,}", "row_count")
    blocks, order_known = _blocks(sides, mode)
    if blocks is None and Counter(gold.rows) == Counter(predicted.rows):
        return matched(f"{counted(len(gold.rows), 'row')} = gold", "rows", tuple(range(gold.width or 0)))
    search = _Search.over(gold, predicted, mode)
    try:
        columns = search.mapping(blocks)
    except _OutOfWorkError:
        return Comparison(False, 0.0, "too many ways to match the columns: given up, so no match", "budget")
    if columns is not None:
        note = "" if columns == tuple(range(len(columns))) else ", columns reordered"
        return matched(f"{counted(len(gold.rows), 'row')} = gold{note}", "rows", columns)
    return _explain(sides, search, blocks, order_known)


def _one_of_best(sides: Sides, mode: Mode) -> tuple[int, ...] | None:
    """Return the column mapping under which the only predicted row is one of gold's rows, or `None`.

    For questions such as "who is the oldest?": gold asks for `age = (SELECT MAX(age) ...)` and returns several people,
    the prediction sorts by age and takes one with LIMIT 1. `None` unless the statements are of this form.
    """
    if not (sides.gold_sql and sides.predicted_sql):
        return None
    if not (asks_for_best(sides.gold_sql) and limits_to_one(sides.predicted_sql)):
        return None
    for row in sides.gold.rows:
        try:
            columns = _Search.over(ResultTable((row,)), sides.predicted, mode).mapping(None)
        except _OutOfWorkError:
            return None
        if columns is not None:
            return columns
    return None


def _ignores_repeats(sides: Sides, mode: Mode) -> bool:
    """Whether repeated rows do not count, under this mode and for these statements."""
    if mode.repeats == "distinct":
        return any(sql is not None and drops_repeats(sql) for sql in (sides.gold_sql, sides.predicted_sql))
    return mode.repeats == "ignore"


def _without_repeats(sides: Sides, mode: Mode) -> Sides:
    """Return both sides with only the first of equal rows, each with its sort key."""
    gold, predicted = sides.gold, sides.predicted
    counts = len(set(gold.rows)), len(set(predicted.rows))
    if counts == (len(gold.rows), len(predicted.rows)) and counts[0] == counts[1]:
        return sides
    keys: tuple[Iterable[Any], Iterable[Any]] = gold.rows, predicted.rows
    if counts[0] != counts[1] and gold.width == predicted.width and _inexact(gold.rows, predicted.rows):
        # The counts differ, perhaps because rows are equal only within the tolerance: compare them by their codes.
        search = _Search.over(gold, predicted, mode)
        if not search.cells.loose:
            keys = zip(*search.gold_columns, strict=True), zip(*search.predicted_columns, strict=True)
    return sides._replace(gold=gold.first_of_each(keys[0]), predicted=predicted.first_of_each(keys[1]))


def _inexact(*sides: Sequence[Row]) -> bool:
    """Whether some cell is neither an integer nor text, bytes or NULL, so that a tolerance can matter."""
    exact = (int, str, bytes, type(None))
    return not all(isinstance(cell, exact) for rows in sides for row in rows for cell in row)


_EXACT = Mode("exact", permute_columns=True)


def exact_mapping(gold: ResultTable, predicted: ResultTable, ordered: bool) -> tuple[int, ...] | None:
    """Return the reordering of columns that makes two results equal under Python's `==`, or `None`.

    Also `None` when the search takes too long and is given up.
    """
    search = _Search.over(gold, predicted, _EXACT)
    try:
        return search.mapping(list(range(len(gold.rows))) if ordered else None)
    except _OutOfWorkError:
        return None


def _width_problem(gold: int | None, predicted: int | None, mode: Mode) -> str:
    """Return why the numbers of columns rule out a match; empty if they do not."""
    if gold is None or predicted is None or gold == predicted:
        return ""
    if mode.extra_columns and predicted > gold:
        return ""
    return f"{counted(predicted, 'column')}, but gold has {gold:,}"


def _blocks(sides: Sides, mode: Mode) -> tuple[list[int] | None, bool]:
    """Return for each row the number of its run of tied gold rows, `None` when the order of rows does not count.

    The second value says whether the sort keys are known. If they are not, every row is a run of its own.
    """
    gold = sides.gold
    ordering = ordering_of(sides.gold_sql)
    ordered = mode.counts_order(sides.gold_sql)
    if mode.row_order == "query" and sides.gold_sql is None:
        ordered = gold.order is not None
    if not ordered:
        return None, True
    keys: Sequence[Row] | None = gold.order
    if keys is None or len(keys) != len(gold.rows):
        positions = ordering.positions(gold.columns)
        width = gold.width or 0
        known = positions is not None and all(position < width for position in positions)
        keys = [tuple(row[i] for i in positions) for row in gold.rows] if positions and known else None
    if keys is None:
        return list(range(len(gold.rows))), False
    blocks = [0]
    for before, here in itertools.pairwise(keys):
        blocks.append(blocks[-1] + (before != here))
    return blocks, True


def _explain(sides: Sides, search: _Search, blocks: list[int] | None, order_known: bool) -> Comparison:
    """Return the mismatch with a reason: the wrong order, a column that is missing, or rows that differ."""
    gold, predicted = sides.gold, sides.predicted
    if blocks is not None:
        try:
            unordered = search.mapping(None)
        except _OutOfWorkError:
            unordered = None
        if unordered is not None:
            pairs = enumerate(search.row_codes(unordered))
            first = next((i for i, (a, b) in pairs if a != b), 0)
            keys = "" if order_known else "; the sort keys are not in the result, so the exact order counts"
            return Comparison(
                False, 0.0, f"the same rows, but not in gold's order: row {first + 1} differs first{keys}", "order",
                gold.rows[first : first + 1], predicted.rows[first : first + 1], unordered,
            )  # fmt: skip
    lost = search.unmatched_column()
    name = f" ({gold.columns[lost]})" if lost is not None and gold.columns else ""
    reason, rule = "the columns hold the same values, but not in the same rows", "rows"
    if lost is not None:
        reason, rule = f"no predicted column holds the values of gold column {lost + 1}{name}", "columns"
    codes = list(search.row_codes(range(len(search.predicted_columns))))
    return differing(sides, reason, rule, [a for a, _ in codes], [b for _, b in codes])


@dataclass
class _Search:
    """The search for a column mapping.

    It works on integers that stand for cells: equal cells have the same integer. `work` counts down the cells that may
    still be looked at. `pairs` remembers which columns with loose numbers can be paired (see `cells.py`).
    """

    gold: Sequence[Row]
    predicted: Sequence[Row]
    mode: Mode
    cells: CellCodes
    gold_columns: list[_Codes]
    predicted_columns: list[_Codes]
    work: int = 0
    pairs: dict[tuple[int, int], bool] = field(default_factory=dict)

    @classmethod
    def over(cls, gold: ResultTable, predicted: ResultTable, mode: Mode) -> _Search:
        """Begin a search over two results."""
        rows = _normalised(gold.rows, mode), _normalised(predicted.rows, mode)
        gold_columns, predicted_columns = (list(zip(*side, strict=True)) for side in rows)
        both = (*gold_columns, *predicted_columns)
        cells = CellCodes.of(both, mode.relative_tolerance, mode.absolute_tolerance)
        gold_codes = list(map(cells.column, gold_columns))
        return cls(*rows, mode, cells, gold_codes, list(map(cells.column, predicted_columns)))

    def mapping(self, blocks: list[int] | None) -> tuple[int, ...] | None:
        """Return for each gold column its predicted column, or `None` when there is no such mapping.

        Raises:
            _OutOfWorkError: the search looked at more cells than it may.
        """
        count = len(self.gold)
        self.work = _WORK + _VISITS * count * len(self.predicted_columns)
        colours = [0] * count if blocks is None else blocks
        in_place = tuple(range(len(self.gold_columns)))
        if self._verified(in_place, colours):
            return in_place
        if not self.mode.permute_columns:
            return None
        found = (m for m in self._mappings({}, colours, colours) if self._verified(m, colours))
        return next(found, None)

    def unmatched_column(self) -> int | None:
        """Return the first gold column whose values, as a bag, are in no predicted column."""
        bags = [Counter(column) for column in self.predicted_columns]
        for index, column in enumerate(self.gold_columns):
            if Counter(column) not in bags:
                return index
        return None

    def row_codes(self, columns: Iterable[int]) -> Iterator[tuple[_Codes, _Codes]]:
        """Return pairs of a gold row and the predicted row in its place, as codes, with these predicted columns."""
        predicted = (self.predicted_columns[index] for index in columns)
        return zip(zip(*self.gold_columns, strict=True), zip(*predicted, strict=True), strict=True)

    def _spend(self, cells: int) -> None:
        self.work -= cells + _STEP
        if self.work < 0:
            raise _OutOfWorkError

    def _mappings(
        self, chosen: dict[int, int], gold_colours: list[int], predicted_colours: list[int]
    ) -> Iterator[tuple[int, ...]]:
        """Yield mappings that extend `chosen`, under which both sides have equally many rows of each colour.

        A row's colour is an integer that stands for its run of ties and its cells in the columns chosen so far. A gold
        column can only map to a predicted column with the same bag of (colour, cell). All columns with a single option
        are chosen at once; then the column with the fewest options is tried next (depth-first search).
        """
        while True:
            if len(chosen) == len(self.gold_columns):
                yield tuple(chosen[index] for index in range(len(chosen)))
                return
            options = self._options(chosen, gold_colours, predicted_colours)
            settled: dict[int, int] = {}
            taken = set(chosen.values())
            for index, groups in options.items():
                if len(groups) > 1:
                    continue
                choice = next((i for group in groups for i in group if i not in taken), None)
                if choice is None:
                    return
                settled[index] = choice
                taken.add(choice)
            if not settled:
                break
            chosen = {**chosen, **settled}
            recoloured = self._recoloured(settled, gold_colours, predicted_colours)
            if recoloured is None:
                return
            gold_colours, predicted_colours = recoloured
        index = min(options, key=lambda i: (len(options[i]), i))
        for group in options[index]:
            choice = index if index in group else group[0]
            recoloured = self._recoloured({index: choice}, gold_colours, predicted_colours)
            if recoloured is not None:
                yield from self._mappings({**chosen, index: choice}, *recoloured)

    def _options(
        self, chosen: dict[int, int], gold_colours: list[int], predicted_colours: list[int]
    ) -> dict[int, list[list[int]]]:
        """Return for each gold column not yet chosen the predicted columns it can map to, equal ones in one group."""
        taken = set(chosen.values())
        groups: dict[Any, list[int]] = defaultdict(list)
        for index, column in enumerate(self.predicted_columns):
            if index not in taken:
                # If some codes are loose, equal codes may hide different numbers, so no two columns count as equal.
                groups[index if self.cells.loose else column].append(index)
        by_bag: dict[int, list[list[int]]] = defaultdict(list)
        for group in groups.values():
            by_bag[self._bag(predicted_colours, self.predicted_columns[group[0]])].append(group)
        options = {
            index: by_bag.get(self._bag(gold_colours, column), [])
            for index, column in enumerate(self.gold_columns)
            if index not in chosen
        }
        if not self.cells.loose:
            return options
        return {
            index: [group for group in groups if self._columns_close(index, group[0])]
            for index, groups in options.items()
        }

    def _columns_close(self, gold: int, predicted: int) -> bool:
        """Whether the loose numbers of two columns may be paired so that the two numbers of each pair are close."""
        if (gold, predicted) not in self.pairs:
            ours = self._loose_numbers(self.gold, self.gold_columns, gold)
            theirs = self._loose_numbers(self.predicted, self.predicted_columns, predicted)
            self._spend(len(ours) + len(theirs))
            # For a single column of one type, pairing the sorted numbers in order is the best pairing there is.
            self.pairs[gold, predicted] = len(ours) == len(theirs) and (
                _mixes_types([ours], [theirs]) or self._close_rows(ours, theirs)
            )
        return self.pairs[gold, predicted]

    def _loose_numbers(self, rows: Sequence[Row], columns: Sequence[_Codes], index: int) -> Row:
        coded = zip(rows, columns[index], strict=True)
        return tuple(sorted(row[index] for row, code in coded if code in self.cells.loose))  # type: ignore[type-var]

    def _bag(self, colours: list[int], column: _Codes) -> int:
        # The sum of the hashes stands for the bag of (colour, cell), as it does not depend on the order. If different
        # bags happen to have equal sums, `_verified` finds out.
        self._spend(len(column))
        return sum(map(hash, zip(colours, column, strict=True)))

    def _recoloured(
        self, mapping: dict[int, int], gold_colours: list[int], predicted_colours: list[int]
    ) -> tuple[list[int], list[int]] | None:
        """Return the colours of all rows after more columns are chosen; `None` if the two sides' bags now differ."""
        self._spend(2 * len(gold_colours) * (len(mapping) + 1))
        colours: dict[Any, int] = defaultdict(lambda: len(colours))
        gold = zip(gold_colours, *(self.gold_columns[index] for index in mapping), strict=True)
        predicted = zip(
            predicted_colours, *(self.predicted_columns[index] for index in mapping.values()), strict=True
        )
        new_gold, new_predicted = [colours[key] for key in gold], [colours[key] for key in predicted]
        if Counter(new_gold) != Counter(new_predicted):
            return None
        return new_gold, new_predicted

    def _verified(self, mapping: tuple[int, ...], blocks: list[int]) -> bool:
        """Whether this mapping makes the rows equal as bags within each run of ties."""
        width = len(mapping)
        self._spend(2 * len(blocks) * (width + 1))
        columns = [self.predicted_columns[index] for index in mapping]
        gold = list(zip(blocks, *self.gold_columns, strict=True))
        predicted = list(zip(blocks, *columns, strict=True))
        if gold != predicted and Counter(gold) != Counter(predicted):
            return False
        if not self.cells.loose:
            return True
        return self._loose_rows_pair_up(mapping, gold, predicted)

    def _loose_rows_pair_up(
        self, mapping: tuple[int, ...], gold: Sequence[_Codes], predicted: Sequence[_Codes]
    ) -> bool:
        """Whether rows with equal codes can be paired so that their loose numbers are within the tolerance too."""
        groups: dict[_Codes, tuple[list[Row], list[Row]]] = defaultdict(lambda: ([], []))
        for key, row in zip(gold, self.gold, strict=True):
            if not self.cells.loose.isdisjoint(key[1:]):
                groups[key][0].append(row)
        for key, row in zip(predicted, self.predicted, strict=True):
            if key in groups:
                groups[key][1].append(tuple(row[index] for index in mapping))
        for key, (gold_rows, predicted_rows) in groups.items():
            loose = [index for index, code in enumerate(key[1:]) if code in self.cells.loose]
            if not self._pair_up(
                [tuple(row[index] for index in loose) for row in gold_rows],
                [tuple(row[index] for index in loose) for row in predicted_rows],
            ):
                return False
        return True

    def _pair_up(self, gold: list[Row], predicted: list[Row]) -> bool:
        """Whether rows of loose numbers can be paired so that each two are close; a matching problem if need be."""
        gold, predicted = sorted(gold), sorted(predicted)
        if all(map(self._close_rows, gold, predicted)):
            return True
        # For a single column of one type no other pairing can be better than the sorted one.
        if len(gold[0]) == 1 and not _mixes_types(gold, predicted):
            return False
        firsts = [row[0] for row in predicted]
        return can_pair_up([self._partners(row, predicted, firsts) for row in gold], self._spend)

    def _close_rows(self, gold: Row, predicted: Row) -> bool:
        relative, absolute = self.mode.relative_tolerance, self.mode.absolute_tolerance
        return all(close(a, b, relative, absolute) for a, b in zip(gold, predicted, strict=True))

    def _partners(self, row: Row, predicted: list[Row], firsts: list[Any]) -> list[int]:
        """Return the positions of the predicted rows close to a gold row; `predicted` is sorted."""
        reach = 2 * (self.mode.absolute_tolerance + self.mode.relative_tolerance * abs(row[0]))  # type: ignore[arg-type]
        low, high = bisect_left(firsts, row[0] - reach), bisect_right(firsts, row[0] + reach)  # type: ignore[operator]
        self._spend((high - low) * len(row) + 1)
        return [index for index in range(low, high) if self._close_rows(row, predicted[index])]


def _mixes_types(gold: list[Row], predicted: list[Row]) -> bool:
    return len({type(cell) for row in (*gold, *predicted) for cell in row}) > 1


def _normalised(rows: Sequence[Row], mode: Mode) -> Sequence[Row]:
    """Return the rows with text folded or read as numbers, if the mode says so."""
    if not (mode.numeric_text or mode.fold_text):
        return rows
    return [tuple([_plain(cell, mode) if isinstance(cell, str) else cell for cell in row]) for row in rows]


def _plain(cell: str, mode: Mode) -> Any:
    number = number_of_text(cell) if mode.numeric_text else None
    if number is not None:
        return number
    return folded(cell) if mode.fold_text else cell
