"""Writing the near misses (mutants) of a gold query: queries that a policy might write by mistake.

Neighbours are chosen so that as many of these as possible return another result than the gold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlglot import exp

from finer_rewards._neighbours.gold_facts import tables_of
from finer_rewards._neighbours.shortcuts import Mutant, shortcuts_of, takes_one
from finer_rewards._neighbours.tree_text import Change, TreeText, replaced
from finer_rewards.schema import Schema

_MOST = 60

_OTHER_COMPARISON: dict[Any, tuple[Any, ...]] = {
    exp.EQ: (exp.NEQ,),
    exp.NEQ: (exp.EQ,),
    exp.GT: (exp.GTE, exp.LT),
    exp.GTE: (exp.GT, exp.LTE),
    exp.LT: (exp.LTE, exp.GT),
    exp.LTE: (exp.LT, exp.GTE),
}
_OTHER_EDGE: dict[Any, Any] = {exp.GT: exp.GTE, exp.GTE: exp.GT, exp.LT: exp.LTE, exp.LTE: exp.LT}
_OTHER_AGGREGATE: dict[Any, tuple[Any, ...]] = {
    exp.Sum: (exp.Avg, exp.Max),
    exp.Avg: (exp.Sum, exp.Max),
    exp.Min: (exp.Max, exp.Avg),
    exp.Max: (exp.Min, exp.Sum),
}


def mutants_of(tree: exp.Query, schema: Schema) -> list[Mutant]:
    """Return the near misses of a query; equal texts once, at most 60.

    Kinds that change one thing: predicate dropped, comparison, constant, like, and/or, aggregate, sum by distinct,
    distinct, join key, join kind, join dropped, direction, order dropped, limit, column, group, set operation,
    negation. Kinds that need no understanding (`shortcuts.py`): stored row, stored value, named value, dead join.

    Example:
        >>> from finer_rewards.schema import schema_from_ddl
        >>> from finer_rewards._neighbours.gold_facts import read_gold
        >>> schema = schema_from_ddl("CREATE TABLE singer (name TEXT, age INT)")
        >>> tree = read_gold("SELECT name FROM singer WHERE age > 40", schema)
        >>> for mutant in mutants_of(tree, schema)[:3]:
        ...     print(f"{mutant.kind}: {mutant.sql}")
        distinct: SELECT DISTINCT name FROM singer WHERE age > 40
        column: SELECT age FROM singer WHERE age > 40
        predicate dropped: SELECT name FROM singer
    """
    found: dict[str, Mutant] = {}
    written = TreeText(tree.copy())
    for node in list(written.tree.walk()):
        for kind, change in list(_changes(node, schema)):
            sql = written.with_change(node, change)
            if sql != written.text:
                found.setdefault(sql, Mutant(kind, sql))
    mutants = [*shortcuts_of(written, schema), *found.values()]
    # If there are too many, take them evenly from all parts of the query rather than only from its start.
    step = max(1.0, len(mutants) / _MOST)
    return [mutants[int(place * step)] for place in range(min(_MOST, len(mutants)))]


def promises_of(tree: exp.Query) -> list[str]:
    """Return a query for each comparison with an average, with its `>` and `>=` (or `<` and `<=`) exchanged.

    If that changes nothing on the real data, both are right answers to the question, so neighbours must agree too.
    """
    found = []
    for index, node in enumerate(list(tree.walk())):
        other = _OTHER_EDGE.get(type(node))
        if other is not None and node.find(exp.Avg) is not None:
            copy = tree.copy()
            _becomes(other)(list(copy.walk())[index])
            found.append(copy.sql("sqlite"))
    return found


def _changes(node: Any, schema: Schema) -> Iterator[tuple[str, Change]]:
    """Yield the kind and the function of each change that can be made at a node."""
    if type(node) in _OTHER_COMPARISON and not _joins(node):
        for other in _OTHER_COMPARISON[type(node)]:
            yield "comparison", _becomes(other)
    if isinstance(node, exp.EQ):
        yield from _as_like(node)
    if isinstance(node, exp.Select):
        yield from _of_select(node, schema)
    elif isinstance(node, (exp.Where, exp.Having)):
        yield "predicate dropped", lambda place: place.pop()
    elif isinstance(node, exp.Connector):
        yield "predicate dropped", lambda place: place.replace(place.this)
        yield "predicate dropped", lambda place: place.replace(place.expression)
        yield "and/or", _becomes(exp.Or if isinstance(node, exp.And) else exp.And, clear=True)
    elif isinstance(node, exp.Not):
        yield "negation", lambda place: place.replace(place.this)
    elif isinstance(node, (exp.In, exp.Like, exp.Is, exp.Exists)) and not isinstance(node.parent, exp.Not):
        yield "negation", lambda place: place.replace(exp.Not(this=place.copy()))
    elif isinstance(node, exp.Literal) and not isinstance(node.parent, (exp.Limit, exp.Offset, exp.Ordered)):
        yield from _of_literal(node)
    elif isinstance(node, exp.Count):
        yield from _of_count(node, schema)
    elif type(node) in _OTHER_AGGREGATE:
        if isinstance(node, exp.Avg) and isinstance(node.this, exp.Column):
            yield from _by_distinct(node, schema)
        for aggregate in _OTHER_AGGREGATE[type(node)]:
            yield "aggregate", _becomes(aggregate)
    elif isinstance(node, exp.Ordered):
        yield "direction", lambda place: place.set("desc", not place.args.get("desc"))
    elif isinstance(node, exp.SetOperation):
        yield from _of_set_operation(node)
    elif isinstance(node, exp.Join):
        yield from _of_join(node, schema)
    elif isinstance(node, exp.Limit) and isinstance(node.expression, exp.Literal):
        count = int(node.expression.this) if node.expression.this.isdigit() else 0
        for other_count in (count + 1, count - 1):
            if other_count > 0:
                yield "limit", _set("expression", exp.Literal.number(other_count))
        yield "limit", lambda place: place.pop()
    elif isinstance(node, exp.Group) and len(node.expressions) > 1:
        yield "group", lambda place: place.set("expressions", place.expressions[:-1])


def _joins(node: Any) -> bool:
    """Whether a comparison is of two columns, as in a join."""
    return isinstance(node.this, exp.Column) and isinstance(node.expression, exp.Column)


def _becomes(kind: Any, *, clear: bool = False) -> Change:
    """Return the change of a node to another kind with the same operands; `clear` puts brackets around it."""

    def change(place: exp.Expression) -> None:
        other = kind(**{name: value for name, value in place.args.items() if name in ("this", "expression")})
        place.replace(exp.Paren(this=other) if clear and place.parent is not None else other)

    return change


def _set(name: str, value: Any) -> Change:
    return lambda place: place.set(name, value.copy() if isinstance(value, exp.Expression) else value)


def _of_select(node: exp.Select, schema: Schema) -> Iterator[tuple[str, Change]]:
    if node.args.get("distinct"):
        yield "distinct", _set("distinct", None)
    elif not (any(isinstance(one, exp.AggFunc) for one in node.expressions) or takes_one(node)):
        yield "distinct", _set("distinct", exp.Distinct())
    if node.args.get("order"):
        yield "order dropped", _set("order", None)
    if node.args.get("group") and not node.args.get("having"):
        yield "group", _set("group", None)
    for index, shown in enumerate(node.expressions[:3]):
        column = shown.this if isinstance(shown, exp.AggFunc) else shown
        if isinstance(column, exp.Column) and isinstance(column.this, exp.Identifier):
            for name in _other_columns(column, schema)[:2]:
                yield "column", _renamed(index, name)


def _renamed(index: int, name: str) -> Change:
    def change(place: exp.Select) -> None:
        shown = place.expressions[index].copy()
        place.set("expressions", shown, index)
        column = shown.this if isinstance(shown, exp.AggFunc) else shown
        column.set("this", exp.to_identifier(name, quoted=not name.isidentifier()))

    return change


def _other_columns(column: exp.Column, schema: Schema) -> list[str]:
    """Return the other columns of a column's table, the nearest first."""
    for found in tables_of(column, schema)[:1]:
        table = next(table for table in schema.tables if table.name.lower() == found)
        names = [one.name for one in table.columns]
        own = next(place for place, name in enumerate(names) if name.lower() == column.name.lower())
        others = [place for place in range(len(names)) if place != own]
        return [names[place] for place in sorted(others, key=lambda place: (abs(place - own), -place))]
    return []


