"""Rewrites of single expressions that hold for every row, NULLs included; `rules` calls it before each pass.

Rewrites that need the block around an expression are in `rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _scalars
from ._connectives import (
    NEGATED,
    absorb,
    bound,
    contradicts,
    factor,
    in_list,
    merge_equalities,
    operands,
)
from ._literals import fit, fold_comparison, strict_bound
from ._truth import is_truth, truth
from ._values import as_value, bare, compared
from .context import Context
from .leaves import CONSTANTS, FALSE, NULL, ONE, TRUE, Boolean, Column, Null, Number, Operator, Text
from .operators import (
    Aggregate,
    Arithmetic,
    Call,
    Case,
    Cast,
    Comparison,
    Connective,
    Exists,
    In,
    Like,
    List,
    Negative,
    Not,
    Row,
    SortKey,
    ValueOf,
    Window,
)
from .terms import Select, Term, is_cut
from .walks import T, fold, remake

_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>", "is": "is", "is not": "is not"}
_EITHER_WAY = ("=", "<>", "is", "is not")


def simplify(query: T, context: Context) -> T:
    """Apply every rewrite of this file, from the leaves upward."""
    context.tagged = False
    query = fold(query, _REWRITES, context)
    if context.tagged or "value" in context.heads:
        query = fold(query, _BARE, context)
    return query


# Conditions -------------------------------------------------------------------------------------------


def negate(term: Term, context: Context) -> Term:
    """Return NOT term, with the NOT as far inside as it goes."""
    if isinstance(term, Comparison):
        return _comparison(Comparison(NEGATED[term.head], term.left, term.right), context)
    if isinstance(term, Not):
        return term.operand if is_truth(term.operand, context) else Not(term)
    if isinstance(term, Connective):
        other = "or" if term.head == "and" else "and"
        return _connective(Connective(other, *(negate(part, context) for part in term.operands)), context)
    if isinstance(term, Boolean):
        return FALSE if term == TRUE else TRUE
    if isinstance(term, Null):
        return NULL
    if isinstance(term, In) and isinstance(term.right, List):
        others = (_comparison(Comparison("<>", term.left, one), context) for one in term.right.items)
        return _connective(Connective("and", *others), context)
    return Not(term)


def _not(term: Not, context: Context) -> Term:
    return negate(term.operand, context)


def _connective(term: Connective, context: Context) -> Term:
    """Flatten, drop repeats and neutral elements, sort; OR of equalities on one term becomes IN."""
    head = term.head
    neutral, absorbing = (TRUE, FALSE) if head == "and" else (FALSE, TRUE)
    parts: dict[Term, None] = {}
    for part in term.operands:
        for one in operands(part, head):
            one = _operand(one, context)
            if one == absorbing:
                return absorbing
            if one != neutral:
                parts[one] = None
    if len(parts) > 1:
        if contradicts(parts):
            return absorbing
        if head == "or":
            parts = merge_equalities(parts)
        parts = absorb(head, bound(head, parts))
    if not parts:
        return neutral
    if len(parts) == 1:
        [only] = parts
        return only if is_truth(only, context) else Not(Not(only))
    factored = factor(head, parts)
    if factored is not None:
        inner = [
            _connective(part, context) if isinstance(part, Connective) and part.head == head else part
            for part in factored.operands
        ]
        return _connective(Connective(factored.head, *inner), context)
    changed = Connective(head, *sorted(parts, key=repr))
    return term if changed == term else changed


def _operand(term: Term, context: Context) -> Term:
    """Return an operand of AND or OR, of which only the truth counts."""
    if (
        isinstance(term, Number)
        and term.numeral.isdigit()
        and context.facts.dialect in ("sqlite", "duckdb", "mysql")
    ):
        return TRUE if int(term.numeral) else FALSE
    return truth(term)


def _comparison(term: Comparison, context: Context) -> Term:
    """Bring the constant to the right, fit literals to the column's type, fold constants."""
    head, left, right = _oriented(term, context)
    if isinstance(right, (Number, Text)):
        right = fit(right, context.affinity(left), context)
        folded = fold_comparison(head, left, right) if isinstance(left, CONSTANTS) else None
        if folded is not None:
            return folded
        if isinstance(left, Aggregate) and left.name == "count":
            head, right = strict_bound(head, right)
    if head in ("is", "is not"):
        return _identity(term, head, left, right, context)
    if NULL in (left, right):
        return NULL
    if left == right and head in ("=", "<=", ">=") and isinstance(left, Column) and context.not_null(left):
        return TRUE
    if head == "=" and isinstance(left, Row) and isinstance(right, Row) and len(left) == len(right):
        pairs = zip(left.items, right.items, strict=True)
        equal = (_comparison(Comparison("=", a, b), context) for a, b in pairs)
        return _connective(Connective("and", *equal), context)
    return _in_order(term, head, left, right)


