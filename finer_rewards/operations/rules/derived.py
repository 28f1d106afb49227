"""Rules on the derived tables that `blocks.merge_derived` cannot merge.

Some group or remove repeats, some are wrapped in a block that adds little, some have columns that nobody reads.
"""

from __future__ import annotations

from typing import TypeGuard

from ..context import Context, numbers_in
from ..leaves import CONSTANTS, ONE, Column, Label
from ..operators import Aggregate, Call, Exists, In, Scalar, Window
from ..terms import Derived, Query, Select, SetOperation, Term, computes_over_rows, contains, is_cut
from ..walks import columns_of, substitute
from ._shared import (
    any_row,
    both_ways,
    derived_blocks,
    equalities,
    equality,
    is_equality,
    items_behind,
    reads_one_derived_table,
    shown_terms,
    shows_all_columns,
    without,
)
from .blocks import grows_too_large, mergeable, split
from .subqueries import only_joins_and_filters


def unwrap(block: Select, context: Context) -> Query:
    """Return the query inside a block that only renames, filters, sorts or cuts it.

    Holds when the block reads one derived table and does not group or aggregate itself: a filter on groups is a
    HAVING, and a projection of a grouped query is a grouped query. It may remove repeats around a SELECT without
    LIMIT.
    """
    source = block.sources[0] if reads_one_derived_table(block) else None
    if not isinstance(source, Derived) or _groups(block):
        return block
    inner = source.query
    if isinstance(inner, SetOperation):
        return _unwrap_set_operation(block, source.label, inner)
    if not isinstance(inner, Select) or inner.extra or shows_all_columns(inner):
        return block
    if inner.distinct is True:
        return _reorder_distinct(block, source.label, inner)
    return _unwrap_block(block, source.label, inner)


def _groups(block: Select) -> bool:
    """Return whether a block groups, aggregates or has window functions, or has a clause that cannot move."""
    return (
        block.group is not None or bool(block.having or block.extra) or computes_over_rows(shown_terms(block))
    )


def _takes_all_rows(block: Select) -> bool:
    """Return whether a block shows every row it reads, in the order in which they come."""
    return not (block.where or block.order or block.limit or block.offset)


def _unwrap_set_operation(block: Select, label: Label, operation: SetOperation) -> Query:
    """A block over a set operation moves into its branches, or is dropped if it shows all columns in their order."""
    pushed = _push_into_union(block, label, operation)
    if pushed is not None:
        return pushed
    in_place = tuple(Column(label, place) for place in range(_width(operation)))
    if block.items == in_place and _takes_all_rows(block) and block.distinct is not True:
        return operation
    return block


def _push_into_union(block: Select, label: Label, operation: SetOperation) -> Query | None:
    """A projection and a filter of UNION ALL are those of its branches. Holds without ORDER BY and LIMIT."""
    if operation.operator != "union all" or operation.order or is_cut(operation) or operation.extra:
        return None
    if block.order or is_cut(block) or block.distinct is True:
        return None
    pushed = []
    for branch in operation.branches:
        # Columns that are not known may be in another order in the other branches.
        if not mergeable(branch) or shows_all_columns(branch):
            return None
        behind = items_behind(label, branch)
        where = split((*branch.where, *substitute(block.where, behind)))
        pushed.append(branch._replace(items=substitute(block.items, behind), where=where))
    return SetOperation("union all", tuple(pushed), (), None, None)


def _width(query: Query) -> int:
    """Return how many columns a query has; 0 where that is not known."""
    while isinstance(query, SetOperation):
        query = query.branches[0]
    return len(query.items) if isinstance(query, Select) else 0


def _reorder_distinct(block: Select, label: Label, inner: Select) -> Select:
    """All columns of SELECT DISTINCT in another order are SELECT DISTINCT with its items in that order."""
    behind = items_behind(label, inner)
    permuted = len(block.items) == len(behind) and set(block.items) == behind.keys()
    if not permuted or not _takes_all_rows(block):
        return block
    return inner._replace(items=substitute(block.items, behind), distinct=block.distinct or True)


