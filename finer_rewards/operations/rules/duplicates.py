"""DISTINCT and ORDER BY that change nothing."""

from __future__ import annotations

from ..context import Context
from ..terms import Select, Term, Window, contains
from .closure import CONSTANTS, Closure


def drop_needless_distinct(block: Select, context: Context) -> Select:
    """DISTINCT is dropped where no two rows can be equal: a key, or every group key, is among the items."""
    if block.distinct is not True or block.extra:
        return block
    if block.aggregated:
        if block.group is None:
            return block._replace(distinct=False)
        closure = Closure(block, block.items, context)
        unique = all(key in block.items or closure.fixes(key) for key in block.group)
    else:
        unique = Closure(block, block.items, context).one_row and not any(
            contains(item, Window) for item in block.items
        )
    return block._replace(distinct=False) if unique else block


def drop_needless_order(block: Select, context: Context) -> Select:
    """A sort key that is constant, repeated, or fixed by those before it is dropped.

    With one row there is nothing to sort, and nothing for LIMIT to cut.
    """
    if block.aggregated and block.group is None:
        limit = block.limit
        if (
            limit is not None
            and limit[0] == "number"
            and limit[1].isdigit()
            and int(limit[1]) > 0
            and not block.offset
        ):
            return block._replace(order=(), limit=None)
        return block._replace(order=()) if block.order else block
    if not block.order:
        return block
    kept: list[tuple[object, ...]] = []
    seen: list[Term] = []
    for key in block.order:
        closure = Closure(block, seen, context)
        if key[1][0] in CONSTANTS or key[1] in seen or (closure.fixes(key[1])):
            continue
        if not block.aggregated and seen and closure.one_row:
            break
        if block.group and seen and all(one in seen or closure.fixes(one) for one in block.group):
            break
        kept.append(key)
        seen.append(key[1])
    return block if tuple(kept) == block.order else block._replace(order=tuple(kept))
