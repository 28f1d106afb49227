"""Subqueries in WHERE: IN as EXISTS, EXISTS as a join."""

from __future__ import annotations

from ..context import Context, numbers_in
from ..terms import (
    ONE,
    Aggregate,
    Column,
    Comparison,
    Connective,
    Derived,
    Exists,
    In,
    Not,
    Select,
    Term,
    Window,
    columns_of,
    contains,
    sources_of,
    substitute,
    walk,
)
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
    outers = tuple(
        one._replace(where=tuple(_rewrite(part, context) for part in one.where)) for one in block.outers
    )
    if where == block.where and outers == block.outers:
        return block
    return block._replace(where=where, outers=outers)


def _rewrite(term: Term, context: Context) -> Term:
    if term[0] == "or":
        return Connective("or", *(_rewrite(part, context) for part in term[1:]))
    if term[0] == "and":
        return Connective("and", *(_rewrite(part, context) for part in term[1:]))
    if term[0] == "not" and term[1][0] == "in":
        inner = _exists(term[1], context)
        known = (inner is not None and context.loose) or (
            inner is not None and all(context.not_null(part) for pair in _pairs(term[1]) for part in pair)
        )
        return Not(inner) if known else term
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
    if len(left) != len(query.items) or any(map(context.collation, (*left, *query.items))):
        return None
    own = numbers_in(query.sources)
    padded = {one for outer in query.outers for one in numbers_in(outer)}
    if any(sources_of(item) & padded for item in query.items) and not own:
        return None
    equal = tuple(Comparison("=", *sorted((a, b), key=repr)) for a, b in zip(left, query.items, strict=True))
    return Exists(query._replace(items=(ONE,), where=(*query.where, *equal), distinct="any", order=()))


_MOST_JOINED = 30  # tables; beyond, what a join costs the other rules grows with its square


def exists_to_join(block: Select, context: Context) -> Select:
    """EXISTS becomes a join where that cannot be told from the number of rows.

    Holds when the subquery has at most one row for each row around it, when repeats cannot be seen,
    or when the result has no two equal rows anyway, so that it may drop repeats.
    """
    if len(block.sources) >= _MOST_JOINED:
        return block
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
        if context.loose or blind_to_repeats(block) or Closure(query, (), context).one_row:
            return changed
        if not block.aggregated and block.limit is None and not block.extra and _unique(rest, context):
            return changed._replace(distinct=True)
    return block


def _unique(block: Select, context: Context) -> bool:
    return bool(block.sources) and Closure(block, block.items, context).one_row


def grouped_in_to_derived(block: Select, context: Context) -> Select:
    """`x IN (SELECT y ... GROUP BY y ...)` is a join with that query on y = x: it has each y once."""
    for one in block.where:
        if one[0] != "in" or not isinstance(one[2], Select):
            continue
        query = one[2]
        if query.limit is not None or query.offset is not None or query.extra or not query.group:
            continue
        if len(query.items) != 1 or query.group != query.items or one[1][0] == "tuple" or _correlated(query):
            continue
        number = context.fresh()
        column: Term = Column(number, 0)
        return block._replace(
            sources=(*block.sources, Derived(number, query._replace(distinct=False))),
            where=(*(part for part in block.where if part is not one), Comparison("=", one[1], column)),
        )
    return block


def _correlated(query: Select) -> bool:
    return bool(sources_of(query) - inner_numbers(query) - {-1})


def scalar_to_in(block: Select, context: Context) -> Select:
    """`x = (SELECT y ...)` is `x IN (SELECT y ...)` where the subquery cannot give several rows.

    Holds when a key leaves one row, and in dialects that refuse a scalar subquery of several rows.
    """
    where = tuple(_in_for_scalar(one, context) for one in block.where)
    return block if where == block.where else block._replace(where=where)


def _in_for_scalar(term: Term, context: Context) -> Term:
    if term[0] != "=":
        return term
    for left, right in ((term[1], term[2]), (term[2], term[1])):
        if right[0] == "scalar" and isinstance(right[1], Select) and left[0] != "scalar":
            query = right[1]
            if not _simple(query):
                continue
            if context.loose or context.facts.dialect != "sqlite" or Closure(query, (), context).one_row:
                return In(left, query)
    return term


def merge_grouped_derived(block: Select, context: Context) -> Select:
    """`t JOIN (SELECT y, f(..) FROM s GROUP BY y HAVING h) d ON d.y = k` is t JOIN s ON y = k GROUP BY k HAVING h.

    Holds when k is a key of everything else the block reads, so that each group meets one row of it,
    and the block itself neither groups nor drops repeats.
    """
    if block.aggregated or block.distinct is True or block.extra or block.outers:
        return block
    for source in block.sources:
        query = source[2] if source[0] == "derived" else None
        if (
            not isinstance(query, Select)
            or not query.group
            or query.outers
            or query.extra
            or query.distinct is True
        ):
            continue
        if query.limit is not None or query.offset is not None or not set(query.group) <= set(query.items):
            continue
        if any(contains(item, Window) for item in query.items):
            continue
        number = source[1]
        places = {key: Column(number, query.items.index(key)) for key in query.group}
        links = {key: _partner(place, block.where) for key, place in places.items()}
        if any(link is None or link[1][0] != "column" for link in links.values()):
            continue
        if not all(context.same_kind(key, link[1]) for key, link in links.items() if link is not None):
            continue
        used = [link[0] for link in links.values() if link is not None]
        rest = block._replace(
            sources=tuple(one for one in block.sources if one is not source),
            where=tuple(one for one in block.where if one not in used),
        )
        partners = [link[1] for link in links.values() if link is not None]
        alone = rest._replace(where=tuple(one for one in rest.where if number not in sources_of(one)))
        if not rest.sources or not Closure(alone, partners, context).one_row:
            continue
        mapping = {Column(number, place): item for place, item in enumerate(query.items)}
        having = [one for one in rest.where if _over_groups(one, mapping)]
        rest = rest._replace(where=tuple(one for one in rest.where if one not in having))
        changed: Select = substitute(rest, mapping)
        keys = tuple(
            Comparison("=", *sorted((key, link[1]), key=repr))
            for key, link in links.items()
            if link is not None
        )
        return changed._replace(
            sources=(*changed.sources, *query.sources),
            where=(*changed.where, *query.where, *keys),
            group=tuple(dict.fromkeys(partners)),
            having=(*query.having, *(substitute(one, mapping) for one in having)),
        )
    return block


def _partner(column: Term, where: tuple[Term, ...]) -> tuple[Term, Term] | None:
    """Return the condition that equates a column with something, and that something."""
    for one in where:
        if one[0] == "=" and column in one[1:]:
            return one, one[2] if one[1] == column else one[1]
    return None


def _over_groups(term: Term, mapping: dict[Term, Term]) -> bool:
    return any(contains(mapping[column], Aggregate) for column in columns_of(term) if column in mapping)


def inner_numbers(query: Term) -> set[int]:
    """Return the numbers of all sources of a query, those of its subqueries included."""
    return {
        part[1]
        for part in walk(query)
        if len(part) > 2
        and part[0] in ("table", "derived", "function", "self", "full")
        and isinstance(part[1], int)
    }
