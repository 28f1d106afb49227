"""Trying an instance: it becomes a database in memory, on which the gold and its near misses run.

This runs in a worker, so it uses the standard library only. The limit of a statement is counted in steps of SQLite and
not in seconds, so that the outcome does not depend on what else the machine does.
"""

from __future__ import annotations

import sqlite3
import sys
from itertools import permutations
from zlib import crc32

from finer_rewards._sqlite_catalog import quote
from finer_rewards.engines.sqlite.serialising import serialised
from finer_rewards.engines.sqlite.worker import leave_out_undecodable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from finer_rewards._neighbours.instances import Instance
    from finer_rewards._neighbours.source_database import SourceDatabase
    from finer_rewards.types import Cell, Row

# Steps of SQLite between two calls of the progress handler, and the most that one statement may take.
_STEPS = 1_000
_MOST_STEPS = 2_000_000
# The most rows of a result, and bytes of a database.
_MOST_ROWS = 2_000
_MOST_BYTES = 4 << 20
# Up to this many columns, every order of the columns is tried when results are compared.
_MOST_PERMUTED = 5
# Which limit of SQLite's `setlimit` this is: the number of attached databases (SQLITE_LIMIT_ATTACHED).
_LIMIT_ATTACHED = 7


class InstanceRequest:
    """The statements that an instance is tried with.

    Args:
        gold: the gold.
        ordered: whether the order of its rows counts.
        ties: for each part of the gold with a LIMIT: the statement; the same with its sort keys shown and one row more;
            the LIMIT; the column of each sort key, `None` for one that only the second statement shows, at its end; and
            whether its rows are those that an OFFSET skips. If a LIMIT cuts through a tie, the gold has several right
            results. If skipped rows tie, "the third" may be counted by rows or by distinct values.
        extremes: (statement, number of group columns, whether the greatest counts), if the gold reads columns from the
            row of a group's extreme value; see `Unfolded`.
        promises: statements that answer the question as rightly as the gold, since they return its result on the real
            database; see `promises_of`.
        mutants: near misses, which the instance should expose.
    """

    def __init__(
        self,
        gold: str,
        ordered: bool,
        ties: Sequence[tuple[str, str, int, Sequence[int | None], bool]],
        extremes: tuple[str, int, bool] | None,
        promises: Sequence[str],
        mutants: Sequence[str],
    ) -> None:
        self.gold = gold
        self.ordered = ordered
        self.ties = ties
        self.extremes = extremes
        self.promises = promises
        self.mutants = mutants


class TriedInstance:
    """An instance that the gold can be judged on.

    Args:
        content: the bytes of the database file.
        rows: how many rows it has.
        exposed: the numbers of the mutants that return other rows.
        weakly_exposed: the numbers of the mutants that differ only in how often a row occurs, or in the order of rows.
        answer: digest of the gold's rows, and how many there are.
    """

    def __init__(
        self,
        content: bytes,
        rows: int,
        exposed: frozenset[int],
        weakly_exposed: frozenset[int],
        answer: tuple[str, int],
    ) -> None:
        self.content = content
        self.rows = rows
        self.exposed = exposed
        self.weakly_exposed = weakly_exposed
        self.answer = answer


class EmptyDatabase:
    """A database with the tables of a source and no rows, which every instance starts from."""

    def __init__(self, source: SourceDatabase) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
        budget = _StepBudget(self.raw)
        self.raw.execute("PRAGMA page_size=1024")
        # A statement may fail: what it refers to may come later, or need an extension that this SQLite does not have.
        for statement in source.script:
            _attempt(self.raw, budget, statement)

    def close(self) -> None:
        """Close the database."""
        self.raw.close()


