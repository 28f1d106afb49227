"""From the expressions of sqlglot's trees to terms; `_scopes` calls it for each, and resolves the names in them.

Only this file, `_windows`, `_scopes`, `reading` and `sources` know the classes of sqlglot's trees.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from sqlglot import exp

from ._sqlite_tokens import UNARY_PLUS
from ._windows import order_terms, window
from .facts import cast_affinity
from .leaves import NULL, ONE, Boolean, Number, Star, Text, Word
from .operators import (
    COUNT_ALL,
    Aggregate,
    Arithmetic,
    Call,
    Case,
    Cast,
    Collate,
    Comparison,
    Connective,
    Exists,
    In,
    Like,
    List,
    Negative,
    Not,
    Other,
    Row,
    Scalar,
    ValueOf,
    binary,
)
from .terms import Query, Term
from .walks import remake


class Resolver(Protocol):
    """What an expression needs from the query around it."""

    dialect: str
    collated: bool

    def column(self, node: Any) -> Term:
        """Return the column a name stands for."""

    def query(self, node: Any) -> Query:
        """Return a subquery as a term."""

    def named_window(self, name: str) -> Any:
        """Return the specification of a WINDOW clause."""


def number(text: str) -> Term:
    """Return a numeral in one form: as a decimal, so that no digit is lost."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return Number(text.lower())
    if not value.is_finite() or abs(value.adjusted()) > 40:
        return Number(text.lower())
    if value == value.to_integral_value():
        # 2 and 2.0 divide differently, so a numeral with a point stays one.
        return Number(
            str(int(value)) + (".0" if (not text.isdigit() and "." in text) or "e" in text.lower() else ""),
        )
    return Number(format(value.normalize(), "f"))


_BINARY: dict[type[Any], str] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.Mod: "%", exp.DPipe: "||",
    exp.NullSafeEQ: "is", exp.NullSafeNEQ: "is not",
    exp.Glob: "glob",
    exp.BitwiseAnd: "&", exp.BitwiseOr: "|",
}  # fmt: skip

# Arguments that only tell how the text was written, or what sqlglot inferred from the dialect.
_SILENT = frozenset(
    {"big_int", "ignore_nulls", "safe", "typed", "is_left", "is_numeric", "ansi", "over", "requires_string"}
)


def _chain(node: Any, kind: type[Any]) -> list[Any]:
    """Return the operands of a chain of one connective, without recursion on its length."""
    found, stack = [], [node]
    while stack:
        top = stack.pop()
        while isinstance(top, exp.Paren):
            top = top.this
        if type(top) is kind:
            stack.append(top.expression)
            stack.append(top.this)
        else:
            found.append(top)
    return found


def read_term(node: Any, scope: Resolver) -> Term:
    """Return an expression as a term; what has no form of its own keeps its class and all its arguments."""
    while isinstance(node, (exp.Paren, exp.Alias)):
        node = node.this
    kind = type(node)
    reader = _READERS.get(kind)
    if reader is not None:
        return reader(node, scope)
    operator = _BINARY.get(kind)
    if operator is not None:
        return binary(operator, *_operands(node, scope))
    if isinstance(node, exp.Query):
        return Scalar(scope.query(node))
    if isinstance(node, exp.Anonymous) and node.this == UNARY_PLUS:
        operand = read_term(node.expressions[0], scope)
        if scope.dialect == "sqlite":
            return ValueOf(operand)
        # Elsewhere `+` before a text is an error, so only a numeral loses it.
        return operand if isinstance(operand, Number) else Call("+", operand)
    if isinstance(node, exp.Anonymous) and scope.dialect != "sqlite" and _name(node) == "mod":
        # In SQLite mod() computes in floating point, so it is not `%`.
        operands = _arguments(node, scope)
        return Arithmetic("%", *operands) if len(operands) == 2 else Call("mod", *operands)
    if isinstance(node, (exp.Max, exp.Min)) and node.expressions and scope.dialect == "sqlite":
        # SQLite's MAX(a, b) is no aggregate.
        return Call(_name(node), *_arguments(node, scope))
    if isinstance(node, exp.AggFunc):
        return _aggregate(node, scope)
    if isinstance(node, exp.Func):
        return Call(_name(node), *_arguments(node, scope))
    return Other("node", node.key, *_labelled(node, scope))


