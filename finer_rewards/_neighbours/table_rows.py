"""`Rows`, the rows of a source table with facts about their columns, each computed once.

This runs in a worker, so it uses the standard library only.
"""

from __future__ import annotations

from functools import cached_property

from finer_rewards._neighbours.column_values import bounds_of
from finer_rewards._neighbours.forms import form_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from finer_rewards._neighbours.column_values import Bounds
    from finer_rewards._neighbours.forms import Form
    from finer_rewards.types import Cell, Row


class Rows(tuple):  # type: ignore[type-arg]
    """A tuple of rows that remembers what was computed about its columns."""

    def values(self, column: int) -> list[Cell]:
        """Return the distinct values of a column without NULL, in order of occurrence."""
        known = self._values.get(column)
        if known is None:
            known = self._values[column] = list(
                dict.fromkeys([row[column] for row in self if row[column] is not None])
            )
        return known

    def bounds(self, column: int) -> Bounds:
        """Return the least and the greatest number of a column; `None` if it has no numbers."""
        if column not in self._bounds:
            self._bounds[column] = bounds_of(self.values(column))
        return self._bounds[column]

    def form(self, column: int) -> Form:
        """Return the form that all values of a column share."""
        known = self._forms.get(column)
        if known is None:
            known = self._forms[column] = form_of(self.values(column))
        return known

    def has_null(self, column: int) -> bool:
        """Return whether the column has a NULL."""
        known = self._nulls.get(column)
        if known is None:
            known = self._nulls[column] = any(row[column] is None for row in self)
        return known

    def never_repeats(self, column: int, least: int) -> bool:
        """Return whether the column has no value twice and no NULL, and the table at least `least` rows."""
        return len(self) >= least and len(self.values(column)) == len(self)

    def never_repeats_together(self, columns: tuple[int, ...], least: int) -> bool:
        """Return whether no combination of values of these columns occurs twice; NULL is allowed here."""
        return len(self) >= least and len(self.places(columns)) == len(self)

    def places(self, columns: tuple[int, ...]) -> dict[Row, int]:
        """Return each combination of values of these columns -> the index of the last row that has it."""
        known = self._places.get(columns)
        if known is None:
            known = self._places[columns] = {
                tuple([row[column] for column in columns]): place for place, row in enumerate(self)
            }
        return known

    @cached_property
    def _values(self) -> dict[int, list[Cell]]:
        return {}

    @cached_property
    def _bounds(self) -> dict[int, Bounds]:
        return {}

    @cached_property
    def _forms(self) -> dict[int, Form]:
        return {}

    @cached_property
    def _nulls(self) -> dict[int, bool]:
        return {}

    @cached_property
    def _places(self) -> dict[tuple[int, ...], dict[Row, int]]:
        return {}
