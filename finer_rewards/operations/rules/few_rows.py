"""Rules on counts over one row at most, and on blocks that return no row."""

from __future__ import annotations

from collections.abc import Callable
from operator import eq, ge, gt, le, lt, ne
from typing import NamedTuple

from ..context import Context, numbers_in
from ..leaves import FALSE, TRUE, Number
from ..operators import COUNT_ALL, Aggregate, Comparison, Scalar
from ..terms import Outer, Select, Source, Term, computes_over_rows, contains, is_cut
from ..walks import sources_of
from ._shared import shown_terms
from .closure import Closure
from .grouping import groups_once

_HOLDS: dict[str, Callable[[int, int], bool]] = {"=": eq, "<>": ne, "<": lt, "<=": le, ">": gt, ">=": ge}


def count_in_group_of_one(block: Select, context: Context) -> Select:
    """`HAVING COUNT(x) > 1` is false, and other bounds of a count are decided.

    Holds where the group keys fix a row of all that is read, so that each group has one row.
    """
    if block.group is None or not groups_once(block) or not any(map(_bound, block.having)):
        return block
    having = tuple(map(_decided, block.having))
    if having == block.having or not Closure(block, block.group, context).one_row:
        return block
    return block._replace(having=having)


def count_to_group(block: Select, context: Context) -> Select:
    """`t WHERE (SELECT COUNT(x) FROM s WHERE s.y = t.k) > 2` is t JOIN s ON s.y = t.k GROUP BY t.k HAVING COUNT(x) > 2.

    Holds where what is asked of the count is not true of 0, and t has a key, by which the groups are formed.
    """
    compared = [one for one in block.where if isinstance(one, Comparison) and isinstance(one.left, Scalar)]
    if not compared or block.aggregated or block.outers or block.extra:
        return block
    keys = [context.keys(source.label) for source in block.sources]
    if not (keys and all(keys)) or computes_over_rows(shown_terms(block)):
        return block
    for subquery in dict.fromkeys(one.left for one in compared):
        query = subquery.query if isinstance(subquery, Scalar) else None
        if not isinstance(query, Select) or not _folds_rows_for_each(query, block):
            continue
        asked = [one for one in compared if one.left == subquery]
        having = tuple(Comparison(one.head, query.items[0], one.right) for one in asked)
        if any(map(_excludes_none, having)):
            return block._replace(
                sources=(*block.sources, *query.sources),
                where=(*(one for one in block.where if one not in asked), *query.where),
                group=tuple(sorted(column for key, *_ in keys for column in key)),
                having=having,
            )
    return block


def _folds_rows_for_each(query: Select, block: Select) -> bool:
    """Return whether a subquery is one aggregate over rows that it joins with those of a block."""
    if query.group is not None or query.having or query.extra or query.outers or is_cut(query):
        return False
    return not (sources_of(query) - numbers_in(query.sources)).isdisjoint(numbers_in(block.sources))


class _Bound(NamedTuple):
    """What a condition asks of a count: `holds(counted, number)`."""

    counted: Aggregate
    holds: Callable[[int, int], bool]
    number: int


def _bound(condition: Term) -> _Bound | None:
    """Return what a condition asks of a count, if it compares one with a whole number."""
    if not isinstance(condition, Comparison) or not isinstance(condition.right, Number):
        return None
    count, numeral = condition.left, condition.right.numeral
    if not isinstance(count, Aggregate) or count.name != "count" or condition.head not in _HOLDS:
        return None
    return _Bound(count, _HOLDS[condition.head], int(numeral)) if numeral.lstrip("-").isdigit() else None


def _excludes_none(condition: Term) -> bool:
    """Return whether a condition on a count is not true of 0."""
    bound = _bound(condition)
    return bound is not None and not bound.holds(0, bound.number)


def _decided(condition: Term) -> Term:
    """Return true or false where a count over one row, which is 0 or 1, and 1 for COUNT(*), decides a condition."""
    bound = _bound(condition)
    if bound is None:
        return condition
    least = int(bound.counted == COUNT_ALL)
    found = {bound.holds(value, bound.number) for value in range(least, 2)}
    if len(found) == 2:
        return condition
    return TRUE if found == {True} else FALSE


def _all_sources(block: Select | Outer) -> list[Source]:
    """Return the sources of a block and of its outer joins."""
    return [*block.sources, *(source for outer in block.outers for source in _all_sources(outer))]


def bare_empty_block(block: Select, context: Context) -> Select:
    """Of a block that never returns a row only the items and what they read stay.

    Holds where a condition is false, and nothing is an aggregate, which makes one row of no rows.
    """
    if FALSE not in block.where or contains((block.items, block.having, block.order), Aggregate):
        return block
    shown = sources_of(block.items)
    return block._replace(
        distinct=False,
        sources=tuple(one for one in _all_sources(block) if not numbers_in((one,)).isdisjoint(shown)),
        outers=(),
        where=(FALSE,),
        group=None,
        having=(),
        order=(),
        limit=None,
        offset=None,
    )