def _oriented(term: Comparison, context: Context) -> tuple[str, Term, Term]:
    """Return a comparison with the constant on the right, and of two others with the smaller one on the left."""
    head, left, right = term.head, term.left, term.right
    if isinstance(left, ValueOf) or isinstance(right, ValueOf):
        left, right = compared(left, right, context)
    if isinstance(right, CONSTANTS):
        return head, left, right
    if isinstance(left, CONSTANTS) or head in (">", ">="):
        return _FLIPPED[head], right, left
    return head, left, right


def _identity(term: Comparison, head: str, left: Term, right: Term, context: Context) -> Term:
    """IS and IS NOT are settled by what is never NULL, and equalities where no side can be."""
    equality = "=" if head == "is" else "<>"
    if right == NULL:
        if left == NULL or context.not_null(left):
            return TRUE if (head == "is") == (left == NULL) else FALSE
        return term.of(head, left, right)
    if isinstance(right, Boolean) and not is_truth(left):
        # SQLite's `4 IS TRUE` is true and its `4 = TRUE` is not.
        return term.of(head, left, right)
    if context.not_null(left) and context.not_null(right):
        return _comparison(Comparison(equality, left, right), context)
    return _in_order(term, equality if context.loose and isinstance(right, Column) else head, left, right)


def _in_order(term: Comparison, head: str, left: Term, right: Term) -> Comparison:
    """Return a comparison that holds either way with its sides in their one order."""
    if head in _EITHER_WAY and not isinstance(right, CONSTANTS) and repr(right) < repr(left):
        return term.of(head, right, left)
    return term.of(head, left, right)


def _in(term: In, context: Context) -> Term:
    left, right = term.left, term.right
    if isinstance(right, List):
        if not right.items:
            return FALSE
        if isinstance(left, ValueOf) and all(
            compared(left, one, context)[0] is not left for one in right.items
        ):
            left = left.operand
        affinity = context.affinity(left)
        # The affinity of what is in the list does not count.
        return in_list(left, [as_value(fit(one, affinity, context), context) for one in right.items])
    if isinstance(right, Select) and (right.order or right.distinct) and not (is_cut(right) or right.extra):
        return In(left, right._replace(order=(), distinct=False))
    return term


def _exists(term: Exists, context: Context) -> Term:
    query = term.query
    if not isinstance(query, Select):
        return term
    if not (query.sources or query.outers or query.aggregated or is_cut(query)):
        return _connective(Connective("and", *query.where), context)
    if is_cut(query) or query.extra:
        return term
    if not query.aggregated:
        return Exists(query._replace(items=(ONE,), distinct=False, order=()))
    if query.group is None and not query.having:
        # An aggregate without groups always returns its row.
        return TRUE
    return Exists(query._replace(order=(), distinct=False))


# Affinity ---------------------------------------------------------------------------------------------


def _value(term: ValueOf, context: Context) -> Term:
    return term.operand if isinstance(term.operand, ValueOf) else as_value(term.operand, context)


def _bare_parts(term: Operator, context: Context) -> Operator:
    """Return a term that asks its parts for no affinity with each `+x` as x."""
    if not any(isinstance(part, ValueOf) for part in term):
        return term
    return remake(term, [bare(part, context) if isinstance(part, ValueOf) else part for part in term])


_BARE: dict[type, Callable[[Any, Context], Term]] = dict.fromkeys(
    (Arithmetic, Negative, Call, Aggregate, Case, Cast, Like, Connective, Not, SortKey, List, Window),
    _bare_parts,
)
_REWRITES: dict[type, Callable[[Any, Context], Term]] = {
    Not: _not,
    Connective: _connective,
    Comparison: _comparison,
    In: _in,
    ValueOf: _value,
    Like: _scalars.like,
    Exists: _exists,
    Arithmetic: _scalars.arithmetic,
    Case: _scalars.case,
    Cast: _scalars.cast,
    Call: _scalars.call,
    Aggregate: _scalars.aggregate,
}