def _operands(node: Any, scope: Resolver) -> tuple[Term, Term]:
    """Read both operands; a left-deep chain of one operator is unrolled."""
    kind = type(node)
    last, *spine = [node.expression]
    while type(node.this) is kind:
        node = node.this
        spine.append(node.expression)
    left = read_term(node.this, scope)
    for right in reversed(spine):
        left = binary(_BINARY[kind], left, read_term(right, scope))
    return left, read_term(last, scope)


def _name(node: Any) -> str:
    return str(node.this).lower().strip() if isinstance(node, exp.Anonymous) else node.sql_name().lower()


def _arguments(node: Any, scope: Resolver) -> list[Term]:
    """Read the arguments of a function in the order of its signature; names of absent ones are not kept."""
    if isinstance(node, exp.Anonymous):
        return [read_term(one, scope) for one in node.expressions]
    found: list[Term] = []
    for name in node.arg_types:
        value = node.args.get(name)
        if value is None or value is False or name in _SILENT:
            continue
        if isinstance(value, list):
            found += [
                read_term(one, scope) if isinstance(one, exp.Expression) else Word(str(one)) for one in value
            ]
        elif isinstance(value, exp.Expression):
            found.append(read_term(value, scope))
        else:
            found.append(Word(f"{name} {value}".lower()))
    return found


def _labelled(node: Any, scope: Resolver) -> list[Term]:
    found: list[Term] = []
    for name in sorted(node.args):
        value = node.args[name]
        if value is None or value is False or value == [] or name in _SILENT:
            continue
        values = value if isinstance(value, list) else [value]
        read = [
            read_term(one, scope) if isinstance(one, exp.Expression) else Word(str(one).lower())
            for one in values
        ]
        found.append(Other(name, *read))
    return found


def _aggregate(node: Any, scope: Resolver) -> Term:
    distinct = False
    parts: list[Term] = []
    for name in node.arg_types:
        value = node.args.get(name)
        if value is None or value is False or name in _SILENT:
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, exp.Distinct):
                distinct = True
                parts += [read_term(inner, scope) for inner in one.expressions]
            elif isinstance(one, exp.Order):
                parts.append(Other("order", *order_terms(one, lambda part: read_term(part, scope))))
            elif isinstance(one, exp.Expression):
                parts.append(read_term(one, scope))
            else:
                parts.append(Word(f"{name} {one}".lower()))
    return aggregate(_name(node), distinct, parts)


def aggregate(name: str, distinct: bool, parts: list[Term]) -> Term:
    """Return an aggregate; what cannot be NULL is counted like rows, and repeats change no extreme."""
    if name == "count" and not distinct and (not parts or isinstance(parts[0], (Star, Number, Text))):
        return COUNT_ALL
    return Aggregate(name, distinct and name not in ("min", "max"), *parts)


def _literal(node: Any, scope: Resolver) -> Term:
    return Text(node.this) if node.is_string else number(node.this)


def _negative(node: Any, scope: Resolver) -> Term:
    return minus(read_term(node.this, scope))


def minus(term: Term) -> Term:
    """Return a term negated."""
    if not isinstance(term, Number):
        return Negative(term)
    text = term.numeral
    return Number(text[1:] if text.startswith("-") else "-" + text if text != "0" else "0")


def _in(node: Any, scope: Resolver) -> Term:
    left = read_term(node.this, scope)
    query = node.args.get("query")
    if query is not None:
        return In(left, scope.query(query))
    unnest, field = node.args.get("unnest"), node.args.get("field")
    if unnest is not None or field is not None:
        return In(left, Call("unnest", read_term(unnest or field, scope)))
    return In(left, List(*(read_term(one, scope) for one in node.expressions)))


def _between(node: Any, scope: Resolver) -> Term:
    value, low, high = (read_term(node.args[name], scope) for name in ("this", "low", "high"))
    within: Term = Connective("and", Comparison(">=", value, low), Comparison("<=", value, high))
    if not node.args.get("symmetric"):
        return within
    return Connective(
        "or", within, Connective("and", Comparison(">=", value, high), Comparison("<=", value, low))
    )


def _collate(node: Any, scope: Resolver) -> Term:
    return Collate(read_term(node.this, scope), node.expression.name.lower())


def _case(node: Any, scope: Resolver) -> Term:
    operand = None if node.this is None else read_term(node.this, scope)
    branches: list[tuple[Term, Term]] = []
    for branch in node.args.get("ifs") or []:
        when = read_term(branch.this, scope)
        condition = when if operand is None else Comparison("=", operand, when)
        branches.append((condition, read_term(branch.args["true"], scope)))
    default = node.args.get("default")
    return Case(branches, NULL if default is None else read_term(default, scope))


