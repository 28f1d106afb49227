"""Rules on conditions that ask for nothing: that drop rows which no aggregate counts, or that a row meets itself."""

from __future__ import annotations

from functools import partial
from itertools import product
from operator import eq

from ..context import Context
from ..leaves import NULL, ONE, Column
from ..operators import COUNT_ALL, Aggregate, Comparison, Exists, Scalar
from ..terms import Select, Table, Term, is_cut
from ..walks import columns_of, substitute, walk_here
from ._nulls import asked_for, null_through
from ._shared import both_ways, is_equality, shown_terms, table_readings, without
from .grouping import change_aggregates
from .readings import MOST_COMPARED
from .subqueries import only_joins_and_filters

SKIP_NULLS = frozenset({"count", "sum", "total", "avg", "min", "max", "group_concat"})


def drop_unseen_nulls(block: Select, context: Context) -> Select:
    """`WHERE x IS NOT NULL` is dropped where every aggregate skips a row whose x is NULL; COUNT(*) is COUNT(x) then.

    Holds without GROUP BY, when columns are read inside of aggregates alone. Where rows are counted and nothing else,
    the condition stays: COUNT(x) is COUNT(*) there.
    """
    if block.group is not None or block.extra or not any(map(asked_for, block.where)):
        return block
    alone = change_aggregates(block, lambda term: ONE)
    if columns_of((shown_terms(alone), alone.having)):
        return block
    shown = walk_here((shown_terms(block), block.having))
    aggregates = {part for part in shown if isinstance(part, Aggregate)}
    for condition in block.where:
        column = asked_for(condition)
        if not isinstance(column, Column):
            continue
        counted = Aggregate("count", False, column)
        others = aggregates - {COUNT_ALL, counted}
        if others and all(_skips(aggregate, column) for aggregate in others):
            return _count(counted, block._replace(where=without(block.where, condition)))
    return block


def _count(counted: Aggregate, block: Select) -> Select:
    """Return a block with a count in place of COUNT(*)."""
    return change_aggregates(block, lambda term: counted if term == COUNT_ALL else term)


def _skips(aggregate: Aggregate, column: Column) -> bool:
    """Return whether an aggregate takes no notice of a row where a column is NULL."""
    return aggregate.name in SKIP_NULLS and null_through(aggregate.arguments[0], partial(eq, column))


def exists_of_itself(block: Select, context: Context) -> Select:
    """`EXISTS (SELECT 1 FROM t u WHERE u.x = t.x AND p(u.x))` for a row of t is `t.x IS NOT NULL AND p(t.x)`.

    The row itself is one that is found. Holds where equal values are the same value and the subquery reads
    no column of its own that it does not equate.
    """
    if len(block.sources) > MOST_COMPARED:
        return block
    for condition in block.where:
        query = condition.query if isinstance(condition, Exists) else None
        if not only_joins_and_filters(query) or query.outers or len(query.sources) != 1:
            continue
        for inner, outer in product(table_readings(query.sources), table_readings(block.sources)):
            said = _on_the_row(query.where, inner, outer, context) if outer.name == inner.name else None
            if said is not None:
                where = (part for one in block.where for part in (said if one is condition else (one,)))
                return block._replace(where=tuple(dict.fromkeys(where)))
    return block


def other_than_the_least(block: Select, context: Context) -> Select:
    """`x <> (SELECT MIN(x) FROM t)` is `x > (SELECT MIN(x) FROM t)`, and with MAX it is `x <`.

    Holds where x is a column of t and the subquery reads all of t: no row of t has less than the least x.
    """
    where = tuple(_beyond(condition, block) for condition in block.where)
    return block if where == block.where else block._replace(where=where)


def _beyond(condition: Term, block: Select) -> Term:
    if not isinstance(condition, Comparison) or condition.head != "<>":
        return condition
    for column, extreme in both_ways(condition):
        query = extreme.query if isinstance(extreme, Scalar) else None
        if not isinstance(column, Column) or not isinstance(query, Select) or not _reads_a_whole_table(query):
            continue
        (least, (source,)) = query.items[0], table_readings(query.sources)
        own = [one for one in table_readings(block.sources) if one.label == column.source]
        if not own or own[0].name != source.name:
            continue
        for name, sides in (("min", (extreme, column)), ("max", (column, extreme))):
            if least == Aggregate(name, False, column.of_source(source.label)):
                return Comparison("<", *sides)
    return condition


def _reads_a_whole_table(query: Select) -> bool:
    """Return whether a block reads one table, and all its rows as one group."""
    whole = not (query.outers or query.where or query.having or query.extra or is_cut(query))
    return whole and query.group is None and len(table_readings(query.sources)) == len(query.sources) == 1


def _on_the_row(
    where: tuple[Term, ...], inner: Table, outer: Table, context: Context
) -> tuple[Term, ...] | None:
    """Return the conditions of a reading of a table as those on another reading; `None` where they say more."""
    image = {
        column: column.of_source(outer.label) for column in columns_of(where) if column.source == inner.label
    }
    links: dict[Column, Comparison] = {}
    for condition in where:
        if isinstance(condition, Comparison) and condition.head in ("=", "is"):
            for column, other in both_ways(condition):
                if isinstance(column, Column) and image.get(column) == other:
                    links[column] = condition
    if links.keys() != image.keys() or not all(map(context.same_kind, image.keys(), image.values())):
        return None
    present = [
        Comparison("is not", image[column], NULL)
        for column, link in links.items()
        if is_equality(link) and not context.not_null(image[column])
    ]
    rest = [substitute(condition, image) for condition in where if condition not in links.values()]
    return (*present, *rest)
