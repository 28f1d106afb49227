"""Which terms are conditions, and what a term becomes where it only has to be true, as in WHERE."""

from __future__ import annotations

from .context import Context
from .leaves import Boolean, Column, Null
from .operators import Comparison, Connective, Exists, In, Like, Not
from .terms import Term

_TRUTHS = (Connective, Not, Comparison, In, Exists, Like, Boolean, Null)


def is_truth(term: Term, context: Context | None = None) -> bool:
    """Return whether a term can be nothing but true, false or NULL; a column of type BOOLEAN too, but in SQLite."""
    if context is not None and isinstance(term, Column) and context.facts.dialect != "sqlite":
        return context.kind(term) in ("boolean", "bool")
    return isinstance(term, _TRUTHS)


def truth(term: Term) -> Term:
    """Return a term that is true for the same rows: as a value `NOT NOT 4` is 1, as a condition it is 4.

    Example:
        >>> truth(Not(Not(Column(1, "n"))))
        ('column', 1, 'n')
    """
    if isinstance(term, Not) and isinstance(term.operand, Not):
        return truth(term.operand.operand)
    if isinstance(term, Connective):
        parts = tuple(map(truth, term.operands))
        return term if parts == term.operands else Connective(term.head, *parts)
    return term