def _if(node: Any, scope: Resolver) -> Term:
    otherwise = node.args.get("false")
    return Case(
        [(read_term(node.this, scope), read_term(node.args["true"], scope))],
        NULL if otherwise is None else read_term(otherwise, scope),
    )


def _like(name: str) -> Callable[[Any, Resolver], Term]:
    def read(node: Any, scope: Resolver) -> Term:
        term: Term = Like(name, read_term(node.this, scope), read_term(node.expression, scope))
        return Not(term) if node.args.get("negate") else term

    return read


def _escape(node: Any, scope: Resolver) -> Term:
    inner = read_term(node.this, scope)
    escape = read_term(node.expression, scope)
    if isinstance(inner, Not):
        return Not(remake(inner.operand, [*inner.operand, escape]))
    return remake(inner, [*inner, escape])


def _is(node: Any, scope: Resolver) -> Term:
    right = node.expression
    if isinstance(right, exp.Not):
        return Comparison("is not", read_term(node.this, scope), read_term(right.this, scope))
    return Comparison("is", read_term(node.this, scope), read_term(right, scope))


def _window(node: Any, scope: Resolver) -> Term:
    return window(node, lambda part: read_term(part, scope), scope.named_window)


def _cast(node: Any, scope: Resolver) -> Term:
    return Cast(read_term(node.this, scope), cast_name(node.args["to"].sql(), scope.dialect))


def cast_name(declared: str, dialect: str) -> str:
    """Return what a value is cast to, by sqlglot's name of the type; SQLite casts to an affinity."""
    if dialect != "sqlite":
        return declared.lower()
    return "blob" if "BINARY" in declared.upper() else cast_affinity(declared)


def _exists(node: Any, scope: Resolver) -> Term:
    return Exists(scope.query(node.this))


def _filtered(node: Any, scope: Resolver) -> Term:
    condition = read_term(node.expression.this, scope)
    inner = read_term(node.this, scope)
    if isinstance(inner, Aggregate) and inner.arguments:
        counted, *rest = inner.arguments
        # CASE would lose the collation by which values are compared.
        compares = inner.distinct or inner.name in ("min", "max")
        if not isinstance(counted, Word) and not (scope.collated and compares):
            value = ONE if isinstance(counted, Star) else counted
            return Aggregate(inner.name, inner.distinct, Case([(condition, value)], NULL), *rest)
    return Other("filtered", inner, condition)


def _coalesce(node: Any, scope: Resolver) -> Term:
    parts = [read_term(node.this, scope), *(read_term(one, scope) for one in node.expressions)]
    return parts[0] if len(parts) == 1 else Call("coalesce", *parts)


def _json_value(node: Any, scope: Resolver) -> Term:
    name = "json_extract_scalar"
    path = read_term(node.expression, scope)
    if scope.dialect == "sqlite" and isinstance(path, Text) and path.text.startswith("$"):
        name = "json_extract"
    return Call(name, read_term(node.this, scope), path)


_READERS: dict[type[Any], Callable[[Any, Resolver], Term]] = {
    exp.Column: lambda node, scope: scope.column(node),
    exp.Identifier: lambda node, scope: scope.column(exp.Column(this=node)),
    exp.Literal: _literal,
    exp.Null: lambda node, scope: NULL,
    exp.Boolean: lambda node, scope: Boolean("true" if node.this else "false"),
    exp.Star: lambda node, scope: Star(),
    exp.And: lambda node, scope: Connective("and", *(read_term(one, scope) for one in _chain(node, exp.And))),
    exp.Or: lambda node, scope: Connective("or", *(read_term(one, scope) for one in _chain(node, exp.Or))),
    exp.Not: lambda node, scope: Not(read_term(node.this, scope)),
    exp.Neg: _negative,
    exp.In: _in,
    exp.Between: _between,
    exp.Collate: _collate,
    exp.JSONExtractScalar: _json_value,
    exp.Case: _case,
    exp.If: _if,
    exp.Like: _like("like"),
    exp.ILike: _like("ilike"),
    exp.Escape: _escape,
    exp.Is: _is,
    exp.Window: _window,
    exp.Cast: _cast,
    exp.Exists: _exists,
    exp.Filter: _filtered,
    exp.Coalesce: _coalesce,
    exp.Tuple: lambda node, scope: Row(*(read_term(one, scope) for one in node.expressions)),
}