def _unwrap_block(block: Select, label: Label, inner: Select) -> Select:
    """Return the inner block with the items, filter, order and LIMIT of the one around it, where it can take them."""
    if contains(inner.items, Window):
        return block
    if is_cut(inner) and not (_takes_all_rows(block) and block.distinct is not True):
        return block
    filters_rows = block.where and not inner.aggregated
    if filters_rows or grows_too_large(label, inner, block):
        return block
    behind = items_behind(label, inner)
    having = substitute(block.where, behind)
    if contains(having, Exists, In, Scalar):
        return block
    return inner._replace(
        items=substitute(block.items, behind),
        having=(*inner.having, *having),
        distinct=block.distinct if inner.distinct is False or block.distinct is True else inner.distinct,
        order=substitute(block.order, behind) or inner.order,
        # One of the two has no LIMIT and no OFFSET.
        limit=inner.limit if is_cut(inner) else block.limit,
        offset=inner.offset if is_cut(inner) else block.offset,
    )


def one_row_to_scalar(block: Select, context: Context) -> Select:
    """A joined derived table of exactly one row is a scalar subquery wherever it is read.

    Holds for an aggregate without GROUP BY and HAVING, inner-joined to something else.
    """
    if len(block.sources) < 2:
        return block
    for source, query in derived_blocks(block.sources):
        if not _has_exactly_one_row(query):
            continue
        single = query._replace(order=(), distinct=False)
        scalars = {
            column: Scalar(single._replace(items=(item,)))
            for column, item in items_behind(source.label, query).items()
        }
        return substitute(block._replace(sources=without(block.sources, source)), scalars)
    return block


def distinct_to_exists(block: Select, context: Context) -> Select:
    """`t JOIN (SELECT DISTINCT y FROM s WHERE p) d ON d.y = t.x` asks for a row: EXISTS (... p AND y = t.x).

    Holds where each column of the derived table equals one beside it, and equal values are the same value.
    """
    for source, query in derived_blocks(block.sources):
        if query.distinct is not True or not only_joins_and_filters(query) or query.outers:
            continue
        beside = _partners(source.label, query, block, context)
        if len(beside) < len(query.items):
            continue
        same = {Column(source.label, place): partner for place, partner in beside.items()}
        rest = substitute(block._replace(sources=without(block.sources, source)), same)
        equal = (equality(query.items[place], partner) for place, partner in beside.items())
        asked = Exists(any_row(query.sources, (*query.where, *equal)))
        others = (one for one in rest.where if not (is_equality(one) and one.left == one.right))
        block = rest._replace(where=(*others, asked))
    return block


def _partners(label: Label, query: Select, block: Select, context: Context) -> dict[int, Column]:
    """Return for each column of a derived table, by its place, one of the same kind that a block equates with it."""
    found: dict[int, Column] = {}
    own = numbers_in(block.sources) - {label}
    for condition in equalities(block.where):
        for column, other in both_ways(condition):
            if not isinstance(column, Column) or column.source != label or not isinstance(column.name, int):
                continue
            if isinstance(other, Column) and other.source in own and context.same_kind(column, other):
                found.setdefault(column.name, other)
    return found


def _has_exactly_one_row(query: Select) -> bool:
    """Return whether a block is an aggregate over all its rows."""
    grouped = query.group is not None or query.having
    return query.aggregated and not grouped and not is_cut(query) and not query.extra


