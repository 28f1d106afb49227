"""What a gold looks for: values by column, and columns that it takes to be equal."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from finer_rewards.types import Cell


class ColumnCondition(NamedTuple):
    """A gold compares a column with constants.

    Args:
        table: the table, lower case.
        column: the column, lower case.
        meets: values that meet the condition.
        near: values that just miss it, or sit on its edge.
        any_case: true when upper and lower case are the same to it.
        beside: where the column must be equal to a value, every column that the gold mentions; else `None`.
    """

    table: str
    column: str
    meets: tuple[Cell, ...]
    near: tuple[Cell, ...]
    any_case: bool = False
    beside: frozenset[str] | None = None


class EqualColumns(NamedTuple):
    """A gold takes two columns to be equal."""

    left: tuple[str, str]
    right: tuple[str, str]