def try_instance(
    template: EmptyDatabase, source: SourceDatabase, instance: Instance, wanted: InstanceRequest
) -> TriedInstance | None:
    """Return the outcome of an instance; `None` when the gold cannot be judged on it.

    It cannot be judged if it fails there, returns no row or nothing but NULL, if a LIMIT of it cuts through a tie, if
    its result changes when rows are read backwards, or if something that the real database promises does not hold.
    `None` too if the instance exposes no mutant, or is too large.
    """
    raw = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
    try:
        template.raw.backup(raw)
        budget = _StepBudget(raw)
        count = _write(raw, source, instance, budget)
        return _judge(raw, count, wanted, budget)
    finally:
        raw.close()


class _StepBudget:
    """Interrupts a statement that takes more than `_MOST_STEPS` steps."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self.left = 0
        raw.text_factory = leave_out_undecodable
        if sys.version_info >= (3, 11):
            raw.setlimit(_LIMIT_ATTACHED, 0)
        raw.set_progress_handler(self._step, _STEPS)

    def renew(self) -> None:
        self.left = _MOST_STEPS // _STEPS

    def _step(self) -> int:
        self.left -= 1
        return self.left < 0


def _write(raw: sqlite3.Connection, source: SourceDatabase, instance: Instance, budget: _StepBudget) -> int:
    """Insert the rows, and return their number. Rows that the schema forbids (by a CHECK, say) are left out."""
    raw.execute("BEGIN")
    count = 0
    for name, rows in instance.tables.items():
        if not rows:
            continue
        table = source.tables[name]
        budget.renew()
        try:
            count += raw.executemany(table.insert, rows).rowcount
        except (sqlite3.Error, OverflowError, UnicodeError):
            _attempt(raw, budget, f"DELETE FROM {quote(table.name)}")
            count += sum(_attempt(raw, budget, table.insert, row) for row in rows)
    raw.execute("COMMIT")
    return count


def _attempt(raw: sqlite3.Connection, budget: _StepBudget, statement: str, values: Row = ()) -> int:
    """Run a statement that may fail, and return how many rows it inserted or deleted."""
    budget.renew()
    try:
        return max(0, raw.execute(statement, values).rowcount)
    except (sqlite3.Error, OverflowError, UnicodeError, sqlite3.Warning):
        return 0


def _judge(
    raw: sqlite3.Connection, count: int, wanted: InstanceRequest, budget: _StepBudget
) -> TriedInstance | None:
    raw.execute("PRAGMA query_only=1")

    def run(sql: str) -> list[Row] | None:
        budget.renew()
        try:
            cursor = raw.execute(sql)
            rows = cursor.fetchmany(_MOST_ROWS + 1)
            cursor.close()
        except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError, MemoryError, ValueError):
            return None
        return None if len(rows) > _MOST_ROWS else rows

    gold = run(wanted.gold)
    if not gold or all(cell is None for row in gold for cell in row):
        return None
    raw.execute("PRAGMA reverse_unordered_selects=1")
    backwards = run(wanted.gold)
    raw.execute("PRAGMA reverse_unordered_selects=0")
    if backwards is None or differs(gold, backwards):
        return None
    # If rows tie in the order, it is not known which order is right, so none is required.
    ordered = wanted.ordered and gold == backwards
    for sql, longer, limit, keys, skipped in wanted.ties:
        shown, more = run(sql), run(longer)
        if shown is not None and more is not None and _ties(shown, more, limit, keys, skipped):
            return None
    if wanted.extremes is not None:
        sql, groups, greatest = wanted.extremes
        rows = run(sql)
        if rows is not None and extreme_ties(rows, groups, greatest):
            return None
    for sql in wanted.promises:
        rows = run(sql)
        if rows is None or differs(gold, rows):
            return None
    exposed, weakly_exposed = set(), set()
    for number, sql in enumerate(wanted.mutants):
        rows = run(sql)
        if rows is not None:
            kind = differs(gold, rows) or ("order" if ordered and _other_order(gold, rows) else "")
            if kind == "rows":
                exposed.add(number)
            elif kind:
                weakly_exposed.add(number)
    if not exposed and not weakly_exposed:
        return None
    raw.execute("PRAGMA query_only=0")
    content = serialised(raw)
    if len(content) > _MOST_BYTES:
        return None
    return TriedInstance(
        content, count, frozenset(exposed), frozenset(weakly_exposed), (_digest(gold), len(gold))
    )


def _digest(rows: Iterable[Row]) -> str:
    return f"{crc32(repr(sorted(map(repr, rows))).encode(errors='replace')):08x}"


def _ties(
    rows: Sequence[Row], longer: Sequence[Row], limit: int, keys: Sequence[int | None], anywhere: bool
) -> bool:
    """Whether a LIMIT cuts through a tie: its last row has the sort keys of the first row beyond.

    With `anywhere`, whether any row has the keys of the next one. Also true if a key is NULL, because no question asks
    whether an unknown value is the least.
    """
    count = len(rows)
    if count != limit or not count or len(longer) <= count:
        return False
    width = len(rows[0])

    def key(row: Row) -> Row:
        return (*row[width:], *[row[column] for column in keys if column is not None])

    return any(None in key(row) for row in longer[:count]) or any(
        key(longer[place]) == key(longer[place + 1]) for place in range(0 if anywhere else count - 1, count)
    )


def extreme_ties(rows: Sequence[Row], groups: int, greatest: bool) -> bool:
    """Whether several rows have a group's extreme value and differ in the columns that the query reads."""
    best: dict[Row, tuple[tuple[int, Any], set[Row]]] = {}
    for row in rows:
        group, taken, value = row[:groups], row[groups:-1], row[-1]
        if value is None:
            continue
        # SQLite's order of types: numbers, texts, blobs.
        rank = (2 if isinstance(value, bytes) else 1 if isinstance(value, str) else 0, value)
        held = best.get(group)
        if held is not None and held[0] == rank:
            held[1].add(taken)
        elif held is None or (rank > held[0]) == greatest:
            best[group] = (rank, {taken})
    return any(len(taken) > 1 for _, taken in best.values())


