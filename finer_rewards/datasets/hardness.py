"""Classes a query by Spider's rule as easy, medium, hard or extra, for benchmarks that do not say it themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from finer_rewards.operations.guard import tree_of

if TYPE_CHECKING:
    from sqlglot import exp

HARDNESS = ("easy", "medium", "hard", "extra")


def hardness(sql: str) -> str:
    """Return Spider's class of a query, counted on its outermost SELECT; `extra` when it cannot be read.

    Three counts decide: of clauses, joins, OR and LIKE; of nested queries; and of four further signs (more
    than one aggregate, selected column, condition, grouping column). As in Spider's code, a negated condition
    and a connective in HAVING count as aggregates.

    Args:
        sql: a query, in general the gold one.

    Returns:
        One of `HARDNESS`.

    Example:
        >>> hardness("SELECT count(*) FROM singer"), hardness("SELECT a, b FROM t WHERE c = 1 ORDER BY d LIMIT 1")
        ('easy', 'hard')

    References:
        Yu et al., Spider, EMNLP 2018, section 5; taoyds/spider, `evaluation.py` (`eval_hardness`).
    """
    tree = tree_of(sql)
    if tree is None:
        return "extra"
    from sqlglot import exp

    combined = 0
    while isinstance(tree, (exp.SetOperation, exp.Subquery)):
        combined = combined or int(isinstance(tree, exp.SetOperation))
        tree = tree.this
    if not isinstance(tree, exp.Select):
        return "extra"
    select: exp.Select = tree
    where = _condition(select.args.get("where"))
    having = _condition(select.args.get("having"))
    joins = select.args.get("joins") or []
    on = [part for join in joins for part in _condition(join, "on")]
    parts = [*on, *where, *having]
    conditions = [part for part in parts if not isinstance(part, str)]
    group = select.args["group"].expressions if select.args.get("group") else []
    order = [one.this for one in select.args["order"].expressions] if select.args.get("order") else []

    clauses = bool(where) + bool(group) + bool(order) + bool(select.args.get("limit")) + len(joins)
    clauses += parts.count("or") + sum(isinstance(_positive(one), exp.Like) for one in conditions)
    nested = combined + sum(_queries_in(one) for one in conditions)
    aggregates = sum(map(_begins_with_aggregate, [*select.expressions, *group]))
    aggregates += sum(_aggregates_of_order(one) for one in order)
    aggregates += sum(_is_negated(one) for one in [*where, *having] if not isinstance(one, str))
    aggregates += sum(isinstance(one, str) for one in having)
    others = (aggregates > 1) + (len(select.expressions) > 1) + (len(where) > 1) + (len(group) > 1)
    return _class_of(clauses, nested, others)


def _class_of(clauses: int, nested: int, others: int) -> str:
    if nested == 0:
        if clauses <= 1 and others == 0:
            return "easy"
        if (clauses <= 1 and others <= 2) or (clauses <= 2 and others < 2):
            return "medium"
        if (clauses <= 2 and others > 2) or (clauses == 3 and others <= 2):
            return "hard"
    return "hard" if clauses <= 1 and others == 0 and nested <= 1 else "extra"


def _condition(clause: Any, key: str = "this") -> list[Any]:
    """Return the conditions of a clause in order, with the connectives between them as texts."""
    found = clause.args.get(key) if clause is not None else None
    return list(_flat(found)) if found is not None else []


def _flat(node: Any) -> Iterator[Any]:
    from sqlglot import exp

    if isinstance(node, exp.Paren):
        yield from _flat(node.this)
    elif isinstance(node, (exp.And, exp.Or)):
        yield from _flat(node.left)
        yield "or" if isinstance(node, exp.Or) else "and"
        yield from _flat(node.right)
    else:
        yield node


def _is_negated(condition: Any) -> bool:
    from sqlglot import exp

    negated: bool = isinstance(condition, exp.Not) or bool(condition.args.get("negate"))
    return negated


def _positive(condition: Any) -> Any:
    from sqlglot import exp

    return condition.this if isinstance(condition, exp.Not) else condition


def _queries_in(condition: Any) -> int:
    """Return how many operands of a condition are queries; like Spider, this leaves out the left operand."""
    from sqlglot import exp

    condition = _positive(condition)
    names = ("query", "expression", "low", "high")
    operands = [condition.args.get(name) for name in names] + (condition.args.get("expressions") or [])
    if isinstance(condition, exp.Exists):
        operands.append(condition.this)
    return sum(isinstance(one, exp.Query) for one in operands)


def _begins_with_aggregate(expression: Any) -> bool:
    from sqlglot import exp

    node = expression.unalias()
    while isinstance(node, exp.Binary):
        node = node.left
    return isinstance(node, exp.AggFunc)


def _aggregates_of_order(expression: Any) -> int:
    from sqlglot import exp

    sides = (expression.left, expression.right) if isinstance(expression, exp.Binary) else (expression,)
    return sum(isinstance(side, exp.AggFunc) for side in sides)
