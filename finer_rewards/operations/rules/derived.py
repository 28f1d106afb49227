"""Derived tables that only wrap, or that hold one row or columns nobody reads."""

from __future__ import annotations

from ..context import Context
from ..terms import (
    Aggregate,
    Column,
    Derived,
    Exists,
    In,
    Number,
    Scalar,
    Select,
    SetOperation,
    Term,
    Window,
    computes_over_rows,
    contains,
    substitute,
    walk,
)
from .blocks import grows_too_large, mergeable, split
from .closure import CONSTANTS


def unwrap(block: Select, context: Context) -> Term:
    """Return the query inside a block that only renames, filters, sorts or cuts it.

    Holds when the block reads one derived table and neither groups nor removes repeats itself:
    a filter on groups is a HAVING, and a projection of a grouped query is a grouped query.
    """
    if len(block.sources) != 1 or block.outers or block.sources[0][0] != "derived":
        return block
    _, number, inner = block.sources[0]
    if block.group is not None or block.having or block.extra or _over_rows(block):
        return block
    columns = tuple(Column(number, place) for place in range(len(block.items)))
    identity = block.items == columns
    bare = not (block.where or block.order or block.limit or block.offset)
    if inner[0] == "setop":
        pushed = _push_into_union(block, number, inner)
        if pushed is not None:
            return pushed
        width = _width(inner)
        if identity and bare and width == len(columns) and block.distinct in (False, "any"):
            whole: Term = inner
            return whole
        return block
    if not isinstance(inner, Select) or inner.extra or inner.distinct is True:
        if (
            isinstance(inner, Select)
            and inner.distinct is True
            and not inner.extra
            and bare
            and _permutes(block, number, inner)
        ):
            items = tuple(inner.items[item[2]] for item in block.items)
            return inner._replace(items=items, distinct=block.distinct or True)
        return block
    if any(item[0] == "column" and item[2] == "*" for item in inner.items):
        return block
    limited = inner.limit is not None or inner.offset is not None
    if (limited and (not bare or block.distinct is True)) or any(
        contains(item, Window) for item in inner.items
    ):
        return block
    if block.distinct is True and inner.distinct not in (False, "any"):
        return block
    mapping = {Column(number, place): item for place, item in enumerate(inner.items)}
    if (block.where and not inner.aggregated) or grows_too_large(number, inner, block):
        return block
    having = tuple(substitute(one, mapping) for one in block.where)
    if any(contains(one, Exists, In, Scalar) for one in having):
        return block
    return inner._replace(
        items=tuple(substitute(item, mapping) for item in block.items),
        having=(*inner.having, *having),
        distinct=block.distinct if inner.distinct is False or block.distinct is True else inner.distinct,
        order=inner.order
        if limited or not block.order
        else tuple(substitute(key, mapping) for key in block.order),
        limit=inner.limit if limited else block.limit,
        offset=inner.offset if limited else block.offset,
    )


def one_row_to_scalar(block: Select, context: Context) -> Select:
    """A joined derived table of exactly one row is a scalar subquery wherever it is read.

    Holds for an aggregate without GROUP BY and HAVING, inner-joined to something else.
    """
    if len(block.sources) < 2:
        return block
    for source in block.sources:
        query = source[2] if source[0] == "derived" else None
        if not isinstance(query, Select) or not query.aggregated or query.group is not None or query.having:
            continue
        if query.limit is not None or query.offset is not None or query.extra:
            continue
        rest = block._replace(sources=tuple(one for one in block.sources if one is not source))
        single = query._replace(order=(), distinct=False)
        mapping: dict[Term, Term] = {
            Column(source[1], place): Scalar(single._replace(items=(item,)))
            for place, item in enumerate(query.items)
        }
        changed: Select = substitute(rest, mapping)
        return changed
    return block


def _push_into_union(block: Select, number: int, inner: Term) -> Term | None:
    """A projection and a filter of UNION ALL are those of its branches. Holds without ORDER BY and LIMIT."""
    plain = inner[1] == "union all" and inner[3:6] == ((), None, None) and len(inner) == 6
    if not plain or block.order or block.limit or block.offset or block.distinct is True:
        return None
    if not all(mergeable(branch) for branch in inner[2]):
        return None
    branches = []
    for branch in inner[2]:
        mapping = {Column(number, place): item for place, item in enumerate(branch.items)}
        branches.append(
            branch._replace(
                items=tuple(substitute(item, mapping) for item in block.items),
                where=split((*branch.where, *(substitute(one, mapping) for one in block.where))),
            )
        )
    return SetOperation("union all", tuple(branches), (), None, None)