def _columns_of(select: exp.Select, schema: Schema) -> list[str]:
    """Return the columns of the table that a query reads; none if it reads several tables."""
    sources = list(select.find_all(exp.Table))
    for table in schema.tables:
        if len(sources) == 1 and table.name.lower() == sources[0].name.lower():
            return [column.name for column in table.columns]
    return []


def _of_literal(node: exp.Literal) -> Iterator[tuple[str, Change]]:
    text = node.this
    if not node.is_string:
        for step in (1, -1):
            value: float = (float(text) if any(mark in text for mark in ".eE") else int(text)) + step
            if value >= 0:
                yield "constant", replaced(exp.Literal.number(value))
    elif isinstance(node.parent, exp.Like):
        if len(text) > 1 and text.startswith("%"):
            yield "constant", replaced(exp.Literal.string(text[1:]))
        if len(text) > 1 and text.endswith("%"):
            yield "constant", replaced(exp.Literal.string(text[:-1]))
        if "%" not in text:
            yield "constant", replaced(exp.Literal.string(f"%{text}%"))
    else:
        yield "constant", replaced(exp.Literal.string(f"{text}x"))


def _as_like(node: exp.EQ) -> Iterator[tuple[str, Change]]:
    """Yield the change of `= 'text'` to LIKE with all but the first letter."""
    text = node.expression
    if (
        isinstance(text, exp.Literal)
        and text.is_string
        and isinstance(node.this, exp.Column)
        and len(text.this) > 3
    ):
        pattern = exp.Literal.string(f"%{text.this[1:]}%")
        yield "like", lambda place: place.replace(exp.Like(this=place.this, expression=pattern))