def drop_unread_columns(block: Select, context: Context) -> Select:
    """A column of a derived table that nobody reads is dropped.

    Holds unless the number of rows depends on it. In SELECT DISTINCT it does, so that becomes GROUP BY all columns, of
    which one need not be shown; a lone aggregate stays, as it makes one row of all.
    """
    for source, query in derived_blocks(block.sources):
        if len(query.items) < 2 or query.extra or shows_all_columns(query):
            continue
        grouped = _as_grouped(query) if query.distinct is True else query
        read = _places_read(block, source.label)
        if grouped is None or read is None:
            continue
        kept = _places_kept(grouped, read)
        if len(kept) < len(query.items):
            return _keep_places(block, source, grouped, kept)
    return block


def _as_grouped(query: Select) -> Select | None:
    """Return SELECT DISTINCT as GROUP BY on all items, of which one may then be left out; `None` where it is not."""
    keys = tuple(dict.fromkeys(item for item in query.items if not isinstance(item, CONSTANTS)))
    if not keys or is_cut(query) or query.order or query.aggregated:
        return None
    if computes_over_rows(query.items):
        return None
    return query._replace(distinct=False, group=keys)


def _places_read(block: Select, label: Label) -> set[int] | None:
    """Return the places of a derived table's columns that a block reads; `None` where one has only a name, no place."""
    read = {column.name for column in columns_of(block) if column.source == label}
    places = {name for name in read if isinstance(name, int)}
    return places if places == read else None


def _places_kept(query: Select, read: set[int]) -> list[int]:
    """Return the places of the items that stay; all of them where leaving one out would change the rows."""
    everything = list(range(len(query.items)))
    kept = [place for place in everything if place in read]
    one_row = query.aggregated and query.group is None
    # Without an aggregate it would no longer be one row, but a row for each that it reads.
    if one_row and not any(contains(query.items[place], Aggregate) for place in kept):
        return everything
    return kept or [0]


def _keep_places(block: Select, source: Derived, query: Select, kept: list[int]) -> Select:
    """Put a derived table with some of its items in place of one with all of them."""
    label = source.label
    moved = {Column(label, old): Column(label, new) for new, old in enumerate(kept)}
    narrow = Derived(label, query._replace(items=tuple(query.items[place] for place in kept)))
    rest = substitute(block._replace(sources=()), moved)
    return rest._replace(sources=tuple(narrow if one is source else one for one in block.sources))


def first_row_number(block: Select, context: Context) -> Select:
    """`ROW_NUMBER() OVER (ORDER BY k) = 1` on a derived table is its ORDER BY k LIMIT 1.

    Holds without PARTITION BY, when the number is used for nothing else and nothing else is filtered or
    joined: both take one row among those that come first.
    """
    if not reads_one_derived_table(block) or len(block.where) != 1:
        return block
    for source, inner in derived_blocks(block.sources):
        place = _counter_place(source.label, inner, block.where[0])
        if place is None or is_cut(inner) or inner.distinct is True or inner.extra:
            continue
        label = source.label
        window = inner.items[place]
        others = (*inner.items[:place], *inner.items[place + 1 :])
        read_again = Column(label, place) in columns_of(block._replace(where=()))
        if not _numbers_all_rows(window) or read_again or contains(others, Window):
            continue
        moved = {Column(label, old): Column(label, old - 1) for old in range(place + 1, len(inner.items))}
        first = inner._replace(items=others, order=window.order, limit=ONE)
        changed = substitute(block._replace(where=(), sources=()), moved)
        return changed._replace(sources=(Derived(label, first),))
    return block


def _counter_place(label: Label, inner: Select, condition: Term) -> int | None:
    """Return the place of the item that a condition compares with 1; `None` where it asks something else."""
    if not is_equality(condition) or condition.right != ONE:
        return None
    places = [place for place in range(len(inner.items)) if condition.left == Column(label, place)]
    return places[0] if places else None


def _numbers_all_rows(term: Term) -> TypeGuard[Window]:
    """Return whether a term is ROW_NUMBER() without PARTITION BY and without a frame."""
    if not isinstance(term, Window) or term.partition or term.frame:
        return False
    return term.function == Call("row_number")
