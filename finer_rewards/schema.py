"""What is known of a database without reading its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

__all__ = ["Column", "ForeignKey", "Schema", "Table"]


@dataclass(frozen=True)
class Column:
    """One column: its name, its declared type, and whether it may be NULL."""

    name: str
    type: str = ""
    not_null: bool = False


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
        primary_key: names of its columns; empty when there is none.
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
