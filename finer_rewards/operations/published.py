"""The operations as FINER-SQL's published code tells them, faults included: for comparison only.

Written anew from what that code (commit 3436ab7) computes on the sqlglot versions supported here. Its faults:
no FROM and no CTE is read; a join keeps its kind but not its side, and joins are counted wherever they stand;
conditions keep column names without their table, except in ON, where the alias is kept as written; functions
and operators keep their first argument and their list of arguments only, so that every CASE is one and `a + b`
equals `a + c`; a literal or an unknown function among the columns makes the whole query unreadable; every
subquery has the same end mark; and the operations form a set.

Compared with the published code on 24,656 pairs of prediction and gold (Spider and BIRD dev, sqlglot 30.30.0) on
2026-11-21: 24,642 scores equal. The other 14 are predictions that `parse_query` refuses and the published code
reads: several statements, of which it takes the first, or clauses out of their order. Nesting too deep for its
stack is unreadable there and may be read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlglot import exp
from sqlglot.errors import SqlglotError

from finer_rewards._util.sqlglot_log import quiet_sqlglot

from .guard import OperationsError, parse_query, with_deep_stack

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)
_PAIRS = (*_COMPARISONS, exp.Like, exp.ILike, exp.Is)
# There any error whatever gives the empty set; these are the ones that its reading of a tree can meet.
_FAULTS = (OperationsError, SqlglotError, AttributeError, KeyError, TypeError, ValueError)


def published_operations(sql: str, dialect: str = "sqlite") -> frozenset[str]:
    """Return the published set of operations; SQL that it cannot read gives the empty set, as there.

    Example:
        >>> published_operations("SELECT a FROM t") == published_operations("SELECT a FROM u")
        True
        >>> published_operations("SELECT 1")
        frozenset()
    """
    try:
        with quiet_sqlglot():
            return with_deep_stack(lambda: frozenset(_query(parse_query(sql, dialect))))
    except _FAULTS:
        return frozenset()


def published_score(predicted: str, golds: tuple[str, ...], dialect: str = "sqlite") -> float:
    """Return the published similarity to the nearest gold in [0, 1]; 0 where neither can be read.

    It is the Jaccard index of the sets, before `shaped`.
    """
    ours = published_operations(predicted, dialect)
    return max((_jaccard(ours, published_operations(gold, dialect)) for gold in golds), default=0.0)


def _jaccard(ours: frozenset[str], theirs: frozenset[str]) -> float:
    return len(ours & theirs) / len(ours | theirs) if ours or theirs else 0.0


def _query(tree: Any) -> Iterator[str]:
    for join in tree.find_all(exp.Join):
        yield f"join {(join.args.get('kind') or 'inner').lower()} {_source(join.this)}"
        for part in _conjuncts(join.args.get("on")):
            yield f"on {_condition(part, qualified=True)}"
    # Of a set operation the first SELECT in the tree.
    select = tree.find(exp.Select, bfs=False)
    if select is not None:
        if select.args.get("distinct"):
            yield "distinct"
        for item in select.expressions:
            yield from _item(item)
    for clause in ("where", "having"):
        if (held := tree.args.get(clause)) is not None:
            for part in _conjuncts(held.this):
                yield from _filter(clause, part)
    if (group := tree.args.get("group")) is not None:
        for key in group.expressions:
            yield f"group {_text(key)}"
    if (order := tree.args.get("order")) is not None:
        for key in order.expressions:
            yield f"order {'desc' if key.args.get('desc') else 'asc'} {_text(key.this)}"
    if (limit := tree.args.get("limit")) is not None:
        yield f"limit {_text(limit.expression)}"
    if isinstance(tree, exp.SetOperation):
        yield tree.key if tree.args.get("distinct", True) else f"{tree.key} all"
        yield from _query(tree.this)
        yield from _inside("set operation", tree.expression)


def _inside(place: str, tree: Any) -> Iterator[str]:
    yield f"begin {place}"
    yield from _query(tree)
    yield "end"


def _item(item: Any) -> Iterator[str]:
    alias, node = (item.alias, item.this) if isinstance(item, exp.Alias) else ("", item)
    if isinstance(node, (exp.Column, exp.Star)):
        text = _text(node) if isinstance(node, exp.Column) else "*"
        yield f"column {text}"
    else:
        # Of a literal too, whose argument is no tree: an error, as in the published code.
        text = _call(node, qualified=False)
        yield f"expression {text}"
    if alias:
        yield f"alias {alias} of {text}"


def _conjuncts(condition: Any) -> Iterator[Any]:
    waiting = [] if condition is None else [condition]
    while waiting:
        node = waiting.pop()
        if isinstance(node, exp.And):
            waiting += [node.this, node.expression]
        else:
            yield node


def _filter(clause: str, part: Any) -> Iterator[str]:
    """Tell one condition of WHERE or HAVING, with the query that it asks for an answer."""
    query = part.args.get("query")
    if isinstance(part, _COMPARISONS) and isinstance(part.expression, exp.Subquery):
        place, inner, told = f"{clause} value", part.expression.this, f"{part.key} {_text(part.this)}, query"
    elif isinstance(part, _COMPARISONS) and isinstance(part.this, exp.Subquery):
        place, inner, told = f"{clause} value", part.this.this, f"{part.key} query, {_text(part.expression)}"
    elif isinstance(part, exp.In) and isinstance(query, exp.Subquery):
        place, inner, told = "in", query.this, f"in {_text(part.this)}, query"
    elif isinstance(part, exp.Exists):
        place, inner, told = "exists", part.this, "exists query"
    else:
        yield f"{clause} {_condition(part)}"
        return
    yield from _inside(place, inner)
    yield f"{clause} {told}"


def _condition(part: Any, qualified: bool = False) -> str:
    if isinstance(part, _PAIRS):
        operands = [part.this, part.expression]
    elif isinstance(part, exp.Between):
        operands = [part.this, part.args["low"], part.args["high"]]
    elif isinstance(part, exp.In) and part.expressions:
        operands = [part.this, *part.expressions]
    else:
        return f"as written {part.sql()}"
    return f"{part.key} {', '.join(_text(one, qualified) for one in operands)}"


def _text(node: Any, qualified: bool = False) -> str:
    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.Column):
        name = str(node.name).lower()
        return f"{node.table}.{name}" if qualified and node.table else name
    if isinstance(node, (exp.Literal, exp.Null, exp.Boolean)):
        return f"value {node.sql()}"
    if isinstance(node, exp.Func):
        return _call(node, qualified)
    if isinstance(node, exp.Tuple):
        return f"({', '.join(_text(one, qualified) for one in node.expressions)})"
    return str(node.sql())


def _call(node: Any, qualified: bool) -> str:
    """Tell a function or an operator by its name, which is that of a first argument with a name of its own."""
    arguments = [*(node.args.get("expressions") or ()), node.args.get("this")]
    told = ", ".join(_text(one, qualified) for one in arguments if one is not None)
    distinct = "distinct " if node.args.get("distinct") else ""
    return f"{(node.name or node.key).upper()}({distinct}{told})"


def _source(node: Any) -> str:
    if isinstance(node, exp.Table):
        return ".".join(one.name.lower() for one in node.find_all(exp.Identifier)) or node.name.lower()
    return str(node.sql())
