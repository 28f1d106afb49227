"""The rule on aggregates of one FROM clause that stand in subqueries of their own, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..context import Context, numbers_in
from ..leaves import NULL, ONE
from ..operators import COUNT_ALL, Aggregate, Case, Scalar
from ..terms import LEAVES, QUERIES, Select, Term, contains
from ..walks import columns_of, conjunction, remake, sources_of, substitute, walk, walk_here
from ._shared import equality, is_equality
from .grouping import change_aggregates, only_argument
from .sets import columns_as_in
from .subqueries import inner_labels, only_joins_and_filters
from .unseen import SKIP_NULLS


def join_folded_subqueries(block: Select, context: Context) -> Select:
    """`SELECT (SELECT COUNT(*) FROM t WHERE p) - (SELECT COUNT(*) FROM t WHERE q)` is one reading of t.

    It is `SELECT COUNT(CASE WHEN p THEN 1 END) - COUNT(CASE WHEN q THEN 1 END) FROM t`; what both ask stays in WHERE.
    Holds for a block without FROM, or one that is folded as a whole itself, and for aggregates that skip NULLs.
    """
    summed = _summed(block) if context.loose else block
    joined = _join(summed, context)
    return block if joined is summed else joined


def _summed(block: Select) -> Select:
    """Return a block that computes with one row and with that of a subquery as if it added up the rows it reads."""
    scalars = [part for part in walk_here(block.items) if isinstance(part, Scalar)]
    if not (block.plain and block.where and all(contains(item, Scalar) for item in block.items)):
        return block
    if not all(isinstance(one.query, Select) and one.query.plain for one in scalars):
        return block
    own = columns_of(_put(block.items, dict.fromkeys(scalars, ONE)))
    return block._replace(
        items=substitute(block.items, {column: Aggregate("sum", False, column) for column in own})
    )


def _join(block: Select, context: Context) -> Select:
    """Return a block with the subqueries of its items that fold rows of one FROM clause as one reading of it."""
    scalars = [part for part in walk_here(block.items) if isinstance(part, Scalar)]
    own = block._replace(items=_put(block.items, dict.fromkeys(scalars, ONE)))
    takes_part = bool(own.sources) and not _shows_nothing_of_its_own(own, context)
    if not scalars or not (_folds_all_rows(own, context) if takes_part else _is_one_row(own, context)):
        return block
    folded = {
        one: query
        for one in scalars
        if (query := _folded(one.query, takes_part or len(scalars) > 1, context))
    }
    if not folded or not sources_of(scalars).isdisjoint(numbers_in(block.sources)):
        return block
    frame = own if takes_part else next(iter(folded.values()))
    same = {one: _as_in(frame, query) for one, query in folded.items()}
    alike = {one: query for one, query in same.items() if query is not None}
    if not alike or not (takes_part or len(alike) == len(set(scalars))):
        return block
    asked = [query.where for query in alike.values()] + ([block.where] if takes_part else [])
    common = tuple(one for one in asked[0] if all(one in where for where in asked))
    items = _only_where(block, common).items if takes_part else block.items
    values = {one: _only_where(query, common).items[0] for one, query in alike.items()}
    one_row = block._replace(order=(), limit=None, offset=None)
    return one_row._replace(items=_put(items, values), sources=frame.sources, where=common)


def _folded(query: Any, several: bool, context: Context) -> Select | None:
    """Return a subquery that folds all rows it reads; loosely, one of several that show one row is the sum of it."""
    if not isinstance(query, Select) or not sources_of(query) <= inner_labels(query):
        return None
    if context.loose and several and query.plain:
        query = query._replace(items=(Aggregate("sum", False, *query.items),))
    return query if _folds_all_rows(query, context) else None


def _folds_all_rows(block: Select, context: Context) -> bool:
    """Return whether a block is one row of aggregates that take no notice of rows where their argument is NULL."""
    if not only_joins_and_filters(block._replace(items=())) or block.outers or block.order:
        return False
    if any(isinstance(part, QUERIES) for part in walk(block.where)):
        # Such conditions may become joins.
        return False
    aggregates = [part for part in walk_here(block.items) if isinstance(part, Aggregate)]
    alone = change_aggregates(block, lambda term: ONE)
    return (
        bool(aggregates) and not columns_of(alone.items) and all(_skips(one, context) for one in aggregates)
    )


def _skips(aggregate: Aggregate, context: Context) -> bool:
    argument = only_argument(aggregate)
    if aggregate == COUNT_ALL:
        return True
    skips = aggregate.name in SKIP_NULLS and aggregate.name != "group_concat"
    return skips and argument is not None and not context.collation(argument)


def _shows_nothing_of_its_own(block: Select, context: Context) -> bool:
    """Return whether a block, loosely, is one row: it shows nothing of the rows that it reads, if often."""
    own = numbers_in(block.sources)
    return context.loose and not block.aggregated and sources_of(block.items).isdisjoint(own)


def _is_one_row(block: Select, context: Context) -> bool:
    """Return whether a block without FROM is one row; loosely, whatever sorts and cuts it."""
    whole = not (block.group or block.having or block.outers or block.where or block.extra)
    return whole and (context.loose or (only_joins_and_filters(block) and not block.order))


def _as_in(frame: Select, query: Select) -> Select | None:
    """Return a block of the same tables in the labels of another; `None` where the tables differ."""
    columns = columns_as_in(frame, query)
    if columns is None:
        return None
    where = tuple(
        equality(one.left, one.right) if is_equality(one) else one for one in substitute(query.where, columns)
    )
    return query._replace(items=substitute(query.items, columns), sources=frame.sources, where=where)


def _only_where(block: Select, common: tuple[Term, ...]) -> Select:
    """Return a block with the conditions that are not common to all in its aggregates."""
    when = conjunction(tuple(one for one in block.where if one not in common))

    def change(term: Aggregate) -> Aggregate:
        then = ONE if term == COUNT_ALL else term.arguments[0]
        return Aggregate(term.name, term.distinct, Case([(when, then)], NULL))

    return block if set(block.where) <= set(common) else change_aggregates(block, change)


def _put(term: Any, values: Mapping[Any, Term]) -> Any:
    """Return a term with some of its subqueries replaced, but not those in other subqueries."""
    if isinstance(term, Scalar) and term in values:
        return values[term]
    if not isinstance(term, tuple) or term.__class__ in LEAVES or isinstance(term, QUERIES):
        return term
    return remake(term, [_put(part, values) for part in term])
