"""A database as neighbours are made from it: its script, a sample of its rows, its keys and references."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from finer_rewards._sqlite_catalog import quote
from finer_rewards.engines.sqlite.files import SQLiteFile
from finer_rewards.engines.sqlite.worker import leave_out_undecodable
from finer_rewards.neighbours.gold_facts import Condition, Join
from finer_rewards.neighbours.reversing import read_only_uri
from finer_rewards.schema import Column, ForeignKey, Schema, Table
from finer_rewards.types import Cell, Row

__all__ = ["Individual", "Reference", "Source", "SourceTable", "read_source"]

_MOST_ROWS = 2000  # of a table; of a larger one, a sample
_LITERAL_ROWS = 5
_READING_SECONDS = 20.0
_INCLUDED = 0.9
_TELLING_ROWS = 5
_NAMES = ("name", "title")


@dataclass(frozen=True)
class Reference:
    """Columns (by position) whose values are those of another table's columns."""

    columns: tuple[int, ...]
    to_table: str
    to_columns: tuple[int, ...]


@dataclass(frozen=True)
class Individual:
    """A row that a gold names by its key, and the texts that only this row has, by column.

    Who names it by one of them is right as far as the data tells. Columns that the gold itself mentions are left
    out: what it asks for may not be known beforehand.
    """

    key: int
    value: Cell
    texts: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class SourceTable:
    """One table.

    Args:
        name: as declared.
        columns: names of the columns that can be inserted into.
        types: their declared types, upper case.
        rows: all rows, or a sample of them.
        keys: sets of columns that identify a row: declared ones, and those that do so in the data (an id, and
            a name that never repeats: to group by name instead of by id is no mistake worth telling; and what
            links two tables without ever linking the same rows twice).
        nullable: columns in which the data has NULL (or that may have it, in an empty table).
        references: to other tables; declared ones, and those that golds join by and the data obeys.
        complete: true when `rows` are all rows.
        individuals: rows that some gold names by their primary key, and what else names them.
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[Row, ...] = field(repr=False)
    keys: tuple[tuple[int, ...], ...] = ()
    nullable: frozenset[int] = frozenset()
    references: tuple[Reference, ...] = ()
    complete: bool = True
    individuals: tuple[Individual, ...] = ()

    def values(self, column: int) -> list[Cell]:
        """The distinct values of a column, NULL left out, in the order they occur in."""
        return list(dict.fromkeys(row[column] for row in self.rows if row[column] is not None))


@dataclass(frozen=True)
class Source:
    """A database.

    Args:
        script: the statements that make its tables, views and indexes, in that order.
        tables: by name, lower case, referred ones first as far as there is no cycle.
        notes: what could not be taken over.
    """

    script: tuple[str, ...]
    tables: Mapping[str, SourceTable]
    notes: tuple[str, ...] = ()

    def obeyed(self) -> Schema:
        """The schema with what the data obeys beyond it, and every neighbour with it: NOT NULL, keys, references."""
        return Schema(tuple(self._obeyed(table) for table in self.tables.values()))

    def _obeyed(self, table: SourceTable) -> Table:
        def titles(owner: SourceTable, places: Sequence[int]) -> tuple[str, ...]:
            return tuple(owner.columns[place] for place in places)

        return Table(
            table.name,
            tuple(
                Column(name, declared, index not in table.nullable)
                for index, (name, declared) in enumerate(zip(table.columns, table.types, strict=True))
            ),
            (),
            tuple(titles(table, key) for key in table.keys),
            tuple(
                ForeignKey(titles(table, one.columns), to.name, titles(to, one.to_columns))
                for one in table.references
                for to in (self.tables[one.to_table],)
                if {tuple(row[place] for place in one.columns) for row in table.rows}
                <= {tuple(row[place] for place in one.to_columns) for row in to.rows}
            ),
        )


def read_source(
    file: SQLiteFile, schema: Schema, conditions: Sequence[Condition], joins: Sequence[Join], seed: int
) -> Source:
    """Return what neighbours of a database are made from.

    At most 2,000 rows of a table are read. Of a larger table these are random ones, those that the golds
    look for, and those that rows read elsewhere refer to.
    """
    connection = sqlite3.connect(read_only_uri(file.path), uri=True)
    connection.text_factory = leave_out_undecodable
    deadline = time.monotonic() + _READING_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
    try:
        script = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            " AND type <> 'trigger' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY type = 'index', type = 'view', rowid"
        ).fetchall()
        tables: dict[str, SourceTable] = {}
        virtual = _virtual(connection)
        notes = [f"table {name} is virtual and left out" for name in virtual]
        for table in schema.tables:
            # A virtual table keeps its content in tables of its own, which begin with its name.
            hidden = any(table.name == name or table.name.startswith(f"{name}_") for name in virtual)
            if not table.view and not hidden:
                try:
                    tables[table.name.lower()] = _read_table(connection, table, conditions, seed)
                except sqlite3.Error as error:
                    notes.append(f"table {table.name} is left empty: {error}")
        _refer(tables, schema, joins)
        for table in schema.tables:
            name = table.name.lower()
            if name in tables and len(table.primary_key) == 1:
                tables[name] = _with_individuals(tables[name], table.primary_key[0], conditions)
        _fetch_referred(connection, tables)
    finally:
        connection.close()
    tables = _ordered(tables)
    for name in tables:
        tables[name] = _as_referred(tables[name], tables)
    return Source(tuple(sql for (sql,) in script), tables, tuple(notes))


def _virtual(connection: sqlite3.Connection) -> list[str]:
    return [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%'"
        )
    ]


def _read_table(
    connection: sqlite3.Connection, table: Table, conditions: Sequence[Condition], seed: int
) -> SourceTable:
    found = connection.execute(f"PRAGMA table_xinfo({quote(table.name)})").fetchall()
    usable = [column for column in found if column[6] == 0]
    names = tuple(column[1] for column in usable)
    if not names:
        raise sqlite3.OperationalError("it has no column that can be written")
    listed = ", ".join(map(quote, names))
    select = f"SELECT {listed} FROM {quote(table.name)}"
    try:
        rows = connection.execute(f"{select} LIMIT {_MOST_ROWS + 1}").fetchall()
    except sqlite3.Error:
        rows = []
    complete = len(rows) <= _MOST_ROWS
    place = {name.lower(): index for index, name in enumerate(names)}
    if not complete:
        rows = _sample(connection, table.name, select, rows, seed)
        for condition in conditions:
            if condition.table == table.name.lower() and condition.column in place:
                for value in condition.meets:
                    rows += _ask(
                        connection,
                        f"{select} WHERE {quote(names[place[condition.column]])} = ? LIMIT {_LITERAL_ROWS}",
                        (value,),
                    )
        rows = list(dict.fromkeys(rows))
    keys = [
        tuple(place[name.lower()] for name in key)
        for key in (table.primary_key, *table.unique)
        if key and all(name.lower() in place for name in key)
    ]
    return SourceTable(
        table.name,
        names,
        tuple((column[2] or "").upper() for column in usable),
        tuple(rows),
        tuple(dict.fromkeys(keys)),
        frozenset(
            index
            for index, column in enumerate(usable)
            if not column[3] and (not rows or any(row[index] is None for row in rows))
        ),
        complete=complete,
    )


def _sample(connection: sqlite3.Connection, name: str, select: str, first: list[Row], seed: int) -> list[Row]:
    """Rows from all over a large table; its first ones where it has no row ids to jump to."""
    try:
        least, most = connection.execute(f"SELECT min(rowid), max(rowid) FROM {quote(name)}").fetchone()
        chosen = random.Random(f"{seed}:{name}").sample(range(least, most + 1), _MOST_ROWS // 2)
        rows: list[Row] = []
        for number in sorted(chosen):
            rows += connection.execute(f"{select} WHERE rowid >= ? LIMIT 1", (number,)).fetchall()
    except (sqlite3.Error, TypeError, ValueError):
        return first[:_MOST_ROWS]
    return rows


def _ask(connection: sqlite3.Connection, sql: str, values: Sequence[Cell]) -> list[Row]:
    try:
        return connection.execute(sql, tuple(values)).fetchall()
    except (sqlite3.Error, OverflowError):
        return []  # out of time: the sample has to do


def _refer(tables: dict[str, SourceTable], schema: Schema, joins: Iterable[Join]) -> None:
    """Add keys and references: declared ones, then those that the golds join by and the data obeys."""
    declared: dict[str, list[Reference]] = defaultdict(list)
    for table in schema.tables:
        own = tables.get(table.name.lower())
        for key in table.foreign_keys:
            to = tables.get(key.to_table.lower())
            if own is None or to is None or len(key.columns) != len(key.to_columns):
                continue
            ours, theirs = _places(own, key.columns), _places(to, key.to_columns)
            if ours and theirs and ours not in [one.columns for one in declared[table.name.lower()]]:
                declared[table.name.lower()].append(Reference(ours, key.to_table.lower(), theirs))
    for join in joins:
        for child, parent in ((join.left, join.right), (join.right, join.left)):
            own, to = tables.get(child[0]), tables.get(parent[0])
            if own is None or to is None or own is to:
                continue
            ours, theirs = _places(own, child[1:]), _places(to, parent[1:])
            known = [place for one in declared[child[0]] for place in one.columns]
            backwards = [one.columns for one in declared[parent[0]] if one.to_table == child[0]]
            if ours and theirs and ours[0] not in known and theirs not in backwards:
                unique = theirs in to.keys or _identifies(to, theirs[0])
                if unique and _included(own, ours[0], to, theirs[0]):
                    declared[child[0]].append(Reference(ours, parent[0], theirs))
                    break
    for name, references in declared.items():
        if name in tables:
            tables[name] = replace(tables[name], references=tuple(references))
    referred = {(one.to_table, one.to_columns) for references in declared.values() for one in references}
    for name, known_table in tables.items():
        keys = [
            *known_table.keys,
            *_observed_keys(known_table, {to for to_table, to in referred if to_table == name}),
        ]
        tables[name] = replace(known_table, keys=tuple(dict.fromkeys(keys)))


def _as_referred(table: SourceTable, tables: Mapping[str, SourceTable]) -> SourceTable:
    """The table with its references written as the values they refer to: SQLite takes '1' in a text for a key 1."""
    rows = [list(row) for row in table.rows]
    for one in table.references:
        for ours, theirs in zip(one.columns, one.to_columns, strict=True):
            known = {row[theirs]: row[theirs] for row in tables[one.to_table].rows}
            for row in rows:
                row[ours] = _spelled(row[ours], known)
    return replace(table, rows=tuple(map(tuple, rows)))


def _spelled(value: Cell, known: Mapping[Cell, Cell]) -> Cell:
    """The known value that SQLite finds equal where a text column meets one of numbers; failing that, itself."""
    if value in known:
        return known[value]
    try:
        return known.get(float(value) if isinstance(value, str) else str(value), value)
    except ValueError:
        return value


def _with_individuals(table: SourceTable, key: str, conditions: Sequence[Condition]) -> SourceTable:
    (place,) = _places(table, (key,)) or (None,)
    if place is None or not table.complete:
        return table
    linked = {other for one in table.references for other in one.columns}
    mentioned: dict[Cell, set[str]] = defaultdict(set)
    for one in conditions:
        if (one.table, one.column) == (table.name.lower(), key.lower()) and one.beside is not None:
            mentioned[one.meets[0]] |= one.beside
    found = []
    for value, columns in mentioned.items():
        for row in [row for row in table.rows if row[place] == value][:1]:
            texts = tuple(
                (other, text)
                for other, text in enumerate(row)
                if isinstance(text, str) and text and other not in linked
                if table.columns[other].lower() not in columns
                if sum(any_row[other] == text for any_row in table.rows) == 1
            )
            found.append(Individual(place, value, texts))
    return replace(table, individuals=tuple(found))


def _observed_keys(table: SourceTable, referred: set[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    """Keys that nobody declared, but that the data obeys."""
    for column, title in enumerate(table.columns):
        is_id = title.lower() == "id" or title.lower().endswith(("_id", "code")) or title.endswith("ID")
        if (
            ((column,) in referred and (not table.rows or _identifies(table, column)))
            or (is_id and not table.keys and _identifies(table, column))
            or _never_repeats(table, column, 2 if referred else _TELLING_ROWS)
        ):
            yield (column,)
    links = tuple(sorted({place for one in table.references for place in one.columns}))
    pairs = {tuple(row[place] for place in links) for row in table.rows}
    if len(links) > 1 and len(table.rows) >= _TELLING_ROWS and len(pairs) == len(table.rows):
        yield links


def _places(table: SourceTable, names: Sequence[str]) -> tuple[int, ...]:
    known = {name.lower(): index for index, name in enumerate(table.columns)}
    found = tuple(known[name.lower()] for name in names if name.lower() in known)
    return found if len(found) == len(names) else ()


def _identifies(table: SourceTable, column: int) -> bool:
    values = [row[column] for row in table.rows]
    return len(values) > 2 and None not in values and len(set(values)) == len(values)


def _never_repeats(table: SourceTable, column: int, least: int) -> bool:
    """Whether a column holds names, no name twice, and rows enough for that to mean something."""
    values = [row[column] for row in table.rows]
    title, own = table.columns[column].lower(), table.name.lower()
    return (
        (any(word in title for word in _NAMES) or title in (own, own.removesuffix("s")))
        and len(values) >= least
        and len(set(values)) == len(values)
        and all(isinstance(value, str) for value in values)
    )


def _included(own: SourceTable, column: int, to: SourceTable, other: int) -> bool:
    theirs = {value: value for value in to.values(other)}
    ours = {_spelled(value, theirs) for value in own.values(column)}
    if not to.complete:
        return True
    return not ours or len(ours & theirs.keys()) >= _INCLUDED * len(ours)


def _fetch_referred(connection: sqlite3.Connection, tables: dict[str, SourceTable]) -> None:
    """Read the rows that sampled rows refer to, and that were not sampled themselves."""
    for _ in range(3):
        missing: dict[str, dict[tuple[Reference, Row], None]] = defaultdict(dict)
        for table in tables.values():
            for one in table.references:
                to = tables[one.to_table]
                if not to.complete:
                    known = {tuple(row[place] for place in one.to_columns) for row in to.rows}
                    wanted = {tuple(row[place] for place in one.columns): None for row in table.rows}
                    for value in wanted:
                        if value not in known and None not in value:
                            missing[one.to_table][one, value] = None
        if not missing:
            return
        for name, wanted_rows in missing.items():
            to = tables[name]
            select = f"SELECT {', '.join(map(quote, to.columns))} FROM {quote(to.name)} WHERE "
            rows = dict.fromkeys(to.rows)
            for one, value in list(wanted_rows)[:_MOST_ROWS]:
                where = " AND ".join(f"{quote(to.columns[place])} = ?" for place in one.to_columns)
                rows.update(dict.fromkeys(_ask(connection, f"{select}{where} LIMIT 1", value)))
            tables[name] = replace(to, rows=tuple(rows))


def _ordered(tables: Mapping[str, SourceTable]) -> dict[str, SourceTable]:
    """Referred tables before those that refer to them; within a cycle, in the order declared."""
    ordered: dict[str, SourceTable] = {}
    left = dict(tables)
    while left:
        ready = [
            name
            for name, table in left.items()
            if all(one.to_table not in left or one.to_table == name for one in table.references)
        ] or [next(iter(left))]
        for name in ready:
            ordered[name] = left.pop(name)
    return ordered
