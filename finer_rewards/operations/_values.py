"""What SQLite makes of a value before it compares it: affinity and collation, fixed as they were written.

A rewrite may put one term in place of another of the same value, but a comparison also asks how the term was written:
`units = '7'` converts the text where `+units = '7'` and `COALESCE(units, 0) = '7'` do not, and `a = b` takes the
collation of a. So what a term was written with is said by the term: `("value", x)` is x without its affinity, and
columns with a collation stand in comparisons as `("collate", x, name)` alone.
"""

from __future__ import annotations

from typing import Any

from .context import UNKNOWN, Context
from .terms import COMPARISONS, Select, Term, fold_heads

__all__ = ["as_value", "bare", "compared", "fix_collations", "shown"]

_CONSTANTS = ("number", "text", "bool", "null")
_NUMERIC = ("number", "real", "date")


def fix_collations(query: Term, context: Context) -> Term:
    """Return the query with the collation that counts on each side of every comparison.

    Nothing changes where all columns compare byte by byte and the text names no collation.
    """
    used = context.facts.collated or "collate" in context.heads
    return fold_heads(query, _FIXES, context) if used else query


def _fix(term: Term, context: Context) -> Term:
    left, right = term[1], term[2]
    if left[0] == right[0] == "tuple" and len(left) == len(right):
        pairs = [_fix((term[0], a, b), context)[1:] for a, b in zip(left[1:], right[1:], strict=True)]
        return (term[0], ("tuple", *(pair[0] for pair in pairs)), ("tuple", *(pair[1] for pair in pairs)))
    chosen = _explicit(left) or _explicit(right)
    if not chosen:
        chosen = context.collation(left if _has_collation(left) else right) or "binary"
    if chosen == UNKNOWN:
        return (term[0], ("collate", left, "left"), ("collate", right, "right"))
    return (term[0], _with(left, chosen, context), _with(right, chosen, context))


def _fix_in(term: Term, context: Context) -> Term:
    left, right = term[1], term[2]
    parts = left[1:] if left[0] == "tuple" else (left,)
    if isinstance(right, Select):
        parts = (*parts, *right.items)
    if not any(_explicit(part) or context.collation(part) for part in parts):
        return term
    own = left if _has_collation(left) or not isinstance(right, Select) else right.items[0]
    chosen = "tuple" if left[0] == "tuple" else _explicit(left) or context.collation(own) or "binary"
    return (term[0], ("collate", _without(left), chosen), *term[2:])


def _fix_value(term: Term, context: Context) -> Term:
    collation = context.collation(term[1])
    return ("collate", term, collation, _OWN) if collation else term


def _fix_setop(term: Term, context: Context) -> Term:
    """The collation of the first branch counts, and its spelling of equal texts is what is shown."""
    items = [item for branch in term[2] if isinstance(branch, Select) for item in branch.items]
    return (*term, BY_COLLATION) if any(map(context.collation, items)) else term


def _fix_select(block: Select, context: Context) -> Select:
    """Of texts that a collation takes for equal, DISTINCT and GROUP BY show one; no rule knows which."""
    folds = block.distinct is True or block.group
    if folds and any(map(context.collation, (*block.items, *(block.group or ())))):
        return block._replace(extra=(*block.extra, BY_COLLATION))
    return block


#: Says that a query shows one of several texts that a collation takes for equal.
BY_COLLATION: Term = ("word", "by collation")
_FIXES = {
    **dict.fromkeys(COMPARISONS, _fix),
    "in": _fix_in,
    "value": _fix_value,
    "setop": _fix_setop,
    "select": _fix_select,
}
_OWN = "own"  # a collation that a term has by itself, so that the other side's COLLATE goes before it


def _has_collation(term: Term) -> bool:
    """Return whether a term brings a collation, be it the one that compares byte by byte."""
    return term[0] in ("column", "collate") or (term[0] in ("value", "cast") and _has_collation(term[1]))


def _explicit(term: Term) -> str:
    """Return the collation that COLLATE gives a term or a part of it."""
    if term[0] == "collate":
        return str(term[2]) if len(term) == 3 else ""
    if term[0] in _CLOSED:
        return ""
    return next(
        (name for part in term[1:] if isinstance(part, tuple) and part and (name := _explicit(part))), ""
    )


_CLOSED = frozenset({"scalar", "exists", "select", "setop", "values", "column", *_CONSTANTS})


def _without(term: Term) -> Term:
    while term[0] == "collate":
        term = term[1]
    return term


def _with(term: Term, chosen: str, context: Context) -> Term:
    inner = _without(term)
    if inner[0] in _CONSTANTS or (chosen == "binary" and not context.collation(inner)):
        return inner
    return ("collate", inner, chosen)


def bare(term: Term, context: Context) -> Term:
    """Return a term where nothing asks for its affinity: `+x` is x there, unless it loses a collation."""
    return term[1] if term[0] == "value" and not context.collation(term[1]) else term


def shown(query: Any, context: Context) -> Any:
    """Return the query of a whole text with each `+x` that it shows as x: nothing compares it any more."""
    if isinstance(query, Select):
        return query._replace(items=tuple(bare(item, context) for item in query.items))
    if query[0] == "setop" and BY_COLLATION not in query[6:]:
        return (*query[:2], tuple(shown(branch, context) for branch in query[2]), *query[3:])
    return query


def as_value(term: Term, context: Context) -> Term:
    """Return a term without the affinity that it has as it stands; what a function or CASE returns has none."""
    if context.facts.dialect != "sqlite" or term[0] not in _HAVE_AFFINITY:
        return term
    if context.affinity(term) == "none" and not context.collation(term):
        return term
    context.tagged = True
    return ("value", term)


_HAVE_AFFINITY = frozenset({"column", "cast", "scalar", "collate"})


def compared(left: Term, right: Term, context: Context) -> tuple[Term, Term]:
    """Return the sides of a comparison, each as itself instead of `+` itself where that compares alike."""
    if left[0] == "value" and _alike(left[1], right, context):
        left = bare(left, context)
    if right[0] == "value" and _alike(right[1], left, context):
        right = bare(right, context)
    return left, right


def _alike(term: Term, other: Term, context: Context) -> bool:
    """Return whether comparing a term converts neither side, or converts it with or without its affinity."""
    kind = context.affinity(term)
    if other[0] == "null":
        return True
    if other[0] in _CONSTANTS:
        return kind == "blob" or (kind == "text" if other[0] == "text" else kind in _NUMERIC)
    inner = other[1] if other[0] == "value" else other
    theirs = context.affinity(inner)
    if other[0] == "value":
        return kind == "blob" or (kind in _NUMERIC and theirs in _NUMERIC) or kind == theirs == "text"
    if kind == "blob":
        return theirs in (*_NUMERIC, "blob", "none")
    return (theirs in _NUMERIC and kind in (*_NUMERIC, "text")) or (
        kind == "text" and theirs in ("text", "blob")
    )