def _of_count(node: exp.Count, schema: Schema) -> Iterator[tuple[str, Change]]:
    inside = node.this
    if isinstance(inside, exp.Distinct):
        if len(inside.expressions) == 1:
            yield "distinct", lambda place: place.set("this", place.this.expressions[0])
    elif isinstance(inside, exp.Star):
        select = node.find_ancestor(exp.Select)
        names = [] if select is None else _columns_of(select, schema)
        for name in names[:1]:
            yield "aggregate", replaced(exp.Max(this=exp.column(name, quoted=not name.isidentifier())))
        for name in names[1:2]:
            counted = exp.Distinct(expressions=[exp.column(name, quoted=not name.isidentifier())])
            yield "distinct", _set("this", counted)
    elif isinstance(inside, exp.Column) and isinstance(inside.this, exp.Identifier):
        yield "distinct", lambda place: place.set("this", exp.Distinct(expressions=[place.this.copy()]))
        if any(
            one.name.lower() == inside.name.lower()
            and any(mark in one.type.upper() for mark in ("INT", "REAL", "NUM", "FLOAT", "DOUBLE", "DEC"))
            for table in schema.tables
            for one in table.columns
        ):
            yield "aggregate", lambda place: place.replace(exp.Sum(this=place.this))


def _by_distinct(node: exp.Avg, schema: Schema) -> Iterator[tuple[str, Change]]:
    """Yield the change of AVG to SUM divided by COUNT(DISTINCT another column)."""
    for name in _other_columns(node.this, schema)[:1]:
        other = exp.column(name, table=node.this.table or None, quoted=not name.isidentifier())
        count = exp.Count(this=exp.Distinct(expressions=[other]))
        yield "sum by distinct", replaced(exp.Div(this=exp.Sum(this=node.this.copy()), expression=count))


def _of_set_operation(node: exp.SetOperation) -> Iterator[tuple[str, Change]]:
    if isinstance(node, exp.Union):
        yield "set operation", _set("distinct", not node.args.get("distinct"))
    for kind in (exp.Union, exp.Intersect, exp.Except):
        if not isinstance(node, kind):
            yield "set operation", _as_set_operation(kind)


def _as_set_operation(kind: type[exp.SetOperation]) -> Change:
    def change(place: exp.SetOperation) -> None:
        if place.parent is None:
            # The root has no parent in which it could be replaced, so it changes its class.
            place.__class__ = kind
            place.set("distinct", True)
        else:
            place.replace(kind(**{**place.args, "distinct": True}))

    return change


def _of_join(node: exp.Join, schema: Schema) -> Iterator[tuple[str, Change]]:
    side = (node.side or "").upper()
    if node.args.get("on") or node.args.get("using"):
        yield "join kind", _set("side", None if side == "LEFT" else "LEFT")
    select = node.parent
    if isinstance(select, exp.Select) and isinstance(node.this, exp.Table):
        alias = node.this.alias_or_name.lower()
        inside = {id(column) for column in node.find_all(exp.Column)}
        if all(
            column.table.lower() != alias
            for column in select.find_all(exp.Column)
            if id(column) not in inside and column.table
        ):
            yield "join dropped", lambda place: place.pop()
    for index, equality in enumerate(node.find_all(exp.EQ)):
        if not _joins(equality):
            continue
        for side_name in ("this", "expression"):
            column = equality.args[side_name]
            for name in _other_columns(column, schema)[:1]:
                yield "join key", _rekeyed(index, side_name, name)


def _rekeyed(index: int, side: str, name: str) -> Change:
    def change(place: exp.Join) -> None:
        for part in ("this", "on"):
            place.set(part, place.args[part].copy() if place.args.get(part) else None)
        equality = list(place.find_all(exp.EQ))[index]
        equality.args[side].set("this", exp.to_identifier(name, quoted=not name.isidentifier()))

    return change
