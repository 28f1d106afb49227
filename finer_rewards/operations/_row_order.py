"""ORDER BY of a subquery: dropped where nobody can see it, kept where LIMIT or an aggregate reads the rows in order.

Standard SQL gives rows of a subquery no order, but SQLite, DuckDB and PostgreSQL keep it, and texts rely on that:
`SELECT name FROM (SELECT name FROM band ORDER BY fans) LIMIT 2`, or GROUP_CONCAT over a sorted subquery.
"""

from __future__ import annotations

from typing import Any

from .terms import Derived, Exists, Full, Outer, Scalar, Select, Term, remake, walk_here

__all__ = ["drop_unseen_order"]

# Aggregates that give one result for every order of their rows.
_ORDERLESS = frozenset({"count", "sum", "avg", "min", "max", "total"})


def drop_unseen_order(query: Term) -> Any:
    """Return the query without the sort keys that change nothing, not even by way of a LIMIT further out."""
    return _query(query, own=True, passed=False)


def _query(query: Any, own: bool, passed: bool) -> Any:
    """Return a query without unseen sort keys.

    Args:
        query: the query.
        own: whether its own ORDER BY is seen, LIMIT apart.
        passed: whether somebody sees in which order its rows come where it has no ORDER BY.
    """
    if isinstance(query, Select):
        return _select(query, own, passed)
    if query[0] == "recursive":
        return query  # the order in which rows are taken decides what comes next
    if query[0] != "setop":
        return query
    cut = query[4] is not None or query[5] is not None
    order = query[3] if own or cut else ()
    inner = not order and (passed or cut)
    branches = tuple(_query(branch, inner, inner) for branch in query[2])
    return remake(query, [*query[:2], branches, order, *query[4:]])


def _select(block: Select, own: bool, passed: bool) -> Select:
    cut = block.limit is not None or block.offset is not None or bool(block.extra)
    order = block.order if own or cut else ()
    inner = _reads_in_order(block) or (not order and (passed or cut))
    return block._replace(
        items=_terms(block.items),
        sources=tuple(_source(one, inner) for one in block.sources),
        outers=tuple(_outer(one, inner) for one in block.outers),
        where=_terms(block.where),
        group=block.group and _terms(block.group),
        having=_terms(block.having),
        order=_terms(order),
        limit=block.limit and _terms((block.limit,))[0],
        extra=_terms(block.extra),
    )


def _source(source: Any, seen: bool) -> Any:
    if source[0] == "derived":
        return Derived(source.label, _query(source.query, seen, seen))
    if source[0] == "full":
        sides = tuple(
            side._replace(
                sources=tuple(_source(one, seen) for one in side.sources),
                outers=tuple(_outer(one, seen) for one in side.outers),
            )
            for side in source[2:4]
        )
        return Full(source.label, *sides, source.where)
    return source


def _outer(outer: Outer, seen: bool) -> Outer:
    return outer._replace(
        sources=tuple(_source(one, seen) for one in outer.sources),
        outers=tuple(_outer(one, seen) for one in outer.outers),
        where=_terms(outer.where),
    )


def _terms(terms: tuple[Term, ...]) -> Any:
    """Return terms with the subqueries in them looked through."""
    return tuple(_term(one) for one in terms)


def _term(term: Any) -> Any:
    if not isinstance(term, tuple) or not term:
        return term
    if term[0] == "scalar":
        return Scalar(_query(term[1], own=True, passed=True))  # SQLite takes the first row
    if term[0] == "exists":
        return Exists(_query(term[1], own=False, passed=False))
    if term[0] in ("select", "setop", "values"):
        return _query(term, own=False, passed=False)
    parts = [_term(part) for part in term]
    return term if all(a is b for a, b in zip(parts, term, strict=True)) else remake(term, parts)


def _reads_in_order(block: Select) -> bool:
    """Return whether a block may compute something else when its rows come in another order."""
    terms = (*block.items, *block.having, *block.order)
    for term in terms:
        for part in walk_here(term):
            if part[0] == "aggregate" and part[1] not in _ORDERLESS:
                return True
            if part[0] == "window" and not part[3]:
                return True
    return block.aggregated and any(_bare_column(term, block.group or ()) for term in terms)


def _bare_column(term: Any, group: tuple[Term, ...]) -> bool:
    """Return whether a term reads a column of some row of a group, as SQLite lets it."""
    if (
        not isinstance(term, tuple)
        or not term
        or term in group
        or term[0] in ("aggregate", "scalar", "exists")
    ):
        return False
    if term[0] == "column":
        return True
    return any(_bare_column(part, group) for part in term)
