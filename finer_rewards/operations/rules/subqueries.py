"""Subqueries in WHERE: IN as EXISTS, EXISTS as a join."""

from __future__ import annotations

from ..context import Context, numbers_in
from ..terms import ONE, Select, Term, columns_of, sources_of
from .blocks import blind_to_repeats
from .closure import Closure


def _simple(query: Term) -> bool:
    """Return whether a subquery joins and filters, and no more."""
    return (
        isinstance(query, Select)
        and not query.aggregated
        and query.limit is None
        and query.offset is None
        and not query.extra
        and not query.having
    )


def in_to_exists(block: Select, context: Context) -> Select:
    """`x IN (SELECT y FROM s WHERE p)` is EXISTS (SELECT 1 FROM s WHERE p AND y = x) where only truth counts.

    NOT IN is NOT EXISTS where neither x nor y can be NULL.
    """
    where = tuple(_rewrite(one, context) for one in block.where)
    outers = tuple(one._replace(where=tuple(_rewrite(part, context) for part in one.where)) for one in block.outers)
    if where == block.where and outers == block.outers:
        return block
    return block._replace(where=where, outers=outers)


def _rewrite(term: Term, context: Context) -> Term:
    if term[0] == "or":
        return ("or", *(_rewrite(part, context) for part in term[1:]))
    if term[0] == "and":
        return ("and", *(_rewrite(part, context) for part in term[1:]))
    if term[0] == "not" and term[1][0] == "in":
        inner = _exists(term[1], context)
        known = inner is not None and all(context.not_null(part) for pair in _pairs(term[1]) for part in pair)
        return ("not", inner) if known else term
    if term[0] == "in":
        return _exists(term, context) or term
    return term


def _pairs(term: Term) -> list[tuple[Term, Term]]:
    left = term[1][1:] if term[1][0] == "tuple" else (term[1],)
    return list(zip(left, term[2].items, strict=False))


def _exists(term: Term, context: Context) -> Term | None:
    query = term[2]
    if not _simple(query):
        return None
    left = term[1][1:] if term[1][0] == "tuple" else (term[1],)
    if len(left) != len(query.items):
        return None
    own = numbers_in(query.sources)
    padded = {one for outer in query.outers for one in numbers_in(outer)}
    if any(sources_of(item) & padded for item in query.items) and not own:
        return None
    equal = tuple(("=", *sorted((a, b), key=repr)) for a, b in zip(left, query.items, strict=True))
    return ("exists", query._replace(items=(ONE,), where=(*query.where, *equal), distinct="any", order=()))


def exists_to_join(block: Select, context: Context) -> Select:
    """EXISTS becomes a join where that cannot be told from the number of rows.

    Holds when the subquery has at most one row for each row around it, when repeats cannot be seen,
    or when the result has no two equal rows anyway, so that it may drop repeats.
    """
    for one in block.where:
        if one[0] != "exists" or not _simple(one[1]) or not one[1].sources:
            continue
        query = one[1]
        if any(source[0] == "self" for source in query.sources):
            continue
        rest = block._replace(where=tuple(part for part in block.where if part is not one))
        changed = rest._replace(
            sources=(*rest.sources, *query.sources),
            outers=(*rest.outers, *query.outers),
            where=(*rest.where, *query.where),
        )
        if blind_to_repeats(block) or Closure(query, (), context).one_row:
            return changed
        if not block.aggregated and block.limit is None and not block.extra and _unique(rest, context):
            return changed._replace(distinct=True)
    return block


def _unique(block: Select, context: Context) -> bool:
    return bool(block.sources) and Closure(block, block.items, context).one_row


def grouped_in_to_group(block: Select, context: Context) -> Select:
    """`t WHERE k IN (SELECT y FROM s GROUP BY y HAVING h)` is t JOIN s ON y = k GROUP BY k HAVING h.

    Holds when k is a key of everything the block reads, and the block neither groups nor drops repeats.
    """
    if block.aggregated or block.distinct is True or block.extra or block.having or block.outers:
        return block
    for one in block.where:
        if one[0] != "in" or not isinstance(one[2], Select):
            continue
        query = one[2]
        if query.limit is not None or query.offset is not None or query.extra or not query.group or query.outers:
            continue
        if one[1][0] != "column" or len(query.items) != 1 or query.group != query.items:
            continue
        if context.affinity(one[1]) != context.affinity(query.items[0]):
            continue
        if sources_of(query) - numbers_in(query.sources) - {-1} - _inner_numbers(query):
            continue
        rest = block._replace(where=tuple(part for part in block.where if part is not one))
        closure = Closure(rest, [one[1]], context)
        if not closure.one_row:
            continue
        return rest._replace(
            sources=(*rest.sources, *query.sources),
            where=(*rest.where, *query.where, ("=", *sorted((one[1], query.items[0]), key=repr))),
            group=(one[1],),
            having=query.having,
        )
    return block


def _inner_numbers(query: Select) -> set[int]:
    from ..terms import is_query, walk

    found: set[int] = set()
    for part in walk((query.where, query.having)):
        if is_query(part) and isinstance(part, Select):
            found |= numbers_in(part.sources) | {n for outer in part.outers for n in numbers_in(outer)}
    return found


def referenced(block: Select, number: int) -> bool:
    """Return whether any column of a source is read."""
    return any(column[1] == number for column in columns_of(block))
