"""`Schema`: the tables, columns and keys of a database, as executors read them or as users write them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from itertools import count, zip_longest
from typing import Any

from ._sqlite_catalog import read_catalog
from ._util.sqlglot_log import quiet_sqlglot
from .errors import ConfigError

__all__ = ["Column", "ForeignKey", "Schema", "Table", "schema_from_catalog"]


@dataclass(frozen=True)
class Column:
    """One column: its name, its declared type, whether it may be NULL, and the collation of its texts if it has one."""

    name: str
    type: str = ""
    not_null: bool = False
    collation: str = ""


@dataclass(frozen=True)
class ForeignKey:
    """`columns` of the table that holds it refer to `to_columns` of `to_table`."""

    columns: tuple[str, ...]
    to_table: str
    to_columns: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table or view.

    Args:
        name: as declared.
        columns: in declared order.
        primary_key: the names of its columns; empty if there is none.
        unique: further sets of columns that are unique (constraints and unique indexes without WHERE).
        foreign_keys: references to other tables.
        view: true for a view.
    """

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    view: bool = False


@dataclass(frozen=True)
class Schema:
    """The tables of one database.

    Example:
        >>> schema = Schema((Table("singer", (Column("id", "INTEGER"), Column("name", "TEXT"))),))
        >>> schema.as_mapping()
        {'singer': {'id': 'INTEGER', 'name': 'TEXT'}}
    """

    tables: tuple[Table, ...] = field(default=())

    def as_mapping(self) -> Mapping[str, Mapping[str, str]]:
        """Return `{table: {column: type}}`."""
        return {table.name: {column.name: column.type for column in table.columns} for table in self.tables}

    @cached_property
    def digest(self) -> str:
        """A short digest of everything in the schema, for cache keys."""
        return sha256(repr(self.tables).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def table_of(
    name: str,
    columns: Iterable[tuple[str, str, bool]],
    keys: Sequence[tuple[str, Iterable[str], str | None, Iterable[str] | None]],
    view: bool = False,
) -> Table:
    """Return a table from what the catalogs of engines say of it.

    Args:
        name: as declared.
        columns: name, type, and whether NULL is forbidden.
        keys: `PRIMARY KEY`, `UNIQUE` or `FOREIGN KEY`, its columns, and for the last the table and columns
            it refers to.
        view: true for a view.

    Example:
        >>> table_of("t", [("a", "INTEGER", True)], [("PRIMARY KEY", ["a"], None, None)]).primary_key
        ('a',)
    """
    of = {kind: [key for key in keys if key[0] == kind] for kind in ("PRIMARY KEY", "UNIQUE", "FOREIGN KEY")}
    return Table(
        name,
        tuple(Column(*column) for column in columns),
        tuple(of["PRIMARY KEY"][0][1]) if of["PRIMARY KEY"] else (),
        tuple(tuple(ours) for _, ours, _, _ in of["UNIQUE"]),
        tuple(
            ForeignKey(tuple(ours), to or "", tuple(theirs or ()))
            for _, ours, to, theirs in of["FOREIGN KEY"]
        ),
        view,
    )


def schema_from_mapping(tables: Mapping[str, Mapping[str, str] | Iterable[str]]) -> Schema:
    """Return the schema of `{table: {column: type}}`, or of `{table: [columns]}`.

    Example:
        >>> schema_from_mapping({"singer": {"id": "INTEGER"}}).tables[0].columns[0].type
        'INTEGER'
    """
    return Schema(
        tuple(
            Table(
                name,
                tuple(
                    Column(column, columns[column] if isinstance(columns, Mapping) else "")
                    for column in columns
                ),
            )
            for name, columns in tables.items()
        )
    )


def schema_from_catalog(found: Iterable[tuple[Any, ...]]) -> Schema:
    """Return the schema for the result of `_sqlite_catalog.read_catalog`."""
    tables = []
    for name, kind, columns, unique, foreign, *more in found:
        keys = sorted((column[5], column[1]) for column in columns if column[5])
        references: dict[int, tuple[str, list[str], list[str]]] = {}
        for number, _, to_table, column, to_column, *_ in sorted(foreign, key=lambda part: part[:2]):
            reference = references.setdefault(number, (to_table, [], []))
            reference[1].append(column)
            if to_column is not None:
                reference[2].append(to_column)
        shown = [column for column in columns if column[6] != 1]
        tables.append(
            Table(
                name,
                tuple(
                    Column(column[1], column[2] or "", bool(column[3]), collation)
                    for column, collation in zip_longest(shown, *(more or [[]]), fillvalue="")
                ),
                tuple(column for _, column in keys),
                tuple(tuple(part) for part in unique if None not in part),
                tuple(
                    ForeignKey(tuple(ours), to_table, tuple(theirs))
                    for to_table, ours, theirs in references.values()
                ),
                kind == "view",
            )
        )
    # A reference that names no columns is to the primary key of the table it names.
    primary = {table.name.lower(): table.primary_key for table in tables}
    return Schema(
        tuple(
            replace(
                table,
                foreign_keys=tuple(
                    key if key.to_columns else replace(key, to_columns=primary.get(key.to_table.lower(), ()))
                    for key in table.foreign_keys
                ),
            )
            for table in tables
        )
    )


def schema_from_ddl(ddl: str, dialect: str = "sqlite") -> Schema:
    """Return the schema that CREATE statements declare, with its keys, NOT NULL, UNIQUE and foreign keys.

    Other statements are ignored.

    Args:
        ddl: the CREATE statements.
        dialect: sqlglot's name for their dialect.

    Raises:
        ConfigError: the text does not parse.

    Example:
        >>> schema_from_ddl("CREATE TABLE t (a INT PRIMARY KEY, b TEXT NOT NULL)").tables[0].primary_key
        ('a',)
    """
    if dialect == "sqlite":
        try:
            found = _declared_in_sqlite(ddl)
        except sqlite3.Error as error:
            # The text may be written for another engine; sqlglot accepts more.
            return _declared_to_sqlglot(ddl, dialect, str(error))
        if found is not None:
            return found
    return _declared_to_sqlglot(ddl, dialect)


_CREATES = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*CREATE\s+(?:UNIQUE\s+|VIRTUAL\s+)?(?:TABLE|VIEW|INDEX)\b",
    re.DOTALL | re.IGNORECASE,
)
#: The most thousands of opcodes that the statements may run: CREATE TABLE AS can hold any query.
_MOST_STEPS = 1_000
_ATTACH, _PRAGMA = 24, 19


