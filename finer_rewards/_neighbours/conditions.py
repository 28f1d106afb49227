"""The facts read from a gold, as plain values that can be sent to a worker: its conditions and its joins."""

from __future__ import annotations

from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from finer_rewards.types import Cell


class ColumnCondition(NamedTuple):
    """A condition of a gold that compares a column with constants.

    Args:
        table: the table, lower case.
        column: the column, lower case.
        meets: values that meet the condition.
        near: values that just miss it.
        any_case: whether the condition ignores upper and lower case.
        beside: for a condition `column = value`, every column that the gold mentions; else `None`.
    """

    table: str
    column: str
    meets: tuple[Cell, ...]
    near: tuple[Cell, ...]
    any_case: bool = False
    beside: frozenset[str] | None = None


class EqualColumns(NamedTuple):
    """Two columns (table, column) that a gold requires to be equal."""

    left: tuple[str, str]
    right: tuple[str, str]
