"""What asks for no more than is there anyway: rows that no aggregate counts, a row that finds itself."""

from __future__ import annotations

from typing import TypeGuard

from ..context import Context
from ..terms import (
    COUNT_ALL,
    NULL,
    ONE,
    Aggregate,
    Arithmetic,
    Cast,
    Column,
    Comparison,
    Exists,
    Negative,
    Select,
    Table,
    Term,
    columns_of,
    substitute,
    walk_here,
)
from .grouping import change_aggregates
from .subqueries import _simple as simple

_SKIP_NULLS = frozenset({"count", "sum", "total", "avg", "min", "max", "group_concat"})


def drop_unseen_nulls(block: Select, context: Context) -> Select:
    """`WHERE x IS NOT NULL` is dropped where every aggregate skips a row whose x is NULL; COUNT(*) is COUNT(x) then.

    Holds without GROUP BY, when columns are read inside of aggregates alone. Where rows are counted and nothing else,
    the condition stays: COUNT(x) is COUNT(*) there.
    """
    wanted = [one for one in block.where if _asks_for_a_value(one)]
    if block.group is not None or block.extra or not wanted:
        return block
    aggregates = {
        part for part in walk_here((block.items, block.having, block.order)) if isinstance(part, Aggregate)
    }
    alone = change_aggregates(block, lambda term: ONE)
    if columns_of((alone.items, alone.having, alone.order)):
        return block
    for one in wanted:
        counted = Aggregate("count", False, one.left)
        others = aggregates - {COUNT_ALL, counted}
        if others and all(_skips(part, one.left) for part in others):
            rest = block._replace(where=tuple(other for other in block.where if other is not one))
            return change_aggregates(rest, lambda term: counted if term == COUNT_ALL else term)  # noqa: B023
    return block


def _asks_for_a_value(condition: Term) -> TypeGuard[Comparison]:
    return (
        isinstance(condition, Comparison)
        and condition.head == "is not"
        and condition.right == NULL
        and isinstance(condition.left, Column)
    )


def _skips(aggregate: Aggregate, column: Term) -> bool:
    """Return whether an aggregate takes no notice of a row where a column is NULL."""
    return aggregate.name in _SKIP_NULLS and _null_with(aggregate.arguments[0], column)


def _null_with(term: Term, column: Term) -> bool:
    """Return whether a term is NULL where a column is."""
    if isinstance(term, Arithmetic):
        return _null_with(term.left, column) or _null_with(term.right, column)
    if isinstance(term, Negative | Cast):
        return _null_with(term.operand, column)
    return term == column


def exists_of_itself(block: Select, context: Context) -> Select:
    """`EXISTS (SELECT 1 FROM t u WHERE u.x = t.x AND p(u.x))` for a row of t is `t.x IS NOT NULL AND p(t.x)`.

    The row itself is one that is found. Holds where equal values are the same value and the subquery reads
    no column of its own that it does not equate.
    """
    for one in block.where:
        query = one.query if isinstance(one, Exists) else None
        if not isinstance(query, Select) or not simple(query) or query.outers or len(query.sources) != 1:
            continue
        (inner,) = query.sources
        if not isinstance(inner, Table) or inner.options:
            continue
        for outer in block.sources:
            if isinstance(outer, Table) and outer.name == inner.name and not outer.options:
                found = _on_the_row(query.where, inner, outer, context)
                if found is not None:
                    where = (part for other in block.where for part in (found if other is one else (other,)))
                    return block._replace(where=tuple(dict.fromkeys(where)))
    return block


def _on_the_row(
    where: tuple[Term, ...], inner: Table, outer: Table, context: Context
) -> tuple[Term, ...] | None:
    """Return the conditions of a reading of a table as those on another reading; `None` where they say more."""
    image = {
        column: Column(outer.label, column.name, *column.options)
        for column in columns_of(where)
        if column.source == inner.label
    }
    links: dict[Column, Term] = {}
    for one in where:
        if isinstance(one, Comparison) and one.head in ("=", "is"):
            for column, other in ((one.left, one.right), (one.right, one.left)):
                if isinstance(column, Column) and image.get(column) == other:
                    links[column] = one
    if links.keys() != image.keys() or not all(context.same_kind(*pair) for pair in image.items()):
        return None
    present = [
        Comparison("is not", image[column], NULL)
        for column, one in links.items()
        if one.head == "=" and not context.not_null(image[column])
    ]
    rest = [substitute(one, image) for one in where if one not in links.values()]
    return (*present, *rest)
