"""ORDER BY of a subquery: dropped where nobody can see it, kept where LIMIT or an aggregate reads the rows in order.

Standard SQL gives rows of a subquery no order, but SQLite, DuckDB and PostgreSQL keep it, and texts rely on that:
`SELECT name FROM (SELECT name FROM band ORDER BY fans) LIMIT 2`, or GROUP_CONCAT over a sorted subquery.
"""

from __future__ import annotations

from typing import Any

from .leaves import Column
from .operators import Aggregate, Exists, Scalar, Window
from .terms import (
    CLOSED,
    QUERIES,
    Derived,
    Full,
    Group,
    Outer,
    Query,
    Recursive,
    Select,
    SetOperation,
    Source,
    Term,
    is_cut,
)
from .walks import T, remake, walk_here

# Aggregates that give one result for every order of their rows.
_ORDERLESS = frozenset({"count", "sum", "avg", "min", "max", "total"})


def drop_unseen_order(query: Query) -> Query:
    """Return the query without the sort keys that change nothing, not even by way of a LIMIT further out."""
    return _query(query, own=True, passed=False)


def _query(query: Query, own: bool, passed: bool) -> Query:
    """Return a query without unseen sort keys.

    Args:
        query: the query.
        own: whether its own ORDER BY is seen, LIMIT apart.
        passed: whether somebody sees in which order its rows come where it has no ORDER BY.
    """
    if isinstance(query, Select):
        return _select(query, own, passed)
    if not isinstance(query, SetOperation):
        return query
    cut = is_cut(query)
    order = query.order if own or cut else ()
    inner = not order and (passed or cut)
    branches = tuple(_query(branch, inner, inner) for branch in query.branches)
    return SetOperation(query.operator, branches, order, query.limit, query.offset, *query.extra)


def _select(block: Select, own: bool, passed: bool) -> Select:
    cut = is_cut(block) or bool(block.extra)
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
        limit=_term(block.limit),
        extra=_terms(block.extra),
    )


def _source(source: Source, seen: bool) -> Source:
    if isinstance(source, Derived):
        if isinstance(source.query, Recursive):
            # The order in which a recursive query takes rows decides what comes next.
            return source
        return Derived(source.label, _query(source.query, seen, seen))
    if isinstance(source, Full):
        return Full(source.label, _side(source.left, seen), _side(source.right, seen), source.where)
    return source


def _side(side: Group, seen: bool) -> Group:
    return side._replace(
        sources=tuple(_source(one, seen) for one in side.sources),
        outers=tuple(_outer(one, seen) for one in side.outers),
    )


def _outer(outer: Outer, seen: bool) -> Outer:
    return outer._replace(
        sources=tuple(_source(one, seen) for one in outer.sources),
        outers=tuple(_outer(one, seen) for one in outer.outers),
        where=_terms(outer.where),
    )


def _terms(terms: tuple[T, ...]) -> tuple[T, ...]:
    """Return terms with the subqueries in them looked through."""
    return tuple([_term(one) for one in terms])


def _term(term: Any) -> Any:
    kind = term.__class__
    if kind in CLOSED:
        return term
    if kind is Scalar:
        # SQLite takes the first row of a scalar subquery.
        return Scalar(_query(term.query, own=True, passed=True))
    if kind is Exists:
        return Exists(_query(term.query, own=False, passed=False))
    if kind in QUERIES:
        return _query(term, own=False, passed=False)
    parts = [_term(part) for part in term]
    return term if all(a is b for a, b in zip(parts, term, strict=True)) else remake(term, parts)


def _reads_in_order(block: Select) -> bool:
    """Return whether a block may compute something else when its rows come in another order."""
    terms = (*block.items, *block.having, *block.order)
    for term in terms:
        for part in walk_here(term):
            if isinstance(part, Aggregate) and part.name not in _ORDERLESS:
                return True
            if isinstance(part, Window) and not part.order:
                return True
    return block.aggregated and any(_bare_column(term, block.group or ()) for term in terms)


def _bare_column(term: object, group: tuple[Term, ...]) -> bool:
    """Return whether a term reads a column of some row of a group, as SQLite lets it."""
    if not isinstance(term, tuple) or term in group or isinstance(term, (Aggregate, Scalar, Exists)):
        return False
    return isinstance(term, Column) or any(_bare_column(part, group) for part in term)
