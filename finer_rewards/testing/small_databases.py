"""Small databases for tests: a schema with rows, as SQL text, in memory or in a file."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from finer_rewards.schema import Column, ForeignKey, Schema, Table
from finer_rewards.types import Cell, Row

#: The values of cells and of literals in queries. Both are drawn from the same few, so that conditions find rows.
POOLS: Final[Mapping[str, tuple[Cell, ...]]] = {
    "INTEGER": (0, 1, 2, 3, 5, 8, 40),
    "REAL": (0.5, 1.5, 2.25, 10.0),
    "TEXT": ("Ada", "Bo", "Cy", "Oslo", "Rome"),
}

#: The schema that strategies use when they are given none.
LIBRARY: Final = Schema(
    (
        Table(
            "member",
            (
                Column("id", "INTEGER", not_null=True),
                Column("name", "TEXT", not_null=True),
                Column("city", "TEXT"),
                Column("age", "INTEGER"),
            ),
            primary_key=("id",),
        ),
        Table(
            "book",
            (
                Column("id", "INTEGER", not_null=True),
                Column("title", "TEXT", not_null=True),
                Column("price", "REAL"),
                Column("stock", "INTEGER"),
            ),
            primary_key=("id",),
        ),
        Table(
            "loan",
            (
                Column("id", "INTEGER", not_null=True),
                Column("member_id", "INTEGER", not_null=True),
                Column("book_id", "INTEGER", not_null=True),
                Column("days", "INTEGER"),
            ),
            primary_key=("id",),
            foreign_keys=(
                ForeignKey(("member_id",), "member", ("id",)),
                ForeignKey(("book_id",), "book", ("id",)),
            ),
        ),
    )
)


@dataclass(frozen=True)
class Database:
    """A schema and the rows of each table.

    Args:
        schema: the tables.
        rows: for each table of the schema, in order, its rows.

    Example:
        >>> one = Database(Schema((Table("t", (Column("a", "INTEGER"),)),)), (((1,), (None,)),))
        >>> print(one.script)
        CREATE TABLE "t" ("a" INTEGER);
        INSERT INTO "t" VALUES (1), (NULL);
    """

    schema: Schema
    rows: tuple[tuple[Row, ...], ...]

    def __repr__(self) -> str:
        return f"Database({self.script!r})"

    @property
    def script(self) -> str:
        """The statements that build the database."""
        lines = [_declaration(table) for table in self.schema.tables]
        for table, rows in zip(self.schema.tables, self.rows, strict=True):
            if rows:
                values = ", ".join(f"({', '.join(literal(cell) for cell in row)})" for row in rows)
                lines.append(f"INSERT INTO {name_of(table.name)} VALUES {values};")
        return "\n".join(lines)

    def connect(self) -> sqlite3.Connection:
        """Return a connection to a new copy of the database in memory."""
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        connection.executescript(self.script)
        return connection

    def write(self, path: str | Path) -> Path:
        """Write the database as a SQLite file, and return the file's path."""
        target = Path(path)
        with closing(sqlite3.connect(target)) as connection:
            connection.executescript(self.script)
        return target


def kind_of(column: Column) -> str:
    """Return the pool that a column's values come from, by its declared type."""
    declared = column.type.upper()
    if any(word in declared for word in ("CHAR", "TEXT", "CLOB", "DATE", "TIME")):
        return "TEXT"
    if any(word in declared for word in ("REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL")):
        return "REAL"
    return "INTEGER"


def literal(value: Cell) -> str:
    """Return a value as SQL.

    Example:
        >>> literal("O'Hara"), literal(None), literal(b"a")
        ("'O''Hara'", 'NULL', "X'61'")
    """
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def name_of(name: str) -> str:
    """Return an identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


@lru_cache(maxsize=64)
def witnesses(schema: Schema, count: int = 4, size: int = 7) -> tuple[Database, ...]:
    """Return instances of a schema on which most different queries give different results; always the same ones.

    Args:
        schema: the tables.
        count: the number of instances.
        size: the most rows in a table.
    """
    return tuple(_instance(schema, random.Random(seed), size) for seed in range(count))


def _instance(schema: Schema, source: random.Random, size: int) -> Database:
    filled: dict[str, list[Row]] = {}
    for table in schema.tables:
        rows: dict[Row, Row] = {}
        for number in range(1, source.randint(size - 2, size) + 1):
            row = tuple(_cell(table, column, number, filled, schema, source) for column in table.columns)
            names = [column.name for column in table.columns]
            key = tuple(row[names.index(name)] for name in table.primary_key) or (number,)
            rows.setdefault(key, row)
        filled[table.name] = list(rows.values())
    return Database(schema, tuple(tuple(filled[table.name]) for table in schema.tables))


def _cell(
    table: Table,
    column: Column,
    number: int,
    filled: Mapping[str, list[Row]],
    schema: Schema,
    source: random.Random,
) -> Cell:
    for reference in table.foreign_keys:
        if reference.columns == (column.name,) and filled.get(reference.to_table):
            target = next(other for other in schema.tables if other.name == reference.to_table)
            place = [other.name for other in target.columns].index(reference.to_columns[0])
            # The last two rows are never referred to, so that an outer join differs from an inner one.
            return source.choice(filled[reference.to_table][:-2] or filled[reference.to_table])[place]
    if table.primary_key == (column.name,) and kind_of(column) == "INTEGER":
        return number
    if not column.not_null and column.name not in table.primary_key and source.random() < 0.15:
        return None
    return source.choice(POOLS[kind_of(column)])


def _declaration(table: Table) -> str:
    columns = [
        f"{name_of(column.name)} {column.type}{' NOT NULL' if column.not_null else ''}".rstrip()
        for column in table.columns
    ]
    if table.primary_key:
        columns.append(f"PRIMARY KEY ({', '.join(map(name_of, table.primary_key))})")
    for key in table.foreign_keys:
        columns.append(
            f"FOREIGN KEY ({', '.join(map(name_of, key.columns))}) "
            f"REFERENCES {name_of(key.to_table)} ({', '.join(map(name_of, key.to_columns))})"
        )
    return f"CREATE TABLE {name_of(table.name)} ({', '.join(columns)});"
