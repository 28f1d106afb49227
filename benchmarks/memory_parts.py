"""What a gold query consists of, for the memory benchmark: what to join, filter, group, order, and so on."""

from __future__ import annotations

from dataclasses import dataclass

import sqlglot
from sqlglot import expressions as exp


@dataclass(frozen=True)
class Parts:
    """A gold query, taken apart."""

    tables: tuple[str, ...]
    outputs: tuple[str, ...]
    aggregates: tuple[str, ...] = ()
    distinct: bool = False
    filters: tuple[tuple[str, str, str], ...] = ()
    group: tuple[str, ...] = ()
    having: str = ""
    order: tuple[tuple[str, bool], ...] = ()
    limit: int = 0
    nested: str = ""
    combined: str = ""
    either: bool = False

    @property
    def kind(self) -> str:
        """The parts there are, as text."""
        return (
            "+".join(
                [
                    *sorted(set(self.aggregates)),
                    *(["distinct"] if self.distinct else []),
                    *(["join"] if len(self.tables) > 1 else []),
                    *(["where"] if self.filters else []),
                    *(["or"] if self.either else []),
                    *(["group"] if self.group else []),
                    *(["having"] if self.having else []),
                    *(["order"] if self.order else []),
                    *(["limit"] if self.limit else []),
                    *([self.nested] if self.nested else []),
                    *([self.combined] if self.combined else []),
                ]
            )
            or "plain"
        )


_OPERATORS = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.Like: "like",
}
_AGGREGATES = {exp.Count: "count", exp.Avg: "avg", exp.Sum: "sum", exp.Max: "max", exp.Min: "min"}


def take_apart(sql: str) -> Parts | None:
    """Return the parts of a query; `None` when it holds something this generator has no words for."""
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
    except sqlglot.errors.SqlglotError:
        return None
    combined = ""
    if isinstance(tree, exp.SetOperation):
        combined = type(tree).__name__.lower()
        tree = tree.left
    if not isinstance(tree, exp.Select) or tree.find(exp.With, exp.Window, exp.Case):
        return None
    inner = [node for node in tree.find_all(exp.Select) if node is not tree]
    nested = ""
    if inner:
        nested = "not in" if tree.find(exp.Not) else "in" if tree.find(exp.In) else "compare with subquery"
    own = [table for table in tree.find_all(exp.Table) if table.find_ancestor(exp.Select) is tree]
    aggregates = tuple(
        _AGGREGATES[type(node)] for item in tree.expressions for node in item.find_all(*_AGGREGATES)
    )
    filters: list[tuple[str, str, str]] = []
    where = tree.args.get("where")
    if where is not None:
        for node in where.find_all(*_OPERATORS):
            if node.find_ancestor(exp.Select) is tree and isinstance(node.this, exp.Column):
                value = node.expression
                text = (
                    value.name
                    if isinstance(value, (exp.Literal, exp.Column))
                    else "what the inner query returns"
                )
                filters.append((node.this.name, _OPERATORS[type(node)], text))
    having = tree.args.get("having")
    order = tree.args.get("order")
    limit = tree.args.get("limit")
    outputs = tuple(column.name for item in tree.expressions for column in item.find_all(exp.Column)) or (
        "*",
    )
    group = tree.args.get("group")
    return Parts(
        tables=tuple(dict.fromkeys(table.name for table in own)),
        outputs=tuple(dict.fromkeys(outputs)),
        aggregates=aggregates,
        distinct=bool(tree.args.get("distinct")),
        filters=tuple(filters),
        group=tuple(node.name for node in group.expressions) if group is not None else (),
        having=having.this.sql() if having is not None else "",
        order=tuple((_key(node), bool(node.args.get("desc"))) for node in order.expressions) if order else (),
        limit=int(limit.expression.name) if limit is not None and limit.expression.name.isdecimal() else 0,
        nested=nested,
        combined=combined,
        either=bool(where is not None and where.find(exp.Or)),
    )


def _key(node: exp.Expression) -> str:
    inner = node.this
    if isinstance(inner, exp.Count):
        return "the count"
    column = inner.find(exp.Column)
    return str(column.name) if column is not None else str(inner.sql())
