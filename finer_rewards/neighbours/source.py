"""A database as neighbours are made from it: its script, a sample of its rows, its keys, references and promises.

It is read in a worker, so this needs the standard library only.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import permutations

from finer_rewards._sqlite_catalog import quote
from finer_rewards.engines.sqlite.worker import Connection, leave_out_undecodable
from finer_rewards.neighbours.chance import Chance
from finer_rewards.neighbours.rows import Rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from finer_rewards.neighbours.facts import Condition, Join
    from finer_rewards.types import Cell, Row

__all__ = ["Individual", "Reference", "Source", "SourceTable", "read_source"]

_MOST_ROWS = 2000  # of a table; of a larger one, a sample
_LITERAL_ROWS = 5
_INCLUDED = 0.9
_TELLING_ROWS = 5
_NAMES = ("name", "title")
_MOST_COLUMNS = 40  # of a table in which one column is held to determine another


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
        primary: place of the primary key, where it is one column.
        keys: sets of columns that identify a row: declared ones, and those that do so in the data (an id, and
            text that never repeats: to group by name instead of by id is no mistake worth telling; and what
            links two tables without ever linking the same rows twice).
        nullable: columns in which the data has NULL (or that may have it, in an empty table).
        references: to other tables; declared ones, and those that golds join by and the data obeys.
        complete: true when `rows` are all rows.
        individuals: rows that some gold names by their primary key, and what else names them.
        determined: pairs of columns of which the first determines the second wherever it repeats.
    """

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: Rows = field(repr=False)
    primary: int | None = None
    keys: tuple[tuple[int, ...], ...] = ()
    nullable: frozenset[int] = frozenset()
    references: tuple[Reference, ...] = ()
    complete: bool = True
    individuals: tuple[Individual, ...] = ()
    determined: tuple[tuple[int, int], ...] = ()

    def values(self, column: int) -> list[Cell]:
        """The distinct values of a column, NULL left out, in the order they occur in."""
        return self.rows.values(column)

    @cached_property
    def place(self) -> dict[str, int]:
        """The place of each column, by its name in lower case."""
        return {name.lower(): place for place, name in enumerate(self.columns)}

    @cached_property
    def insert(self) -> str:
        """The statement that writes a row."""
        columns = ", ".join(map(quote, self.columns))
        return f"INSERT OR IGNORE INTO {quote(self.name)} ({columns}) VALUES ({', '.join('?' * len(self.columns))})"

    @cached_property
    def linked(self) -> frozenset[int]:
        """The columns that refer to others."""
        return frozenset(place for one in self.references for place in one.columns)

    def mapping(self, first: int, second: int) -> dict[Cell, Cell]:
        """Return what the second column has where the first has a value."""
        return {row[first]: row[second] for row in self.rows if row[first] is not None}


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
    _joined: dict[frozenset[Join], dict[str, SourceTable]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @cached_property
    def cyclic(self) -> bool:
        """Whether some table refers to itself or to one that comes later."""
        seen: set[str] = set()
        for name, table in self.tables.items():
            if any(one.to_table not in seen for one in table.references):
                return True
            seen.add(name)
        return False

    def obeyed(self) -> list[tuple[Any, ...]]:
        """Return what the data obeys beyond the schema, and every neighbour with it, a tuple a table.

        (name, ((column, type, not null), ...), keys by name, ((columns, other table, its columns), ...))
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
        self, connection: Connection, conditions: Sequence[Condition], joins: Sequence[Join]
    ) -> Source:
        """Return the source with what one gold says of it: its joins, and rows that it looks for."""
        more = dict(self.tables)
        key = frozenset(joins)
        read = _read_sought(connection, more, conditions)
        tables = None if read else self._joined.get(key)
        if tables is None:
            tables = _settled(connection, more) if _refer(more, joins) or read else more
            if not read:
                self._joined[key] = tables
        tables = {name: _with_names(table, conditions) for name, table in tables.items()}
        named = {
            name: _with_individuals(table, table.primary, conditions)
            for name, table in tables.items()
            if table.primary is not None
        }
        return Source(self.script, {**tables, **named}, self.notes)


def read_source(connection: Connection) -> Source:
    """Return what neighbours of a database are made from, whatever the gold.

    At most 2,000 rows of a table are read. Of a larger table these are from all over it, and those that rows read
    elsewhere refer to.
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
            # A virtual table keeps its content in tables of its own, which begin with its name.
            hidden = any(name == one or name.startswith(f"{one}_") for one in virtual)
            if kind == "table" and not hidden:
                try:
                    tables[name.lower()] = _read_table(raw, name, columns, unique)
                except sqlite3.Error as error:
                    notes.append(f"table {name} is left empty: {error}")
        _refer_as_declared(tables, declared)
        tables = _settled(connection, tables)
    finally:
        raw.text_factory = str
    return Source(tuple(sql for (sql,) in script), tables, tuple(notes))


def _settled(connection: Connection, tables: dict[str, SourceTable]) -> dict[str, SourceTable]:
    """The tables with keys that nobody declared, all rows that are referred to, and in their order."""
    referred = {(one.to_table, one.to_columns) for table in tables.values() for one in table.references}
    for name, table in tables.items():
        keys = _observed_keys(table, {to for to_table, to in referred if to_table == name})
        tables[name] = replace(table, keys=tuple(dict.fromkeys((*table.keys, *keys))))
    _fetch_referred(connection, tables)
    tables = _ordered(tables)
    for name in tables:
        tables[name] = _as_referred(tables[name], tables)
    return {name: replace(table, determined=tuple(_determined(table))) for name, table in tables.items()}


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
    """Rows from all over a large table; its first ones where it has no row ids to jump to."""
    try:
        least, most = raw.execute(f"SELECT min(rowid), max(rowid) FROM {quote(name)}").fetchone()
        chosen = Chance(name).sample(range(least, most + 1), _MOST_ROWS // 2)
        rows: list[Row] = []
        for number in sorted(chosen):
            rows += raw.execute(f"{select} WHERE rowid >= ? LIMIT 1", (number,)).fetchall()
    except (sqlite3.Error, TypeError, ValueError):
        return first[:_MOST_ROWS]
    return rows


def _read_sought(
    connection: Connection, tables: dict[str, SourceTable], conditions: Sequence[Condition]
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


def _ask(connection: Connection, sql: str, values: Sequence[Cell]) -> list[Row]:
    raw = connection.raw
    raw.text_factory = leave_out_undecodable
    try:
        found: list[Row] = raw.execute(sql, tuple(values)).fetchall()
    except (sqlite3.Error, OverflowError):
        return []  # out of time: the sample has to do
    finally:
        raw.text_factory = str
    return found


def _refer_as_declared(tables: dict[str, SourceTable], declared: Sequence[tuple[Any, ...]]) -> None:
    for name, _, _, _, foreign, *_ in declared:
        own = tables.get(name.lower())
        if own is None:
            continue
        parts: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for part in sorted(foreign, key=lambda part: part[:2]):
            parts[part[0]].append(part)
        references: list[Reference] = []
        for group in parts.values():
            to = tables.get(group[0][2].lower())
            if to is None:
                continue
            ours = _places(own, [part[3] for part in group])
            named = [part[4] for part in group if part[4] is not None]
            # A reference that names no column means the primary key of the table it refers to.
            theirs = _places(to, named) if named else () if to.primary is None else (to.primary,)
            if ours and len(ours) == len(theirs) and ours not in [one.columns for one in references]:
                references.append(Reference(ours, group[0][2].lower(), theirs))
        tables[name.lower()] = replace(own, references=tuple(references))


def _refer(tables: dict[str, SourceTable], joins: Iterable[Join]) -> bool:
    """Add the references that a gold joins by and the data obeys; return whether there were any."""
    changed = False
    for join in joins:
        for child, parent in ((join.left, join.right), (join.right, join.left)):
            own, to = tables.get(child[0]), tables.get(parent[0])
            if own is None or to is None or own is to:
                continue
            ours, theirs = _places(own, child[1:]), _places(to, parent[1:])
            backwards = [one.columns for one in to.references if one.to_table == child[0]]
            if ours and theirs and ours[0] not in own.linked and theirs not in backwards:
                unique = theirs in to.keys or to.rows.never_repeats(theirs[0], 3)
                if unique and _included(own, ours[0], to, theirs[0]):
                    tables[child[0]] = replace(
                        own, references=(*own.references, Reference(ours, parent[0], theirs))
                    )
                    changed = True
                    break
    return changed


def _as_referred(table: SourceTable, tables: Mapping[str, SourceTable]) -> SourceTable:
    """The table with its references written as the values they refer to: SQLite takes '1' in a text for a key 1."""
    changes: dict[int, dict[Cell, Cell]] = {}
    for one in table.references:
        for ours, theirs in zip(one.columns, one.to_columns, strict=True):
            known = {value: value for value in tables[one.to_table].values(theirs)}
            spelled = {value: _spelled(value, known) for value in table.values(ours)}
            if any(type(value) is not type(other) or value != other for value, other in spelled.items()):
                changes[ours] = spelled
    if not changes:
        return table
    rows = [list(row) for row in table.rows]
    for row in rows:
        for place, spelled in changes.items():
            row[place] = spelled.get(row[place], row[place])
    return replace(table, rows=Rows(map(tuple, rows)))


def _spelled(value: Cell, known: Mapping[Cell, Cell]) -> Cell:
    """The known value that SQLite finds equal where a text column meets one of numbers; failing that, itself."""
    if value in known:
        return known[value]
    try:
        return known.get(float(value) if isinstance(value, str) else str(value), value)
    except ValueError:
        return value


def _with_names(table: SourceTable, conditions: Sequence[Condition]) -> SourceTable:
    """The table, in which a name that the gold looks a row up by stays that of one row, if it is so in the data.

    Who writes `= (SELECT id ... WHERE name = 'Bore')` relies on it, and people call that right, however few the rows.
    """
    keys = [
        (table.place[one.column],)
        for one in conditions
        if one.table == table.name.lower() and one.beside is not None and one.column in table.place
        if _names_rows(table, table.place[one.column], 2)
    ]
    return replace(table, keys=tuple(dict.fromkeys((*table.keys, *keys)))) if keys else table


def _with_individuals(table: SourceTable, key: int, conditions: Sequence[Condition]) -> SourceTable:
    mentioned: dict[Cell, set[str]] = defaultdict(set)
    for one in conditions:
        named = (one.table, one.column) == (table.name.lower(), table.columns[key].lower())
        if named and one.beside is not None:
            mentioned[one.meets[0]] |= one.beside
    if not mentioned or not table.complete:
        return table
    found = []
    for value, columns in mentioned.items():
        for row in [row for row in table.rows if row[key] == value][:1]:
            texts = tuple(
                (other, text)
                for other, text in enumerate(row)
                if isinstance(text, str) and text and other not in table.linked
                if table.columns[other].lower() not in columns
                if sum(any_row[other] == text for any_row in table.rows) == 1
            )
            found.append(Individual(key, value, texts))
    return replace(table, individuals=tuple(found))


def _observed_keys(table: SourceTable, referred: set[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    """Keys that nobody declared, but that the data obeys."""
    for column, title in enumerate(table.columns):
        is_id = title.lower() == "id" or title.lower().endswith(("_id", "code")) or title.endswith("ID")
        if (
            ((column,) in referred and (not table.rows or table.rows.never_repeats(column, 3)))
            or (is_id and not table.keys and table.rows.never_repeats(column, 3))
            or _names_rows(table, column, _TELLING_ROWS)
        ):
            yield (column,)
    links = tuple(sorted(table.linked))
    if len(links) > 1 and table.rows.never_repeats_together(links, _TELLING_ROWS):
        yield links


def _places(table: SourceTable, names: Sequence[str]) -> tuple[int, ...]:
    found = tuple(table.place[name.lower()] for name in names if name.lower() in table.place)
    return found if len(found) == len(names) else ()


def _names_rows(table: SourceTable, column: int, least: int) -> bool:
    """Whether a column holds text that never repeats: a name that some row shares would be news to the data."""
    title, own = table.columns[column].lower(), table.name.lower()
    named = any(word in title for word in _NAMES) or title in (own, own.removesuffix("s"))
    return table.rows.never_repeats(column, least if named else 2 * _TELLING_ROWS) and all(
        isinstance(value, str) for value in table.values(column)
    )


def _determined(table: SourceTable) -> Iterator[tuple[int, int]]:
    """Pairs of columns of which the first determines the second in all rows, though it repeats."""
    rows, count = table.rows, len(table.rows)
    if count < _TELLING_ROWS or len(table.columns) > _MOST_COLUMNS:
        return
    alone = {key[0] for key in table.keys if len(key) == 1}
    open_to = [place for place in range(len(table.columns)) if place not in alone]
    for first, second in permutations(open_to, 2):
        if second in table.linked:
            continue
        ours, theirs = len(table.values(first)), len(table.values(second))
        # It has to repeat often enough for this to be no accident, and not to say next to nothing.
        if 2 <= theirs <= ours <= 0.7 * count and len(rows.places((first, second))) == len(
            rows.places((first,))
        ):
            yield first, second


def _included(own: SourceTable, column: int, to: SourceTable, other: int) -> bool:
    theirs = {value: value for value in to.values(other)}
    ours = {_spelled(value, theirs) for value in own.values(column)}
    if not to.complete:
        return True
    return not ours or len(ours & theirs.keys()) >= _INCLUDED * len(ours)


def _fetch_referred(connection: Connection, tables: dict[str, SourceTable]) -> None:
    """Read the rows that sampled rows refer to, and that were not sampled themselves."""
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
