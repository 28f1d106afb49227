"""The tables of a database as neighbours are made from them; in a worker, so this needs the standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from finer_rewards._sqlite_catalog import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from finer_rewards._neighbours.table_rows import Rows
    from finer_rewards.types import Cell


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
        singles: (column, text) that some gold looks for, and that one row has.
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
    singles: tuple[tuple[int, str], ...] = ()
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
