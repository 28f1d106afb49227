"""Rewrites that hold but for NULLs, ties and repeats.

They never decide whether two queries are equal: what they make is emitted beside the sound form, so that
a query that is nearly right shares most of its operations with the gold.
"""

from __future__ import annotations

from typing import Any

from ..context import Context
from ..predicates import is_truth, truth
from ..terms import (
    COUNT_ALL,
    NULL,
    ONE,
    Aggregate,
    Case,
    Comparison,
    Number,
    Select,
    SortKey,
    Term,
    computes_over_rows,
)
from .grouping import change_aggregates


def count_rows(block: Select, context: Context) -> Select:
    """COUNT(x) and COUNT(DISTINCT x) count rows; SUM of a condition counts those where it holds."""

    def change(term: Term) -> Any:
        if term[1] == "count" and term[3][0] == "column":
            return COUNT_ALL
        condition = summed_condition(term)
        return term if condition is None else Aggregate("count", False, Case([(condition, ONE)], NULL))

    return change_aggregates(block, change)


def summed_condition(term: Term) -> Term | None:
    """Return the condition of SUM(p) and SUM(CASE WHEN p THEN 1 ELSE 0 END)."""
    if term[1] != "sum" or term[2] or len(term) != 4:
        return None
    inner = term[3]
    if is_truth(inner):
        found: Term = inner
        return found
    if inner[0] == "case" and len(inner) == 4 and inner[2:] == (ONE, Number("0")):
        return truth(inner[1])
    return None


def extreme_to_first(block: Select, context: Context) -> Select:
    """`x = (SELECT MAX(x) ...)` is ORDER BY x DESC LIMIT 1."""
    if block.order or block.limit is not None or block.aggregated:
        return block
    for one in block.where:
        if one[0] != "=":
            continue
        for left, right in ((one[1], one[2]), (one[2], one[1])):
            key = _extreme(right)
            if key is None or left[0] != "column" or left[2] != key[1][2]:
                continue
            rest = block._replace(where=tuple(part for part in block.where if part is not one))
            return rest._replace(order=(SortKey(key[0], left),), limit=ONE)
    return block


def _extreme(term: Term) -> Term | None:
    """Return the sort key that puts the row of a MIN or MAX subquery first."""
    if term[0] != "scalar" or not isinstance(term[1], Select):
        return None
    query = term[1]
    if len(query.items) != 1 or query.group is not None or query.having or query.limit is not None:
        return None
    item = query.items[0]
    if item[0] != "aggregate" or item[1] not in ("min", "max") or len(item) != 4 or item[3][0] != "column":
        return None
    return SortKey("asc" if item[1] == "min" else "desc", item[3])


def first_of_subquery(block: Select, context: Context) -> Select:
    """`x = (SELECT y FROM s ORDER BY k LIMIT 1)` is a join with s on y = x ORDER BY k LIMIT 1."""
    if block.order or block.limit is not None or block.group is not None:
        return block
    for one in block.where:
        if one[0] not in ("=", "in"):
            continue
        query = one[2][1] if one[2][0] == "scalar" else one[2]
        if not isinstance(query, Select) or query.limit != ONE or len(query.items) != 1 or query.outers:
            continue
        if query.distinct is True or computes_over_rows(query.items[0]) or query.extra or query.offset:
            continue
        if query.group is not None and (block.aggregated or query.group != query.items):
            continue
        rest = block._replace(where=tuple(part for part in block.where if part is not one))
        return rest._replace(
            sources=(*rest.sources, *query.sources),
            where=(*rest.where, *query.where, Comparison("=", one[1], query.items[0])),
            group=(one[1],) if query.group is not None else None,
            having=query.having,
            order=query.order,
            limit=ONE,
        )
    return block
