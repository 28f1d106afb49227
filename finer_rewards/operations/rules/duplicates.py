"""Rules that drop DISTINCT and ORDER BY where they change nothing."""

from __future__ import annotations

from ..context import Context
from ..leaves import ONE, Number
from ..operators import SortKey, Window
from ..terms import Select, Term, contains
from .closure import Closure


def drop_needless_distinct(block: Select, context: Context) -> Select:
    """DISTINCT is dropped where no two rows can be equal: a key, or every group key, is among the items.

    Also with LIMIT 1, where the items fix the sort keys: the first row is the same with and without repeats.
    """
    if block.distinct is not True or block.extra:
        return block
    if block.limit == ONE and not block.offset:
        closure = Closure(block, block.items, context)
        if all(key.term in block.items or closure.fixes(key.term) for key in block.order):
            return block._replace(distinct=False)
    if block.aggregated:
        if block.group is None:
            return block._replace(distinct=False)
        closure = Closure(block, block.items, context)
        unique = all(key in block.items or closure.fixes(key) for key in block.group)
    else:
        unique = Closure(block, block.items, context).one_row and not contains(block.items, Window)
    return block._replace(distinct=False) if unique else block


def drop_needless_order(block: Select, context: Context) -> Select:
    """A sort key that is constant, repeated, or fixed by those before it is dropped.

    Holds always; what keys fix is known from the schema and the WHERE clause. An aggregate without GROUP BY has one
    row, so all its keys are dropped, and a LIMIT above 0 too.
    """
    if block.aggregated and block.group is None:
        if _cuts_nothing(block):
            return block._replace(order=(), limit=None)
        return block._replace(order=()) if block.order else block
    kept: list[SortKey] = []
    seen: list[Term] = []
    for key in block.order:
        closure = Closure(block, seen, context)
        if seen and _fixes_a_row(closure, seen, block):
            break
        if key.term not in seen and not closure.fixes(key.term):
            kept.append(key)
            seen.append(key.term)
    return block if tuple(kept) == block.order else block._replace(order=tuple(kept))


def _cuts_nothing(block: Select) -> bool:
    """Return whether LIMIT leaves at least one row, and there is no OFFSET."""
    if block.offset or not isinstance(block.limit, Number):
        return False
    return block.limit.numeral.isdigit() and int(block.limit.numeral) > 0


def _fixes_a_row(closure: Closure, seen: list[Term], block: Select) -> bool:
    """Return whether the sort keys that a closure is of fix one row of the result."""
    if block.group:
        return all(key in seen or closure.fixes(key) for key in block.group)
    return not block.aggregated and closure.one_row
