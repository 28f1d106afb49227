"""The rewrites of literals for `predicates`: what a numeral or a text is once it is compared with something."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from .context import Context
from .leaves import FALSE, TRUE, Boolean, Number, Text
from .terms import Term

# Dialects that convert what is compared.
_COERCING = ("sqlite", "mysql")


def fit(literal: Term, affinity: str, context: Context) -> Term:
    """Return a literal as comparing it with a column of that affinity converts it (datatype3.html, 4.2)."""
    if affinity in ("number", "real"):
        if isinstance(literal, Number):
            return _as_number(literal, literal.numeral)
        if isinstance(literal, Text) and context.facts.dialect in _COERCING:
            return _as_number(literal, literal.text)
    elif affinity == "text" and isinstance(literal, Number) and context.facts.dialect in _COERCING:
        return Text(literal.numeral)
    return literal


def _as_number(literal: Number | Text, text: str) -> Number | Text:
    text = text.strip()
    if not text or not all(character in "0123456789.-" for character in text):
        return literal
    try:
        value = Decimal(text)
    except ArithmeticError:
        return literal
    whole = value == value.to_integral_value()
    number = Number(str(int(value)) if whole else format(value.normalize(), "f"))
    return literal if literal == number else number


def is_short(term: Term) -> bool:
    """Return whether a term is a numeral that floats of four bytes tell from every other such numeral."""
    return isinstance(term, Number) and sum(map(str.isdigit, term.numeral)) <= 6


_HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "<>": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def fold_comparison(head: str, left: Term, right: Term) -> Boolean | None:
    """Return whether a comparison of two literals holds; `None` where that is not known."""
    holds = _HOLDS.get(head)
    if holds is None:
        return None
    if isinstance(left, Number) and isinstance(right, Number):
        try:
            return TRUE if holds(Decimal(left.numeral), Decimal(right.numeral)) else FALSE
        except ArithmeticError:
            return None
    if isinstance(left, Text) and isinstance(right, Text):
        if head not in ("=", "<>") and left != right:
            # Whether two texts are equal or in order depends on the collation.
            return None
        return TRUE if holds(left.text, right.text) else FALSE
    return None


def strict_bound(head: str, right: Term) -> tuple[str, Term]:
    """Return the bound of a count, which is whole: `>= 2` is `> 1` and `<= 2` is `< 3`."""
    if isinstance(right, Number) and right.numeral.lstrip("-").isdigit():
        if head == ">=":
            return ">", Number(str(int(right.numeral) - 1))
        if head == "<=":
            return "<", Number(str(int(right.numeral) + 1))
    return head, right