def drop_unread_columns(block: Select, context: Context) -> Select:
    """A column of a derived table that nobody reads is dropped; it still counts for DISTINCT, as a key."""
    if not any(source[0] == "derived" for source in block.sources):
        return block
    for source in block.sources:
        query = source[2] if source[0] == "derived" else None
        if not isinstance(query, Select) or len(query.items) < 2 or query.extra:
            continue
        whole = query
        if query.distinct is True:
            query = _grouped(query)
            if query is whole:
                continue
        number = source[1]
        if any(item[0] == "column" and item[2] == "*" for item in query.items):
            continue
        read = {part[2] for part in walk(block) if part[0] == "column" and part[1] == number}
        if not all(isinstance(place, int) for place in read):
            continue
        kept = [place for place in range(len(query.items)) if place in read]
        one_row = query.aggregated and query.group is None
        if one_row and not any(contains(query.items[place], Aggregate) for place in kept):
            continue
        kept = kept or [0]
        if len(kept) == len(query.items):
            continue
        mapping: dict[Term, Term] = {Column(number, old): Column(number, new) for new, old in enumerate(kept)}
        less = Derived(number, query._replace(items=tuple(query.items[place] for place in kept)))
        rest: Select = substitute(block._replace(sources=()), mapping)
        sources = tuple(less if one is source else one for one in block.sources)
        return rest._replace(sources=sources)
    return block


def _grouped(query: Select) -> Select:
    """Return SELECT DISTINCT as GROUP BY on all items, of which one may then be left out; the same where it is not."""
    keys = tuple(dict.fromkeys(item for item in query.items if item[0] not in CONSTANTS))
    cut = query.limit is not None or query.offset is not None or query.order
    if not keys or cut or query.aggregated or any(computes_over_rows(item) for item in query.items):
        return query
    return query._replace(distinct=False, group=keys)


def _over_rows(block: Select) -> bool:
    return any(computes_over_rows(one) for one in (*block.items, *(key[1] for key in block.order)))


def _permutes(block: Select, number: int, inner: Select) -> bool:
    places = {item[2] for item in block.items if item[0] == "column" and item[1] == number}
    return len(places) == len(block.items) == len(inner.items)


def _width(query: Term) -> int:
    while query[0] == "setop":
        query = query[2][0]
    return len(query.items) if isinstance(query, Select) else -1


def first_row_number(block: Select, context: Context) -> Select:
    """`ROW_NUMBER() OVER (ORDER BY k) = 1` on a derived table is its ORDER BY k LIMIT 1.

    Holds without PARTITION BY, when the number is used for nothing else and nothing else is filtered or
    joined: both take one row among those that come first.
    """
    if len(block.sources) != 1 or block.sources[0][0] != "derived" or len(block.where) != 1 or block.outers:
        return block
    _, number, inner = block.sources[0]
    where = block.where[0]
    if where[0] != "=" or where[2] != ("number", "1") or where[1][:2] != ("column", number):
        return block
    if not isinstance(inner, Select) or inner.limit or inner.offset or inner.distinct is True or inner.extra:
        return block
    place = where[1][2]
    if not isinstance(place, int) or place >= len(inner.items):
        return block
    window = inner.items[place]
    if window[0] != "window" or window[1] != ("call", "row_number") or window[2] or window[4]:
        return block
    if any(part == where[1] for part in walk(block._replace(where=()))):
        return block
    rest = [item for at, item in enumerate(inner.items) if at != place]
    if any(contains(item, Window) for item in rest):
        return block
    shift: dict[Term, Term] = {
        Column(number, at): Column(number, at - 1) for at in range(place + 1, len(inner.items))
    }
    cut = inner._replace(items=tuple(rest), order=window[3], limit=Number("1"))
    changed: Select = substitute(block._replace(where=(), sources=()), shift)
    return changed._replace(sources=(Derived(number, cut),))
