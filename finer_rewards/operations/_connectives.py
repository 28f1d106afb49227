"""The rewrites of AND and OR for `predicates`: each takes all operands and returns those that are left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from ._literals import fold_comparison, is_short
from .leaves import CONSTANTS, TRUE, Number
from .operators import Comparison, Connective, In, List
from .terms import Term

NEGATED = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "is": "is not", "is not": "is"}
_OTHER = {"and": "or", "or": "and"}
_BOUNDS = ("<>", "<", "<=", ">", ">=")
_MOST_ABSORBED = 40

#: Operands in their order, each once.
Operands = dict[Term, None]


def operands(term: Term, head: str) -> tuple[Term, ...]:
    """Return the operands of AND or OR; any other term alone."""
    return term.operands if isinstance(term, Connective) and term.head == head else (term,)


def _joined(head: str, parts: Iterable[Term]) -> Term:
    """Return the only operand, or AND or OR of several."""
    first, *rest = parts
    return Connective(head, first, *rest) if rest else first


def contradicts(parts: Operands) -> bool:
    """Return whether both `a IS b` and `a IS NOT b` are among the operands."""
    return any(
        isinstance(part, Comparison)
        and part.head == "is"
        and Comparison("is not", part.left, part.right) in parts
        for part in parts
    )


def merge_equalities(parts: Operands) -> Operands:
    """Return the operands of OR with equalities of one term and constants as one IN."""
    found: dict[Term, list[Term]] = {}
    rest: Operands = {}
    for part in parts:
        if isinstance(part, Comparison) and part.head == "=" and isinstance(part.right, CONSTANTS):
            found.setdefault(part.left, []).append(part.right)
        elif isinstance(part, In) and isinstance(part.right, List):
            found.setdefault(part.left, []).extend(part.right.items)
        else:
            rest[part] = None
    for left, values in found.items():
        rest[in_list(left, values)] = None
    return rest


def in_list(left: Term, values: list[Term]) -> Comparison | In:
    """Return the condition that a term is one of some values."""
    first, *rest = sorted(set(values), key=repr)
    return In(left, List(first, *rest)) if rest else Comparison("=", left, first)


def absorb(head: str, parts: Operands) -> Operands:
    """a AND (a OR b) is a, a OR (a AND b) is a (three-valued logic is a lattice); p OR (NOT p AND b) is p OR b.

    The last where p is never NULL.
    """
    other = _OTHER[head]
    parts = _without_denied(other, parts)
    inner = [
        frozenset(part.operands) for part in parts if isinstance(part, Connective) and part.head == other
    ]
    if not inner:
        return parts
    if len(inner) > 1 and len(inner) <= _MOST_ABSORBED:
        parts = {
            part: None
            for part in parts
            if not isinstance(part, Connective)
            or part.head != other
            or not any(one < frozenset(part.operands) for one in inner)
        }
    return {
        part: None
        for part in parts
        if not isinstance(part, Connective)
        or part.head != other
        or not any(one in parts for one in part.operands)
    }


def _without_denied(other: str, parts: Operands) -> Operands:
    """Return the operands with what contradicts one of them left out of the others."""
    denied = {
        Comparison(NEGATED[part.head], part.left, part.right)
        for part in parts
        if isinstance(part, Comparison) and part.head in ("is", "is not")
    }
    if not denied:
        return parts
    kept: Operands = {}
    for part in parts:
        if isinstance(part, Connective) and part.head == other:
            rest = [one for one in part.operands if one not in denied]
            part = _joined(other, rest) if rest else part
        kept[part] = None
    return kept


def factor(head: str, parts: Operands) -> Connective | None:
    """(a AND b) OR (a AND c) is a AND (b OR c), and the same with AND and OR exchanged; `None` with nothing shared."""
    other = _OTHER[head]
    first, *others = (operands(part, other) for part in parts)
    shared = [one for one in first if all(one in side for side in others)]
    if not shared:
        return None
    rests = [[one for one in side if one not in shared] for side in (first, *others)]
    if not all(rests):
        return Connective(other, *shared)
    return Connective(other, *shared, Connective(head, *(_joined(other, rest) for rest in rests)))


def bound(head: str, parts: Operands) -> Operands:
    """Of several bounds of the same side on one term keep the tightest, in OR the widest; numerals only.

    In AND a bound goes that follows from an equality.
    """
    bounds: dict[tuple[Term, str], list[tuple[Comparison, Number]]] = {}
    for part in parts:
        if isinstance(part, Comparison) and part.head in _BOUNDS and isinstance(part.right, Number):
            bounds.setdefault((part.left, part.head.rstrip("=")), []).append((part, part.right))
    if not bounds:
        return parts
    dropped: set[Term] = set()
    for (_, side), group in bounds.items():
        if side != "<>" and len(group) > 1:
            best = _tightest(head, side, group)
            dropped.update(part for part, _ in group if part != best)
    if head == "and":
        limited = (one for group in bounds.values() for one in group)
        dropped.update(_implied_by_equalities(limited, parts))
    return {part: None for part in parts if part not in dropped}


def _implied_by_equalities(
    bounds: Iterable[tuple[Comparison, Number]], parts: Operands
) -> Iterator[Comparison]:
    """Yield the bounds on a term that hold for the number which it has to equal."""
    equal = {
        part.left: part.right
        for part in parts
        if isinstance(part, Comparison) and part.head == "=" and is_short(part.right)
    }
    for part, limit in bounds:
        known = equal.get(part.left)
        if known is not None and is_short(limit) and fold_comparison(part.head, known, limit) == TRUE:
            yield part


def _tightest(head: str, side: str, group: list[tuple[Comparison, Number]]) -> Comparison:
    """Return the bound that implies the others, in OR the one that they imply; of equal ones the strict one in AND."""
    sign = (1 if side == ">" else -1) * (1 if head == "and" else -1)

    def tightness(limited: tuple[Comparison, Number]) -> tuple[Decimal, bool]:
        part, limit = limited
        return sign * Decimal(limit.numeral), (part.head == side) == (head == "and")

    best, _ = max(group, key=tightness)
    return best
