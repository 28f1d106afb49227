"""`SourceDatabase`, a database as neighbours are made from it: its script, sampled rows, keys and references.

It is read in a worker, so this uses the standard library only.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property

from finer_rewards._neighbours.portable_random import PortableRandom
from finer_rewards._neighbours.promises import (
    always_referred_to,
    determined,
    observed_keys,
    passed_on,
    with_individuals,
    with_singles,
)
from finer_rewards._neighbours.references import as_referred, in_order, refer, refer_as_declared
from finer_rewards._neighbours.source_tables import SourceTable
from finer_rewards._neighbours.table_rows import Rows
from finer_rewards._sqlite_catalog import quote
from finer_rewards.engines.sqlite.worker import Connection, leave_out_undecodable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from finer_rewards._neighbours.conditions import ColumnCondition, EqualColumns
    from finer_rewards._neighbours.source_tables import Reference
    from finer_rewards.types import Cell, Row

# Of a table with more rows, a sample is read.
_MOST_ROWS = 2000
# Rows that are read in addition for each constant of a gold.
_LITERAL_ROWS = 5


@dataclass(frozen=True)
class SourceDatabase:
    """A database that neighbours are made from.

    Args:
        script: the statements that make its tables, views and indexes, in that order.
        tables: name in lower case -> table; a table comes after those it refers to, unless there is a cycle.
        notes: what could not be copied.
    """

    script: tuple[str, ...]
    tables: Mapping[str, SourceTable]
    notes: tuple[str, ...] = ()
    _joined: dict[frozenset[EqualColumns], dict[str, SourceTable]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @cached_property
    def cyclic(self) -> bool:
        """Whether some table refers to itself or to a table that comes later."""
        seen: set[str] = set()
        for name, table in self.tables.items():
            if any(one.to_table not in seen for one in table.references):
                return True
            seen.add(name)
        return False

    @cached_property
    def always_referred_to(self) -> Mapping[str, frozenset[Reference]]:
        """By table the references by which every row of the other table is referred to."""
        return {
            name: frozenset(always_referred_to(table, self.tables)) for name, table in self.tables.items()
        }

    def obeyed(self) -> list[tuple[Any, ...]]:
        """Return what the data, and with it every neighbour, obeys beyond the declared schema: a tuple for each table.

        (name, ((column, type, not null), ...), keys as names, ((columns, other table, its columns), ...))
        """
        return [self._obeyed(table) for table in self.tables.values()]

    def _obeyed(self, table: SourceTable) -> tuple[Any, ...]:
        def titles(owner: SourceTable, places: Sequence[int]) -> tuple[str, ...]:
            return tuple(owner.columns[place] for place in places)

        return (
            table.name,
            tuple(
                (name, declared, index not in table.nullable)
                for index, (name, declared) in enumerate(zip(table.columns, table.types, strict=True))
            ),
            tuple(titles(table, key) for key in table.keys),
            tuple(
                (titles(table, one.columns), to.name, titles(to, one.to_columns))
                for one in table.references
                for to in (self.tables[one.to_table],)
                if table.rows.places(one.columns).keys() <= to.rows.places(one.to_columns).keys()
            ),
        )

    def with_gold(
        self, connection: Connection, conditions: Sequence[ColumnCondition], joins: Sequence[EqualColumns]
    ) -> SourceDatabase:
        """Return the source with what a gold adds: references it joins by, rows it looks for, and its promises."""
        more = dict(self.tables)
        key = frozenset(joins)
        read = _read_sought(connection, more, conditions)
        tables = None if read else self._joined.get(key)
        if tables is None:
            tables = _settled(connection, more) if refer(more, joins) or read else more
            if not read:
                self._joined[key] = tables
        tables = {name: with_singles(table, conditions) for name, table in tables.items()}
        conditions = [*conditions, *passed_on(tables, conditions)]
        named = {
            name: with_individuals(table, table.primary, conditions)
            for name, table in tables.items()
            if table.primary is not None
        }
        return SourceDatabase(self.script, {**tables, **named}, self.notes)


def read_database(connection: Connection) -> SourceDatabase:
    """Return the source of a database, independent of any gold.

    At most 2,000 rows of a table are read. Of a larger table these come from all over it, together with the rows that
    other tables' rows refer to.
    """
    raw = connection.raw
    raw.text_factory = leave_out_undecodable
    try:
        script = raw.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            " AND type <> 'trigger' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY type = 'index', type = 'view', rowid"
        ).fetchall()
        virtual = [
            name
            for (name,) in raw.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL%'"
            )
        ]
        notes = [f"table {name} is virtual and left out" for name in virtual]
        tables: dict[str, SourceTable] = {}
        declared = connection.schema()
        raw.text_factory = leave_out_undecodable
        for name, kind, columns, unique, *_ in declared:
            # A virtual table keeps its content in hidden tables whose names begin with its name.
            hidden = any(name == one or name.startswith(f"{one}_") for one in virtual)
            if kind == "table" and not hidden:
                try:
                    tables[name.lower()] = _read_table(raw, name, columns, unique)
                except sqlite3.Error as error:
                    notes.append(f"table {name} is left empty: {error}")
        refer_as_declared(tables, declared)
        tables = _settled(connection, tables)
    finally:
        raw.text_factory = str
    return SourceDatabase(tuple(sql for (sql,) in script), tables, tuple(notes))


def _settled(connection: Connection, tables: dict[str, SourceTable]) -> dict[str, SourceTable]:
    """Return the tables with undeclared keys and missing referred rows added, sorted by their references."""
    referred = {(one.to_table, one.to_columns) for table in tables.values() for one in table.references}
    for name, table in tables.items():
        keys = observed_keys(table, {to for to_table, to in referred if to_table == name})
        tables[name] = replace(table, keys=tuple(dict.fromkeys((*table.keys, *keys))))
    _fetch_referred(connection, tables)
    tables = in_order(tables)
    for name in tables:
        tables[name] = as_referred(tables[name], tables)
    return {name: replace(table, determined=tuple(determined(table))) for name, table in tables.items()}


def _read_table(
    raw: Any, name: str, columns: Sequence[tuple[Any, ...]], unique: Sequence[Sequence[str]]
) -> SourceTable:
    usable = [column for column in columns if column[6] == 0]
    names = tuple(column[1] for column in usable)
    if not names:
        raise sqlite3.OperationalError("it has no column that can be written")
    select = f"SELECT {', '.join(map(quote, names))} FROM {quote(name)}"
    try:
        rows = raw.execute(f"{select} LIMIT {_MOST_ROWS + 1}").fetchall()
    except sqlite3.Error:
        rows = []
    complete = len(rows) <= _MOST_ROWS
    if not complete:
        rows = list(dict.fromkeys(_sample(raw, name, select, rows)))
    kept = Rows(rows)
    place = {title.lower(): index for index, title in enumerate(names)}
    primary = tuple(column[1] for column in sorted(columns, key=lambda column: column[5]) if column[5])
    keys = [
        tuple(place[title.lower()] for title in key)
        for key in (primary, *unique)
        if key and all(title is not None and title.lower() in place for title in key)
    ]
    return SourceTable(
        name,
        names,
        tuple((column[2] or "").upper() for column in usable),
        kept,
        place.get(primary[0].lower()) if len(primary) == 1 else None,
        tuple(dict.fromkeys(keys)),
        frozenset(
            index
            for index, column in enumerate(usable)
            if not column[3] and (not kept or kept.has_null(index))
        ),
        complete=complete,
    )


def _sample(raw: Any, name: str, select: str, first: list[Row]) -> list[Row]:
    """Return rows from all over a large table; its first rows if it has no row ids to jump to."""
    try:
        least, most = raw.execute(f"SELECT min(rowid), max(rowid) FROM {quote(name)}").fetchone()
        chosen = PortableRandom(name).sample(range(least, most + 1), _MOST_ROWS // 2)
        rows: list[Row] = []
        for number in sorted(chosen):
            rows += raw.execute(f"{select} WHERE rowid >= ? LIMIT 1", (number,)).fetchall()
    except (sqlite3.Error, TypeError, ValueError):
        return first[:_MOST_ROWS]
    return rows


def _read_sought(
    connection: Connection, tables: dict[str, SourceTable], conditions: Sequence[ColumnCondition]
) -> bool:
    """Add the rows that a gold looks for to the samples of large tables; return whether there were any."""
    changed = False
    for condition in conditions:
        table = tables.get(condition.table)
        place = None if table is None else table.place.get(condition.column)
        if table is None or table.complete or place is None:
            continue
        found = dict.fromkeys(table.rows)
        select = f"SELECT {', '.join(map(quote, table.columns))} FROM {quote(table.name)}"
        for value in condition.meets:
            where = f"{select} WHERE {quote(table.columns[place])} = ? LIMIT {_LITERAL_ROWS}"
            found.update(dict.fromkeys(_ask(connection, where, (value,))))
        if len(found) > len(table.rows):
            tables[condition.table] = replace(table, rows=Rows(found))
            changed = True
    return changed


def _fetch_referred(connection: Connection, tables: dict[str, SourceTable]) -> None:
    """Read the rows that sampled rows refer to and that are not in the sample themselves."""
    for _ in range(3):
        missing: dict[str, dict[tuple[Reference, Row], None]] = defaultdict(dict)
        for table in tables.values():
            for one in table.references:
                to = tables[one.to_table]
                if not to.complete:
                    known = to.rows.places(one.to_columns)
                    for value in table.rows.places(one.columns):
                        if value not in known and None not in value:
                            missing[one.to_table][one, value] = None
        if not missing:
            return
        for name, wanted in missing.items():
            to = tables[name]
            select = f"SELECT {', '.join(map(quote, to.columns))} FROM {quote(to.name)} WHERE "
            rows = dict.fromkeys(to.rows)
            for one, value in list(wanted)[:_MOST_ROWS]:
                where = " AND ".join(f"{quote(to.columns[place])} = ?" for place in one.to_columns)
                rows.update(dict.fromkeys(_ask(connection, f"{select}{where} LIMIT 1", value)))
            tables[name] = replace(to, rows=Rows(rows))


def _ask(connection: Connection, sql: str, values: Sequence[Cell]) -> list[Row]:
    raw = connection.raw
    raw.text_factory = leave_out_undecodable
    try:
        found: list[Row] = raw.execute(sql, tuple(values)).fetchall()
    except (sqlite3.Error, OverflowError):
        # Out of time: go on with the rows that were read.
        return []
    finally:
        raw.text_factory = str
    return found
