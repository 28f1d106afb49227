"""The rewrites of values for `predicates`: arithmetic, CASE, calls and aggregates."""

from __future__ import annotations

from collections.abc import Iterable

from ._truth import truth
from ._values import as_value
from .context import Context
from .leaves import FALSE, NULL, ONE, TRUE, Number, Star, Text, Word
from .operators import COUNT_ALL, Aggregate, Arithmetic, Call, Case, Cast, Comparison, Like
from .terms import Term


def arithmetic(term: Arithmetic, context: Context) -> Term:
    """Fold whole numbers; sort the operands of a sum and of a product."""
    head, left, right = term.head, term.left, term.right
    if head not in ("+", "-", "*"):
        return term
    if isinstance(left, Number) and isinstance(right, Number):
        folded = _folded(head, left.numeral, right.numeral)
        if folded is not None:
            return folded
    if head != "-" and (
        right.head < left.head
        if right.head != left.head
        else repr(right) < repr(left)  # a repr of a long sum takes long
    ):
        return Arithmetic(head, right, left)
    return term


def _folded(head: str, left: str, right: str) -> Number | None:
    if not (left + right).replace("-", "").isdigit():
        return None
    a, b = int(left), int(right)
    result = a + b if head == "+" else a - b if head == "-" else a * b
    return Number(str(result)) if abs(result) < 2**62 else None


def case(term: Case, context: Context) -> Term:
    """Drop branches that are never taken; a CASE that replaces NULL is COALESCE."""
    branches: list[tuple[Term, Term]] = []
    otherwise = term.otherwise
    for condition, then in term.branches:
        when = truth(condition)
        if when in (FALSE, NULL):
            continue
        if when == TRUE:
            otherwise = then
            break
        branches.append((when, then))
    while branches:
        _, then = branches[-1]
        if then != otherwise:
            break
        branches.pop()
    if not branches:
        return as_value(otherwise, context)
    if len(branches) == 1:
        [(when, then)] = branches
        if when == Comparison("is", otherwise, NULL):
            return _coalesce([otherwise, then], context)
        if when == Comparison("is not", then, NULL):
            return _coalesce([then, otherwise], context)
    return Case(branches, otherwise)


def _coalesce(arguments: Iterable[Term], context: Context) -> Term:
    """Return COALESCE of what may be asked: each argument once, up to the first that is never NULL."""
    kept: dict[Term, None] = {}
    for argument in arguments:
        for one in _nested(argument, "coalesce"):
            if one == NULL or one in kept:
                continue
            kept[one] = None
            if context.not_null(one):
                return _first_of(list(kept), context)
    return _first_of(list(kept), context)


def _nested(term: Term, name: str) -> tuple[Term, ...]:
    """Return the arguments of a call of that function; any other term alone."""
    return term.arguments if isinstance(term, Call) and term.name == name else (term,)


def _first_of(arguments: list[Term], context: Context) -> Term:
    if not arguments:
        return NULL
    return Call("coalesce", *arguments) if len(arguments) > 1 else as_value(arguments[0], context)


def call(term: Call, context: Context) -> Term:
    """Give functions of several names one; flatten COALESCE and CONCAT."""
    name, arguments = term.name, term.arguments
    if name in ("coalesce", "ifnull") and arguments:
        return _coalesce(arguments, context)
    if name == "round" and len(arguments) == 2:
        value, digits = arguments
        return Call("round", value) if digits == Number("0") else term
    if name in ("concat", "concat_ws") and len(arguments) > 1:
        return term if any(isinstance(one, Star) for one in arguments) else _concatenation(term)
    if name == "len":
        return Call("length", *arguments)
    return term


def _concatenation(term: Call) -> Term:
    """CONCAT(a, CONCAT(b, c)) is CONCAT(a, b, c); texts side by side are one, with what CONCAT_WS puts between."""
    start: list[Term] = []
    between = ""
    arguments = term.arguments
    if term.name == "concat_ws":
        separator, *rest = arguments
        if not isinstance(separator, Text):
            return term
        start, between, arguments = [separator], separator.text, tuple(rest)
    parts: list[Term] = []
    # What sqlglot says of the dialect's function.
    words: dict[Word, None] = {}
    for argument in arguments:
        for one in _nested(argument, "concat") if term.name == "concat" else (argument,):
            before = parts[-1] if parts else None
            if isinstance(one, Word):
                words[one] = None
            elif isinstance(one, Text) and isinstance(before, Text):
                parts[-1] = Text(before.text + between + one.text)
            else:
                parts.append(one)
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0]
    return Call(term.name, *start, *parts, *words)


def cast(term: Cast, context: Context) -> Term:
    """A whole number cast to a type of whole numbers is itself; but in SQLite, where the cast has an affinity."""
    inner = term.operand
    if context.facts.dialect == "sqlite" or not isinstance(inner, Number):
        return term
    numeral = inner.numeral
    if not numeral.lstrip("-").isdigit():
        return term
    fits = -(2**31) < int(numeral) < 2**31 and (
        term.type in ("int", "integer") or (term.type == "uint" and numeral.isdigit())
    )
    return inner if fits else term


def like(term: Like, context: Context) -> Term:
    """SQLite's LIKE does not tell the case of ASCII letters."""
    pattern = term.pattern
    if term.head != "like" or context.facts.dialect != "sqlite" or term.escape:
        return term
    if not isinstance(pattern, Text) or not pattern.text.isascii():
        return term
    return Like("like", term.left, Text(pattern.text.lower()))


def aggregate(term: Aggregate, context: Context) -> Term:
    """A COUNT of what is never NULL counts rows; the comma is the default of GROUP_CONCAT."""
    if term.distinct:
        return term
    if term.name == "group_concat" and len(term.arguments) == 2:
        value, separator = term.arguments
        return Aggregate("group_concat", False, value) if separator == Text(",") else term
    if term.name == "count" and len(term.arguments) == 1:
        [counted] = term.arguments
        if isinstance(counted, Star) or context.not_null(counted):
            return COUNT_ALL
        if isinstance(counted, Case) and counted.otherwise == NULL and len(counted.branches) == 1:
            [(when, then)] = counted.branches
            if context.not_null(then):
                return Aggregate("count", False, Case([(when, ONE)], NULL))
    return term
