"""Rewrites that hold but for NULLs, ties and repeats.

They never decide whether two queries are equal: what they make is emitted beside the sound form, so that
a query that is nearly right shares most of its operations with the gold.
"""

from __future__ import annotations

from itertools import product

from .._truth import is_truth, truth
from ..context import Context
from ..leaves import NULL, ONE, Column
from ..operators import COUNT_ALL, Aggregate, Case, Comparison, Exists, In, Not, Scalar, SortKey
from ..predicates import negate
from ..terms import Select, Table, Term, computes_over_rows, is_cut
from ..walks import conjunction
from ._shared import both_ways, equalities, is_equality, table_readings, without
from .grouping import ZERO, change_aggregates, only_argument
from .readings import read_from
from .subqueries import only_joins_and_filters


def count_rows(block: Select, context: Context) -> Select:
    """COUNT(x) and COUNT(DISTINCT x) are COUNT(*), SUM(p) is COUNT(CASE WHEN p THEN 1 END), and SUM loses ELSE 0.

    Loose: rows whose x is NULL or repeated count too, and a SUM over no rows is NULL where a COUNT is 0.
    """

    def change(term: Aggregate) -> Aggregate:
        if counts_column(term):
            return COUNT_ALL
        condition = summed_condition(term)
        if condition is None:
            return sum_without_zero(term) or term
        return Aggregate("count", False, Case([(condition, ONE)], NULL))

    return change_aggregates(block, change)


def counts_column(term: Aggregate) -> bool:
    """Return whether a term is COUNT of a column."""
    return term.name == "count" and isinstance(next(iter(term.arguments), None), Column)


def summed_condition(term: Aggregate) -> Term | None:
    """Return the condition of SUM(p) and SUM(CASE WHEN p THEN 1 ELSE 0 END)."""
    inner = only_argument(term)
    if inner is None or term.name != "sum" or term.distinct:
        return None
    if is_truth(inner):
        return inner
    if isinstance(inner, Case) and inner.otherwise == ZERO and len(inner.branches) == 1:
        [(when, then)] = inner.branches
        return truth(when) if then == ONE else None
    return None


def sum_without_zero(term: Aggregate) -> Aggregate | None:
    """Return SUM(CASE WHEN p THEN x END) for SUM(CASE WHEN p THEN x ELSE 0 END); `None` for other terms."""
    inner = only_argument(term)
    if term.name != "sum" or not isinstance(inner, Case) or inner.otherwise != ZERO:
        return None
    return Aggregate("sum", term.distinct, Case(inner.branches, NULL))


def complement_of_groups(block: Select, context: Context) -> Select:
    """`k NOT IN (SELECT k ... GROUP BY k HAVING h)` is `k IN (SELECT k ... GROUP BY k HAVING NOT h)`.

    Loose: a k of which the subquery has no group at all is let through by the first alone.
    """
    where = tuple(_complement(condition, context) for condition in block.where)
    return block if where == block.where else block._replace(where=where)


def _complement(condition: Term, context: Context) -> Term:
    if not isinstance(condition, Not) or not isinstance(condition.operand, In):
        return condition
    left, query = condition.operand.left, condition.operand.right
    if not isinstance(query, Select) or not query.having or query.group != query.items or is_cut(query):
        return condition
    others = negate(conjunction(query.having), context)
    return In(left, query._replace(having=(others,)))


def absent_itself(block: Select, context: Context) -> Select:
    """`NOT EXISTS (SELECT 1 FROM t u, s WHERE u.x = t.x AND ...)` asks of the row of t itself, as if x were a key."""
    where = tuple(_of_the_row(condition, block, context) for condition in block.where)
    return block if where == block.where else block._replace(where=where)


def _of_the_row(condition: Term, block: Select, context: Context) -> Term:
    exists = condition.operand if isinstance(condition, Not) else None
    query = exists.query if isinstance(exists, Exists) else None
    if not only_joins_and_filters(query) or len(query.sources) < 2:
        return condition
    for inner, outer in product(table_readings(query.sources), table_readings(block.sources)):
        if inner.name == outer.name and any(_links(one, inner, outer) for one in query.where):
            return Not(Exists(read_from(inner, outer.label, query, context)))
    return condition


def _links(condition: Term, inner: Table, outer: Table) -> bool:
    """Return whether a condition is that two readings of a table agree on a column."""
    if not isinstance(condition, Comparison) or condition.head not in ("=", "is"):
        return False
    return any(
        isinstance(column, Column) and column.source == inner.label and column.of_source(outer.label) == other
        for column, other in both_ways(condition)
    )


def extreme_to_first(block: Select, context: Context) -> Select:
    """`x = (SELECT MAX(x) ...)` is ORDER BY x DESC LIMIT 1, and with MIN ASC.

    Loose: of several rows with that value one is left, and what the subquery reads and asks for does not count.
    """
    if block.order or block.limit is not None or block.aggregated:
        return block
    for condition in equalities(block.where):
        for column, other in both_ways(condition):
            extreme = _extreme(other)
            if extreme is None or not isinstance(column, Column):
                continue
            direction, name = extreme
            if column.name == name:
                rest = block._replace(where=without(block.where, condition))
                return rest._replace(order=(SortKey(direction, column),), limit=ONE)
    return block


def _extreme(term: Term) -> tuple[str, object] | None:
    """Return the direction and the column that put the row of a MIN or MAX subquery first."""
    query = term.query if isinstance(term, Scalar) else None
    if not isinstance(query, Select) or len(query.items) != 1:
        return None
    if query.group is not None or query.having or query.limit is not None:
        return None
    item = query.items[0]
    if not isinstance(item, Aggregate) or item.name not in _DIRECTIONS:
        return None
    column = only_argument(item)
    return (_DIRECTIONS[item.name], column.name) if isinstance(column, Column) else None


_DIRECTIONS = {"min": "asc", "max": "desc"}


def first_of_subquery(block: Select, context: Context) -> Select:
    """`x = (SELECT y FROM s ORDER BY k LIMIT 1)` is a join with s on y = x ORDER BY k LIMIT 1.

    Loose: of several rows with that value one is left.
    """
    if block.order or block.limit is not None or block.group is not None:
        return block
    for condition in block.where:
        if not is_equality(condition) and not isinstance(condition, In):
            continue
        query, sought = _subquery(condition.right), condition.left
        if query is None or not _takes_one_row(query):
            continue
        if query.group is not None and (block.aggregated or query.group != query.items):
            continue
        rest = block._replace(where=without(block.where, condition))
        return rest._replace(
            sources=(*rest.sources, *query.sources),
            where=(*rest.where, *query.where, Comparison("=", sought, *query.items)),
            group=(sought,) if query.group is not None else None,
            having=query.having,
            order=query.order,
            limit=ONE,
        )
    return block


def _subquery(term: Term) -> Select | None:
    """Return the block that a term asks for values."""
    query = term.query if isinstance(term, Scalar) else term
    return query if isinstance(query, Select) else None


def _takes_one_row(query: Select) -> bool:
    """Return whether a query shows one item of the first row or group."""
    if query.limit != ONE or query.offset or query.outers or query.extra or query.distinct is True:
        return False
    return len(query.items) == 1 and not computes_over_rows(query.items)
