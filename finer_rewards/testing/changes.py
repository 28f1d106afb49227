"""Changes a query model by one mistake (mutations) or without changing its meaning (rewritings)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Final

from finer_rewards.schema import Schema
from finer_rewards.testing.queries import Compound, Condition, Join, Name, Query, Select, Style, Term, write
from finer_rewards.testing.small_databases import POOLS, kind_of
from finer_rewards.types import Cell, Row

_OTHER_OPERATOR: Final = {"=": "<>", "<>": "=", "<": "<=", "<=": "<", ">": ">=", ">=": ">"}
_OTHER_FUNCTION: Final = {"SUM": "AVG", "AVG": "MAX", "MIN": "MAX", "MAX": "MIN"}
_OTHER_SET: Final = {
    "UNION": "UNION ALL",
    "UNION ALL": "UNION",
    "EXCEPT": "INTERSECT",
    "INTERSECT": "EXCEPT",
}
_STYLES: Final = (
    ("aliases", Style(aliases=True)),
    ("letter case", Style(lower=True)),
    ("layout", Style(lines=True)),
    ("comments", Style(comments=True)),
    ("quoted names", Style(quoted=True)),
    ("mirrored comparisons", Style(mirrored=True)),
    ("comparisons spelled out", Style(spelled=True)),
)


#: The rewritings that change only how a query is spelled; all parts stay where they are.
SPELLING: Final = ("aliases", "letter case", "layout", "comments", "quoted names")


class Columns:
    """The columns of a schema, by table and by kind of value."""

    def __init__(self, schema: Schema) -> None:
        self.kinds: dict[Name, str] = {
            (table.name, column.name): kind_of(column) for table in schema.tables for column in table.columns
        }

    def of(self, tables: Sequence[str], kinds: Sequence[str] = ("INTEGER", "REAL", "TEXT")) -> list[Name]:
        """Return the columns of some tables that hold values of some kinds."""
        return [name for name, kind in self.kinds.items() if name[0] in tables and kind in kinds]

    def others(self, column: Name, tables: Sequence[str]) -> list[Name]:
        """Return the columns of the same kind in these tables, without `column` itself."""
        return [name for name in self.of(tables, (self.kinds[column],)) if name != column]


def mutations(query: Query, columns: Columns) -> Iterator[tuple[str, Query]]:
    """Yield each query that differs from this one by one mistake, after the name of the mistake."""
    if isinstance(query, Compound):
        yield "other set operation", replace(query, operator=_OTHER_SET[query.operator])
        yield "missing arm", query.first
        for name, arm in mutations(query.first, columns):
            if isinstance(arm, Select) and len(arm.terms) == len(query.first.terms):
                yield f"{name} in the first arm", replace(query, first=arm)
        return
    yield from _in_terms(query, columns)
    for clause in ("where", "having"):
        yield from _in_conditions(query, clause, columns)
    if len(query.where) > 1:
        yield "other connective", replace(query, connective="OR" if query.connective == "AND" else "AND")
    yield from _in_joins(query, columns)
    yield from _in_order(query)
    for index, column in enumerate(query.group):
        for other in columns.others(column, query.tables)[:1]:
            if Term(column) not in query.terms:
                yield "other group", replace(query, group=_put(query.group, index, other))


def _in_terms(query: Select, columns: Columns) -> Iterator[tuple[str, Select]]:
    if query.distinct:
        yield "missing DISTINCT", replace(query, distinct=False)
    elif not query.order:
        yield "added DISTINCT", replace(query, distinct=True)
    for index, term in enumerate(query.terms):
        if term.function in _OTHER_FUNCTION:
            other = replace(term, function=_OTHER_FUNCTION[term.function])
            yield "other aggregate", replace(query, terms=_put(query.terms, index, other))
        if term.function == "COUNT" and term.column is not None:
            other = replace(term, distinct=not term.distinct)
            yield "DISTINCT in an aggregate", replace(query, terms=_put(query.terms, index, other))
        if term.column is None or (query.group and not term.aggregates) or (query.distinct and query.order):
            continue
        for column in columns.others(term.column, query.tables)[:2]:
            other = replace(term, column=column)
            yield "other column", replace(query, terms=_put(query.terms, index, other))
    if len(query.terms) > 1:
        yield "missing column", replace(query, terms=query.terms[:-1])


def _in_conditions(query: Select, clause: str, columns: Columns) -> Iterator[tuple[str, Select]]:
    conditions: tuple[Condition, ...] = getattr(query, clause)
    for index, one in enumerate(conditions):
        rest = conditions[:index] + conditions[index + 1 :]
        yield "missing condition", _with(query, clause, rest)
        yield (
            "negated condition",
            _with(query, clause, _put(conditions, index, replace(one, negated=not one.negated))),
        )
        for name, other in _changed(one, columns, query.tables):
            yield name, _with(query, clause, _put(conditions, index, other))


def _changed(one: Condition, columns: Columns, tables: Sequence[str]) -> Iterator[tuple[str, Condition]]:
    if one.operator in _OTHER_OPERATOR:
        yield "other operator", replace(one, operator=_OTHER_OPERATOR[one.operator])
    if isinstance(one.value, Select):
        for name, inner in mutations(one.value, columns):
            if isinstance(inner, Select) and len(inner.terms) == 1:
                yield f"{name} in a subquery", replace(one, value=inner)
    elif isinstance(one.value, tuple):
        values = (*one.value[:-1], _next(one.value[-1]))
        if values[-1] not in one.value:
            yield "other literal", replace(one, value=values)
    elif one.operator in _OTHER_OPERATOR:
        yield "other literal", replace(one, value=_next(one.value))
    if one.term.column is not None and not one.term.function:
        for column in columns.others(one.term.column, tables)[:2]:
            yield "other column in a condition", replace(one, term=Term(column))


def _in_joins(query: Select, columns: Columns) -> Iterator[tuple[str, Select]]:
    for index, join in enumerate(query.joins):
        if join.left is None or join.right is None:
            continue
        yield (
            "missing join condition",
            _with(query, "joins", _put(query.joins, index, Join(join.table, None, None))),
        )
        yield (
            "outer or inner join",
            _with(query, "joins", _put(query.joins, index, replace(join, outer=not join.outer))),
        )
        for column in columns.others(join.right, (join.table,))[:2]:
            yield (
                "wrong join key",
                _with(query, "joins", _put(query.joins, index, replace(join, right=column))),
            )


def _in_order(query: Select) -> Iterator[tuple[str, Select]]:
    for index, (term, down) in enumerate(query.order[:1]):
        yield "other direction", replace(query, order=_put(query.order, index, (term, not down)))
    if query.limit is None:
        if query.order:
            yield "missing ORDER BY", replace(query, order=())
        return
    yield "other limit", replace(query, limit=query.limit + 1)
    yield "missing limit", replace(query, limit=None, offset=0)
    yield "other offset", replace(query, offset=query.offset + 1)


def rewritings(query: Query, columns: Columns) -> Iterator[tuple[str, str]]:
    """Yield the SQL of each rewriting that gives the same rows on every database, after the name of the rewriting."""
    plain = write(query)
    for name, style in _STYLES:
        if write(query, style) != plain:
            yield name, write(query, style)
    if isinstance(query, Compound):
        if query.operator != "EXCEPT":
            yield "arms exchanged", write(replace(query, first=query.second, second=query.first))
        return
    if len(query.where) > 1:
        yield "other order of conditions", write(replace(query, where=query.where[::-1]))
    if len(query.joins) == 1 and not query.joins[0].outer:
        join = query.joins[0]
        turned = Join(query.table, join.right, join.left)
        yield "tables joined the other way round", write(replace(query, table=join.table, joins=(turned,)))
    if not query.order:
        yield "other order of rows", f"{plain} ORDER BY 1 DESC"
        if len({term.column for term in query.terms}) == len(query.terms):
            yield "inside a subquery", f"SELECT * FROM ({plain}) AS inside"
            yield "as a common table expression", f"WITH answer AS ({plain}) SELECT * FROM answer"


def differ(first: Sequence[Row], second: Sequence[Row], *, ordered: bool) -> bool:
    """Return whether two results have different rows, whatever the order of their columns.

    Args:
        first: the rows of a result.
        second: the rows of the other result.
        ordered: whether the order of the rows counts.
    """
    if len(first) != len(second):
        return True
    width = len(first[0]) if first else 0
    if first and len(second[0]) != width:
        return True
    return not any(_equal(first, [tuple(row[i] for i in places) for row in second], ordered)
                   for places in permutations(range(width)))  # fmt: skip


def _equal(first: Sequence[Row], second: Sequence[Row], ordered: bool) -> bool:
    return list(first) == list(second) if ordered else Counter(first) == Counter(second)


def _put(values: tuple[object, ...], index: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*values[:index], value, *values[index + 1 :])


def _with(query: Select, clause: str, value: object) -> Select:
    return replace(query, **{clause: value})  # type: ignore[arg-type]


def _next(value: Cell) -> Cell:
    """Return another value of the same kind: the next one of the pool that the value comes from."""
    for pool in POOLS.values():
        if value in pool and type(value) is type(pool[0]):
            return pool[(pool.index(value) + 1) % len(pool)]
    return value + 1 if isinstance(value, int) else 0
