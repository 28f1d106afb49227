"""What SQLite makes of a value before it compares it: affinity and collation, fixed as they were written.

A rewrite may put one term in place of another of the same value, but a comparison also asks how the term was written:
`units = '7'` converts the text where `+units = '7'` and `COALESCE(units, 0) = '7'` do not, and `a = b` takes the
collation of a. So what a term was written with is said by the term: `ValueOf(x)` is x without its affinity, and
columns with a collation stand in comparisons as `Collate(x, name)` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .context import UNKNOWN, Context
from .leaves import CONSTANTS, Column, Null, Operator, Text, Word
from .operators import Cast, Collate, Comparison, Exists, In, Row, Scalar, ValueOf
from .terms import QUERIES, Query, Select, SetOperation, Term
from .walks import fold, remake

_NUMERIC = ("number", "real", "date")


def fix_collations(query: Query, context: Context) -> Query:
    """Return the query with the collation that counts on each side of every comparison.

    Nothing changes where all columns compare byte by byte and the text names no collation.
    """
    used = context.facts.collated or "collate" in context.heads
    return fold(query, _FIXES, context) if used else query


def _fix(term: Comparison, context: Context) -> Comparison:
    left, right = term.left, term.right
    if isinstance(left, Row) and isinstance(right, Row) and len(left.items) == len(right.items):
        pairs = [
            _fix(Comparison(term.head, a, b), context) for a, b in zip(left.items, right.items, strict=True)
        ]
        return Comparison(
            term.head, Row(*(pair.left for pair in pairs)), Row(*(pair.right for pair in pairs))
        )
    chosen = _explicit(left) or _explicit(right)
    if not chosen:
        chosen = context.collation(left if _has_collation(left) else right) or "binary"
    if chosen == UNKNOWN:
        return Comparison(term.head, Collate(left, "left"), Collate(right, "right"))
    return Comparison(term.head, _with(left, chosen, context), _with(right, chosen, context))


def _fix_in(term: In, context: Context) -> In:
    left, right = term.left, term.right
    parts = left.items if isinstance(left, Row) else (left,)
    if isinstance(right, Select):
        parts = (*parts, *right.items)
    if not any(_explicit(part) or context.collation(part) for part in parts):
        return term
    own = left if _has_collation(left) or not isinstance(right, Select) else right.items[0]
    chosen = "tuple" if isinstance(left, Row) else _explicit(left) or context.collation(own) or "binary"
    return In(Collate(_without(left), chosen), right)


def _fix_value(term: ValueOf, context: Context) -> Term:
    collation = context.collation(term.operand)
    return Collate(term, collation, _OWN) if collation else term


def _fix_setop(query: SetOperation, context: Context) -> SetOperation:
    """The collation of the first branch counts, and its spelling of equal texts is what is shown."""
    items = [item for branch in query.branches if isinstance(branch, Select) for item in branch.items]
    return remake(query, [*query, BY_COLLATION]) if any(map(context.collation, items)) else query


def _fix_select(block: Select, context: Context) -> Select:
    """Of texts that a collation takes for equal, DISTINCT and GROUP BY show one; no rule knows which."""
    folds = block.distinct is True or block.group
    if folds and any(map(context.collation, (*block.items, *(block.group or ())))):
        return block._replace(extra=(*block.extra, BY_COLLATION))
    return block


#: Says that a query shows one of several texts that a collation takes for equal.
BY_COLLATION = Word("by collation")
#: What branches come first counts for what IN converts.
BY_PLACE = Word("by place")
_FIXES: dict[type, Callable[[Any, Context], Term]] = {
    Comparison: _fix,
    In: _fix_in,
    ValueOf: _fix_value,
    SetOperation: _fix_setop,
    Select: _fix_select,
}
# A collation that a term has by itself, so that the other side's COLLATE goes before it.
_OWN = "own"


def _has_collation(term: Term) -> bool:
    """Return whether a term brings a collation, be it the one that compares byte by byte."""
    if isinstance(term, (ValueOf, Cast)):
        return _has_collation(term.operand)
    return isinstance(term, (Column, Collate))


def _explicit(term: Term) -> str:
    """Return the collation that COLLATE gives a term or a part of it."""
    if isinstance(term, Collate):
        return "" if term.options else term.collation
    if isinstance(term, _CLOSED):
        return ""
    return next((name for part in term if isinstance(part, Operator) and (name := _explicit(part))), "")


_CLOSED = (Column, *CONSTANTS, Scalar, Exists, *QUERIES)


def _without(term: Term) -> Term:
    while isinstance(term, Collate):
        term = term.operand
    return term


def _with(term: Term, chosen: str, context: Context) -> Term:
    inner = _without(term)
    if isinstance(inner, CONSTANTS) or (chosen == "binary" and not context.collation(inner)):
        return inner
    return Collate(inner, chosen)


def bare(term: Term, context: Context) -> Term:
    """Return a term where nothing asks for its affinity: `+x` is x there, unless it loses a collation."""
    return term.operand if isinstance(term, ValueOf) and not context.collation(term.operand) else term


def shown(query: Query, context: Context) -> Query:
    """Return the query of a whole text with each `+x` that it shows as x: nothing compares it any more."""
    if isinstance(query, Select):
        return query._replace(items=tuple(bare(item, context) for item in query.items))
    if isinstance(query, SetOperation) and BY_COLLATION not in query.extra:
        return query.with_branches(shown(branch, context) for branch in query.branches)
    return query


def as_value(term: Term, context: Context) -> Term:
    """Return a term without the affinity that it has as it stands; what a function or CASE returns has none."""
    if context.facts.dialect != "sqlite" or not isinstance(term, _HAVE_AFFINITY):
        return term
    if context.affinity(term) == "none" and not context.collation(term):
        return term
    context.tagged = True
    return ValueOf(term)


_HAVE_AFFINITY = (Column, Cast, Scalar, Collate)


def compared(left: Term, right: Term, context: Context) -> tuple[Term, Term]:
    """Return the sides of a comparison, each as itself instead of `+` itself where that compares alike."""
    if isinstance(left, ValueOf) and _alike(left.operand, right, context):
        left = bare(left, context)
    if isinstance(right, ValueOf) and _alike(right.operand, left, context):
        right = bare(right, context)
    return left, right


def _alike(term: Term, other: Term, context: Context) -> bool:
    """Return whether comparing a term converts neither side, or converts it with or without its affinity."""
    kind = context.affinity(term)
    if isinstance(other, Null):
        return True
    if isinstance(other, CONSTANTS):
        return kind == "blob" or (kind == "text" if isinstance(other, Text) else kind in _NUMERIC)
    if isinstance(other, ValueOf):
        theirs = context.affinity(other.operand)
        return kind == "blob" or (kind in _NUMERIC and theirs in _NUMERIC) or kind == theirs == "text"
    theirs = context.affinity(other)
    if kind == "blob":
        return theirs in (*_NUMERIC, "blob", "none")
    return (theirs in _NUMERIC and kind in (*_NUMERIC, "text")) or (
        kind == "text" and theirs in ("text", "blob")
    )
