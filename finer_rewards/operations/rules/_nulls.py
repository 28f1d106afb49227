"""Which conditions cannot be true where a value is NULL: by that, an outer join is an inner one."""

from __future__ import annotations

from collections.abc import Callable

from ..leaves import NULL
from ..operators import Arithmetic, Cast, Comparison, Connective, In, Like, List, Negative, Not
from ..terms import Term


def rejects_null(condition: Term, is_null: Callable[[Term], bool]) -> bool:
    """Return whether a condition is not true of a row where every term that `is_null` names is NULL."""
    if isinstance(condition, Connective):
        parts = (rejects_null(operand, is_null) for operand in condition.operands)
        return any(parts) if condition.head == "and" else all(parts)
    if isinstance(condition, Not):
        inner = condition.operand
        # NULL NOT IN (a subquery without rows) is true.
        strict = bool(strict_operands(inner)) or (isinstance(inner, In) and isinstance(inner.right, List))
        return strict and rejects_null(inner, is_null)
    if isinstance(condition, In):
        return null_through(condition.left, is_null)
    value = asked_for(condition)
    if value is not None:
        return null_through(value, is_null)
    return any(null_through(operand, is_null) for operand in strict_operands(condition))


def strict_operands(condition: Term) -> tuple[Term, ...]:
    """Return what is compared by a condition that is NULL where a part of it is; nothing for other conditions."""
    if isinstance(condition, Comparison):
        return () if condition.head in ("is", "is not") else (condition.left, condition.right)
    if isinstance(condition, Like):
        return (condition.left, condition.pattern, *condition.escape)
    return ()


def asked_for(condition: Term) -> Term | None:
    """Return the term that a condition says is not NULL, and no more; `None` for other conditions."""
    if isinstance(condition, Comparison) and condition.head == "is not" and condition.right == NULL:
        return condition.left
    return None


def null_through(term: Term, is_null: Callable[[Term], bool]) -> bool:
    """Return whether a value is NULL where the terms that `is_null` names are."""
    if is_null(term):
        return True
    if isinstance(term, (Negative, Cast)):
        return null_through(term.operand, is_null)
    if isinstance(term, Arithmetic):
        return null_through(term.left, is_null) or null_through(term.right, is_null)
    return False