def differs(gold: Sequence[Row], rows: Sequence[Row]) -> str:
    """Return how two results differ: `rows`; `repeats`, only in how often rows occur; or empty, not at all.

    Neither the order of rows nor that of columns counts, as some modes allow any. So results that differ here differ in
    every mode of this library's own (modes that reproduce other evaluators may be looser).
    """
    if gold == rows:
        return ""
    if bool(gold) != bool(rows):
        return "rows"
    if not gold:
        return ""
    if len(gold[0]) != len(rows[0]):
        return "rows"
    ours, theirs = [_rounded(row) for row in gold], [_rounded(row) for row in rows]
    kinds = [_same(ours, theirs)]
    width = len(gold[0])
    if kinds[0] != "same" and 1 < width <= _MOST_PERMUTED:
        columns = [set(column) for column in zip(*ours, strict=True)]
        others = [set(column) for column in zip(*theirs, strict=True)]
        for order in permutations(range(width)):
            if all(columns[place] == others[other] for place, other in enumerate(order)):
                kinds.append(_same(ours, [tuple([row[other] for other in order]) for row in theirs]))
    return "" if "same" in kinds else "repeats" if "set" in kinds else "rows"


def _same(ours: list[Row], theirs: list[Row]) -> str:
    if set(ours) != set(theirs):
        return "no"
    if len(ours) != len(theirs):
        return "set"
    counts: dict[Row, int] = {}
    for row in ours:
        counts[row] = counts.get(row, 0) + 1
    for row in theirs:
        counts[row] = counts.get(row, 0) - 1
    return "set" if any(counts.values()) else "same"


def _other_order(gold: Sequence[Row], rows: Sequence[Row]) -> bool:
    return [_rounded(row) for row in gold] != [_rounded(row) for row in rows]


def _rounded(row: Row) -> Row:
    for cell in row:
        if isinstance(cell, float):
            return tuple(map(_round, row))
    return row


def _round(cell: Cell) -> Cell:
    """Return a number rounded to 9 digits, because the sum of floats depends on the order of the rows."""
    if not isinstance(cell, float):
        return cell
    return int(cell) if cell.is_integer() and abs(cell) < 1e15 else float(f"{cell:.9g}")