def _declared_in_sqlite(ddl: str) -> Schema | None:
    """Return the schema that SQLite itself reads from CREATE statements; `None` if there are none."""
    steps = count()
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.set_authorizer(lambda action, *_: int(action in (_ATTACH, _PRAGMA)))
        connection.set_progress_handler(lambda: next(steps) > _MOST_STEPS, 1_000)
        statements = [one for one in _statements(ddl) if _CREATES.match(one)]
        for statement in statements:
            connection.execute(statement)
        connection.set_authorizer(None)
        return schema_from_catalog(read_catalog(connection)) if statements else None


def _statements(text: str) -> Iterator[str]:
    statement = ""
    for piece in text.split(";"):
        statement += piece + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip(";\n "):
        yield statement


def _declared_to_sqlglot(ddl: str, dialect: str, message: str = "") -> Schema:
    import sqlglot
    from sqlglot import exp

    try:
        with quiet_sqlglot():
            statements = sqlglot.parse(ddl, read=dialect)
    except sqlglot.errors.SqlglotError as error:
        first = message or str(error).splitlines()[0]
        raise ConfigError(f"`schema` should be CREATE statements, but they do not parse: {first}") from None
    tables = []
    unique_indexes: dict[str, list[tuple[str, ...]]] = {}
    for statement in statements:
        if not isinstance(statement, exp.Create):
            continue
        if statement.kind == "TABLE" and isinstance(statement.this, exp.Schema):
            tables.append(_declared_table(statement.this))
        elif statement.kind == "INDEX" and statement.args.get("unique"):
            index = statement.this
            parameters = index.args.get("params")
            if parameters is not None and not parameters.args.get("where"):
                columns = parameters.args.get("columns") or []
                table = index.args["table"].name.lower()
                unique_indexes.setdefault(table, []).append(tuple(one.this.name for one in columns))
    return Schema(
        tuple(
            replace(table, unique=table.unique + tuple(unique_indexes.get(table.name.lower(), ())))
            for table in tables
        )
    )


def _declared_table(declaration: Any) -> Table:
    from sqlglot import exp

    columns: list[Column] = []
    primary: tuple[str, ...] = ()
    unique: list[tuple[str, ...]] = []
    foreign: list[ForeignKey] = []

    def reference(local: tuple[str, ...], node: Any) -> ForeignKey:
        to = node.this
        if isinstance(to, exp.Schema):
            return ForeignKey(local, to.this.name, tuple(one.name for one in to.expressions))
        return ForeignKey(local, to.name, ())

    for part in declaration.expressions:
        if isinstance(part, exp.Constraint):
            parts = part.expressions
        elif isinstance(part, exp.ColumnDef):
            parts = []
            not_null = False
            for constraint in part.args.get("constraints") or []:
                kind = constraint.args.get("kind")
                if isinstance(kind, exp.PrimaryKeyColumnConstraint):
                    primary = (part.name,)
                elif isinstance(kind, exp.UniqueColumnConstraint):
                    unique.append((part.name,))
                elif isinstance(kind, exp.NotNullColumnConstraint):
                    not_null = not kind.args.get("allow_null")
                elif isinstance(kind, exp.Reference):
                    foreign.append(reference((part.name,), kind))
            columns.append(Column(part.name, part.kind.sql() if part.kind else "", not_null))
        else:
            parts = [part]
        for rule in parts:
            if isinstance(rule, exp.PrimaryKey):
                primary = tuple(one.name for one in rule.expressions)
            elif isinstance(rule, exp.UniqueColumnConstraint) and isinstance(rule.this, exp.Schema):
                unique.append(tuple(one.name for one in rule.this.expressions))
            elif isinstance(rule, exp.ForeignKey) and rule.args.get("reference"):
                local = tuple(one.name for one in rule.expressions)
                foreign.append(reference(local, rule.args["reference"]))
    return Table(declaration.this.name, tuple(columns), primary, tuple(unique), tuple(foreign))
