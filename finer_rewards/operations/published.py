"""The operations as FINER-SQL's published code tells them, faults included: for comparison only.

Written anew from a description of what that code computes on the sqlglot versions supported here: the FROM clause is
not read, CTEs are not entered, joins keep their kind but not their side, functions keep their first argument, a
literal among the columns is an error, operations form a set, and the score is a Jaccard index.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlglot import exp
from sqlglot.errors import SqlglotError

from .guard import OperationsError, parse_query, with_deep_stack

__all__ = ["published_operations", "published_score"]


def published_operations(sql: str, dialect: str = "sqlite") -> frozenset[str]:
    """Return the published set of operations; an error gives the empty set, as there.

    Example:
        >>> published_operations("SELECT a FROM t") == published_operations("SELECT a FROM u")
        True
    """
    try:
        return frozenset(with_deep_stack(lambda: tuple(_published(parse_query(sql, dialect)))))
    except (OperationsError, SqlglotError, AttributeError, ValueError, KeyError):
        return frozenset()


def published_score(predicted: str, golds: tuple[str, ...], dialect: str = "sqlite") -> float:
    """Return the published similarity to the nearest gold, the Jaccard index of the sets; 0 where both are empty."""
    ours = published_operations(predicted, dialect)
    return max((_jaccard(ours, published_operations(gold, dialect)) for gold in golds), default=0.0)


def _jaccard(ours: frozenset[str], theirs: frozenset[str]) -> float:
    return len(ours & theirs) / len(ours | theirs) if ours or theirs else 0.0


def _published(tree: Any) -> Iterator[str]:
    if isinstance(tree, exp.SetOperation):
        yield f"{tree.key.upper()}(ALL)" if not tree.args.get("distinct") else tree.key.upper()
        yield from _published(tree.this)
        yield from _published(tree.expression)
    if not isinstance(tree, exp.Select):
        return
    if tree.args.get("distinct"):
        yield "DISTINCT"
    for item in tree.expressions:
        yield from _published_item(item)
    for join in tree.find_all(exp.Join):
        yield f"JOIN({_name(join.this)}, {join.args.get('kind') or 'INNER'})"
        on = join.args.get("on")
        for part in on.flatten() if isinstance(on, exp.And) else [on] if on is not None else []:
            yield f"ON_{_published_condition(part)}"
    for name in ("where", "having"):
        clause = tree.args.get(name)
        if clause is not None:
            parts = clause.this.flatten() if isinstance(clause.this, exp.And) else [clause.this]
            for part in parts:
                yield f"{name.upper()}_{_published_condition(part)}"
                for query in part.find_all(exp.Select):
                    yield from _published(query)
    group = tree.args.get("group")
    if group is not None:
        for key in group.expressions:
            yield f"GROUP({_text(key)})"
    order = tree.args.get("order")
    if order is not None:
        for key in order.expressions:
            yield f"ORDER({_text(key.this)}, {'DESC' if key.args.get('desc') else 'ASC'})"
    if tree.args.get("limit") is not None:
        yield f"LIMIT({tree.args['limit'].expression.sql()})"


def _published_item(item: Any) -> Iterator[str]:
    if isinstance(item, exp.Alias):
        yield f"ALIAS({item.alias.lower()})"
        item = item.this
    if isinstance(item, exp.Column):
        yield f"SELECT({_text(item)})"
    elif isinstance(item, exp.Star):
        yield "SELECT(*)"
    else:
        yield f"SELECT_EXPR({_text(item)})"


def _published_condition(part: Any) -> str:
    if isinstance(part, exp.Binary) and not isinstance(part, exp.Connector):
        return f"{part.key.upper()}({_text(part.this)}, {_text(part.expression)})"
    if isinstance(part, exp.In) and part.args.get("query") is not None:
        return f"IN_SUBQ({_text(part.this)})"
    return f"TREE({part.sql()})"


def _text(node: Any) -> str:
    if isinstance(node, exp.Column):
        return str(node.name).lower()
    if isinstance(node, exp.Literal):
        return str(node.sql())
    if isinstance(node, exp.Func):
        return f"{node.sql_name()}({_text(node.this)})"  # a literal argument fails here, as there
    if isinstance(node, exp.Binary):
        return _text(node.this)
    return str(node.sql())


def _name(node: Any) -> str:
    return f"{node.name}.{node.alias}".lower() if node.alias else str(node.name).lower()
