"""Expressions grouped as the engine groups them, whatever sqlglot made of them.

sqlglot has one table of precedence for nearly all dialects, and has changed it between versions; SQLite has one rank
for `=`, `IS`, `IN`, `LIKE` and `BETWEEN`, PostgreSQL three. Its trees keep every bracket, so the text's own order
of operands and operators can be read off a tree and grouped again by the engine's own table. Newer releases put
brackets of their own into a tree: those of the text are marked before it is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlglot import TokenType, exp

from ._sqlite_tokens import before_operand

# Of these functions sqlglot makes operators, which have no rank where they are calls.
_OPERATOR_FUNCTIONS = {
    "sqlite": (
        "JSON_EXTRACT",
        "JSON_EXTRACT_SCALAR",
        "JSON_EXTRACT_PATH_TEXT",
        "GLOB",
        "LIKE",
        "MOD",
        "REGEXP_LIKE",
    ),
    "postgres": ("MOD",),
    "duckdb": ("MOD",),
}
_MARK = "a bracket of the text"

# The ranks of SQLite are those of https://sqlite.org/lang_expr.html, of PostgreSQL those of its manual, 4.1.6;
# DuckDB has inherited them. `tests/test_operations_ranks.py` holds both tables against the engines themselves.
_OR, _AND, _NOT = 1, 2, 3
_CONNECTIVES: dict[type[Any], int] = {exp.Or: _OR, exp.And: _AND}
_EQUALITY = (exp.EQ, exp.NEQ)
_IDENTITY = (exp.Is, exp.NullSafeEQ, exp.NullSafeNEQ)
_ORDERED = (exp.LT, exp.LTE, exp.GT, exp.GTE)
_RANGES = tuple(
    vars(exp)[name]
    for name in ("In", "Between", "Like", "ILike", "Glob", "RegexpLike", "RegexpILike", "SimilarTo", "Match")
    if name in vars(exp)
)
_BITS = (exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseLeftShift, exp.BitwiseRightShift)
_SUMS, _PRODUCTS = (exp.Add, exp.Sub), (exp.Mul, exp.Div, exp.IntDiv, exp.Mod)
_JOINING = (exp.DPipe, exp.JSONExtract, exp.JSONExtractScalar)


def _ranked(*levels: tuple[type[Any], ...]) -> dict[type[Any], int]:
    ranks = dict(_CONNECTIVES)
    for rank, kinds in enumerate(levels, _NOT + 1):
        ranks.update(dict.fromkeys(kinds, rank))
    return ranks


# The functions REGEXP_LIKE and REGEXP_MATCHES are made operators too.
_CALLED = tuple(vars(exp)[name] for name in ("RegexpLike", "RegexpILike", "Match") if name in vars(exp))
_UNCALLED = tuple(one for one in _RANGES if one not in _CALLED)
_STANDARD = _ranked(
    _IDENTITY, (*_EQUALITY, *_ORDERED), _UNCALLED, (*_BITS, exp.DPipe), _SUMS, _PRODUCTS, (exp.Collate,)
)
_TABLES: Mapping[str, Mapping[type[Any], int]] = {
    "sqlite": _ranked(
        (*_EQUALITY, *_IDENTITY, *_RANGES), _ORDERED, _BITS, _SUMS, _PRODUCTS, _JOINING, (exp.Collate,)
    ),
    "postgres": _STANDARD,
    "duckdb": _STANDARD,
}


def mark_brackets(tokens: list[Any], dialect: str) -> None:
    """Mark the brackets of a text, so that its tree tells them from those that sqlglot adds.

    A function that sqlglot takes for an operator gets a name that it does not know.
    """
    named = _OPERATOR_FUNCTIONS.get(dialect, ())
    for place, token in enumerate(tokens):
        if token.token_type is TokenType.L_PAREN:
            token.comments = [_MARK]
            before = tokens[place - 1] if place else token
            if before.text.upper() in named and before_operand(tokens, place - 1):
                tokens[place - 1] = type(before)(
                    TokenType.VAR, before.text + " ", before.line, before.col, before.start, before.end
                )


class AmbiguousNotError(Exception):
    """A tree does not tell where a NOT stood."""


#: The dialects whose ranks are known.
ENGINES = frozenset(_TABLES)


class _Operator(NamedTuple):
    """One operator of a text, between its operands."""

    node: Any
    rank: int
    negated: bool = False
    escape: Any = None


def regrouped(tree: Any, dialect: str, leading_not: bool = False) -> Any:
    """Return a statement with every expression grouped as the engine of that dialect groups it.

    Args:
        tree: the statement.
        dialect: sqlglot's name of the dialect.
        leading_not: whether the text has a NOT in front of an operand; the tree of `NOT a IN (b) = c` is that of
            `a NOT IN (b) = c`.

    Raises:
        AmbiguousNotError: the tree does not tell which of these it is.

    Example:
        >>> import sqlglot
        >>> tree = sqlglot.parse_one("SELECT a < b IN (1)", read="sqlite")
        >>> regrouped(tree, "sqlite").expressions[0].key
        'in'
    """
    ranks = _TABLES.get(dialect)
    if ranks is None:
        return tree
    for bracket in list(tree.find_all(exp.Paren)):
        if _MARK not in (bracket.comments or ()):
            bracket.replace(bracket.this)
    # In SQLite INTERSECT has the rank of UNION.
    if dialect != "sqlite":
        for compound in list(tree.find_all(exp.SetOperation)):
            if isinstance(compound.parent, exp.SetOperation):
                continue
            parent, key, index = compound.parent, compound.arg_key, compound.index
            whole = _intersect_first(compound)
            if parent is None:
                tree = whole
            elif whole is not compound:
                _put(parent, key, index, whole)
    if leading_not and any(_is_unclear(node, ranks) for node in tree.find_all(exp.Not)):
        raise AmbiguousNotError
    for top in [node for node in tree.walk() if _is_operator(node, ranks) and not _inside(node, ranks)]:
        if not _consistent(top, ranks):
            flat = _flat(top, ranks)
            parent, key, index = top.parent, top.arg_key, top.index
            grouped, rest = _grouped(flat, 0, ranks)
            assert rest == len(flat)
            if parent is None:
                return grouped
            _put(parent, key, index, grouped)
    return tree


def _intersect_first(compound: Any) -> Any:
    """Return a compound query in which INTERSECT binds tighter than UNION and EXCEPT, as the standard has it."""
    operators: list[Any] = []
    node = compound
    while isinstance(node, exp.SetOperation):
        operators.insert(0, node)
        node = node.this
    kinds = [isinstance(one, exp.Intersect) for one in operators]
    # Every INTERSECT stands before any other operator.
    if kinds == sorted(kinds, reverse=True):
        return compound
    groups = [[node]]
    between: list[Any] = []
    for operator, intersects in zip(operators, kinds, strict=True):
        if intersects:
            groups[-1] = [_joined(operator, groups[-1][0], operator.expression)]
        else:
            groups.append([operator.expression])
            between.append(operator)
    whole = groups[0][0]
    for operator, (member,) in zip(between, groups[1:], strict=True):
        whole = _joined(operator, whole, member)
    for name in _OUTERMOST:
        whole.set(name, compound.args.get(name))
    return whole


_OUTERMOST = ("with", "with_", "order", "limit", "offset")


def _joined(operator: Any, left: Any, right: Any) -> Any:
    kept = {name: value for name, value in operator.args.items() if name not in _OUTERMOST}
    return type(operator)(**{**kept, "this": left, "expression": right})


def _put(parent: Any, key: str, index: int | None, value: Any) -> None:
    if index is None:
        parent.set(key, value)
    else:
        values = list(parent.args[key])
        values[index] = value
        parent.set(key, values)


def _negates(node: Any, ranks: Mapping[type[Any], int]) -> bool:
    """Return whether NOT belongs to the operator after it, as in `NOT IN` and `IS NOT`."""
    inner = node.this
    return isinstance(node, exp.Not) and (
        type(inner) in _RANGES or type(inner) in _IDENTITY or isinstance(inner, exp.Escape)
    )


def _is_unclear(node: Any, ranks: Mapping[type[Any], int]) -> bool:
    """Return whether a NOT may have stood in front of what it is the negation of, in a larger expression."""
    return _negates(node, ranks) and _inside(node, ranks) and _rank(node.parent, ranks) > _NOT


def _is_operator(node: Any, ranks: Mapping[type[Any], int]) -> bool:
    return type(node) in ranks or isinstance(node, (exp.Not, exp.Escape))


def _inside(node: Any, ranks: Mapping[type[Any], int]) -> bool:
    """Return whether a node is an operand of an operator around it, with no bracket between."""
    parent = node.parent
    return (
        parent is not None
        and _is_operator(parent, ranks)
        and (
            node.arg_key == "this"
            or (node.arg_key == "expression" and not isinstance(parent, exp.In))
            or node.arg_key == "high"
        )
    )


def _rank(node: Any, ranks: Mapping[type[Any], int]) -> int:
    """Return how tightly the operator at the top of a node binds; nothing binds tighter than what is none."""
    if isinstance(node, exp.Not):
        return _rank(node.this, ranks) if _negates(node, ranks) else _NOT
    if isinstance(node, exp.Escape):
        return _rank(node.this, ranks)
    return ranks.get(type(node), 99)


def _operands(node: Any) -> tuple[Any, Any]:
    """Return what stands left and right of an operator."""
    if isinstance(node, exp.Between):
        return node.this, node.args["high"]
    return node.this, None if isinstance(node, exp.In) else node.args.get("expression")


def _consistent(node: Any, ranks: Mapping[type[Any], int]) -> bool:
    """Return whether the engine groups a tree of operators as the tree is."""
    stack = [node]
    while stack:
        top = stack.pop()
        if isinstance(top, exp.Not) and not _negates(top, ranks):
            if _is_operator(top.this, ranks) and _rank(top.this, ranks) < _NOT:
                return False
            stack.append(top.this)
            continue
        inner = top.this if isinstance(top, exp.Not) else top
        inner = inner.this if isinstance(inner, exp.Escape) else inner
        if not _is_operator(inner, ranks):
            continue
        rank = ranks[type(inner)]
        left, right = _operands(inner)
        if _is_operator(left, ranks):
            if _rank(left, ranks) < rank or (isinstance(left, exp.Not) and not _negates(left, ranks)):
                return False
            stack.append(left)
        if right is not None and _is_operator(right, ranks):
            # Chains of one connective mean the same however they hang together.
            if _rank(right, ranks) < rank or (_rank(right, ranks) == rank and rank > _AND):
                return False
            stack.append(right)
    return True


def _flat(node: Any, ranks: Mapping[type[Any], int]) -> list[Any]:
    """Return operands and `_Operator`s in the order of the text."""
    found: list[Any] = []
    stack: list[Any] = [node]
    while stack:
        top = stack.pop()
        if isinstance(top, _Operator) or not _is_operator(top, ranks):
            found.append(top)
            continue
        if isinstance(top, exp.Not) and not _negates(top, ranks):
            stack += [top.this, _Operator(top, _NOT)]
            continue
        inner = top.this if isinstance(top, exp.Not) else top
        escape = inner.expression if isinstance(inner, exp.Escape) else None
        inner = inner.this if isinstance(inner, exp.Escape) else inner
        left, right = _operands(inner)
        operator = _Operator(inner, ranks[type(inner)], isinstance(top, exp.Not), escape)
        stack += ([right] if right is not None else []) + [operator, left]
    return found


def _grouped(flat: list[Any], place: int, ranks: Mapping[type[Any], int], lowest: int = 0) -> tuple[Any, int]:
    """Return the expression that begins at a place, of operators that bind at least so tightly, and where it ends."""
    first = flat[place]
    if isinstance(first, _Operator):
        inner, place = _grouped(flat, place + 1, ranks, _NOT)
        term: Any = exp.Not(this=inner)
    else:
        term, place = first, place + 1
    while place < len(flat) and flat[place].rank >= lowest:
        operator: _Operator = flat[place]
        place += 1
        arguments = {**operator.node.args, "this": term}
        if not isinstance(operator.node, exp.In):
            right, place = _grouped(flat, place, ranks, operator.rank + 1)
            arguments["high" if isinstance(operator.node, exp.Between) else "expression"] = right
        term = type(operator.node)(**arguments)
        if operator.escape is not None:
            term = exp.Escape(this=term, expression=operator.escape)
        if operator.negated:
            term = exp.Not(this=term)
    return term, place
