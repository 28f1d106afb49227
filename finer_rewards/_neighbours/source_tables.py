"""`SourceTable`, a table of the source with its rows, keys, references and promises.

This runs in a worker, so it uses the standard library only.
"""

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
    """A reference: columns (by position) whose values are those of another table's columns."""

    columns: tuple[int, ...]
    to_table: str
    to_columns: tuple[int, ...]


@dataclass(frozen=True)
class Individual:
    """A row that a gold names by its key, with the texts, by column, that only this row has.

    A prediction that names the row by one of these texts is right as far as the data tells, so neighbours keep them.
    Columns that the gold mentions are left out: their values are what the question asks for.
    """

    key: int
    value: Cell
    texts: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class SourceTable:
    """A table of the source. Columns are given by their position in `columns`.

    Args:
        name: its name, as declared.
        columns: names of the columns that can be inserted into.
        types: their declared types, upper case.
        rows: all rows, or a sample of them.
        primary: the primary key, if it is a single column.
        keys: sets of columns that identify a row: declared ones, and those that do so in the data. These are ids; texts
            that never repeat, because grouping by name instead of id is no mistake worth exposing; and pairs of
            references that never link the same rows twice.
        nullable: columns in which the data has NULL (or which may have it, in an empty table).
        references: references to other tables; declared ones, and those that golds join by and the data obeys.
        complete: true when `rows` are all rows.
        individuals: rows that a gold names by their primary key, and other texts that name them.
        singles: (column, text) that a gold looks for, and that only one row has.
        determined: pairs of columns of which the first determines the second.
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
        """Return the distinct values of a column without NULL, in order of occurrence."""
        return self.rows.values(column)

    @cached_property
    def place(self) -> dict[str, int]:
        """Name of a column in lower case -> its position."""
        return {name.lower(): place for place, name in enumerate(self.columns)}

    @cached_property
    def insert(self) -> str:
        """The statement that inserts a row."""
        columns = ", ".join(map(quote, self.columns))
        return f"INSERT OR IGNORE INTO {quote(self.name)} ({columns}) VALUES ({', '.join('?' * len(self.columns))})"

    @cached_property
    def linked(self) -> frozenset[int]:
        """The columns that refer to others."""
        return frozenset(place for one in self.references for place in one.columns)

    def mapping(self, first: int, second: int) -> dict[Cell, Cell]:
        """Return each value of the first column -> the value of the second column in its row."""
        return {row[first]: row[second] for row in self.rows if row[first] is not None}
