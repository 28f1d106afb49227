"""Rewrites of single expressions that hold for every row, NULLs included."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ._values import as_value, bare, compared
from .context import Context
from .terms import (
    COUNT_ALL,
    FALSE,
    NULL,
    TRUE,
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
    Number,
    Select,
    SortKey,
    Term,
    Text,
    ValueOf,
    Window,
    fold,
    remake,
)

__all__ = ["simplify", "truth"]

FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>", "is": "is", "is not": "is not"}
NEGATED = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "is": "is not", "is not": "is"}
_MOST_ABSORBED = 40
CONSTANTS = ("number", "text", "bool", "null")


def simplify(query: Any, context: Context) -> Any:
    """Apply every rewrite of this file, from the leaves upward."""
    context.tagged = False
    query = fold(query, _REWRITES, context)
    if context.tagged or "value" in context.heads:
        query = fold(query, _BARE, context)
    return query


def is_truth(term: Term, context: Context | None = None) -> bool:
    """Return whether a term can be nothing but true, false or NULL; a column of type BOOLEAN too, but in SQLite."""
    if context is not None and term[0] == "column" and context.facts.dialect != "sqlite":
        return context.kind(term) in ("boolean", "bool")
    return term[0] in _TRUTHS


_TRUTHS = frozenset(
    {"and", "or", "not", "=", "<>", "<", "<=", ">", ">=", "is", "is not", "in", "exists", "like", "ilike", "glob",
     "bool", "null"}
)  # fmt: skip


def truth(term: Term) -> Term:
    """Return a term that is true for the same rows: as a value `NOT NOT 4` is 1, as a condition it is 4.

    Example:
        >>> truth(("not", ("not", ("column", 1, "n"))))
        ('column', 1, 'n')
    """
    head = term[0]
    if head == "not" and term[1][0] == "not":
        inner: Term = term[1][1]
        return truth(inner)
    if head in ("and", "or"):
        parts = tuple(truth(part) for part in term[1:])
        return term if parts == term[1:] else Connective(head, *parts)
    return term


def negate(term: Term, context: Context) -> Term:
    """Return NOT term, with the NOT as far inside as it goes."""
    head = term[0]
    if head in NEGATED:
        return _comparison(Comparison(NEGATED[head], *term[1:]), context)
    if head == "not":
        inner: Term = term[1]
        return inner if is_truth(inner, context) else Not(term)
    if head == "and":
        return _connective(Connective("or", *(negate(part, context) for part in term[1:])), context)
    if head == "or":
        return _connective(Connective("and", *(negate(part, context) for part in term[1:])), context)
    if term == TRUE:
        return FALSE
    if term == FALSE:
        return TRUE
    if head == "null":
        return NULL
    if head == "in" and term[2][0] == "list":
        return _connective(
            Connective("and", *(_comparison(Comparison("<>", term[1], one), context) for one in term[2][1:])),
            context,
        )
    return Not(term)


def _not(term: Term, context: Context) -> Term:
    return negate(term[1], context)


def _connective(term: Term, context: Context) -> Term:
    """Flatten, drop repeats and neutral elements, sort; OR of equalities on one term becomes IN."""
    head = term[0]
    neutral, absorbing = (TRUE, FALSE) if head == "and" else (FALSE, TRUE)
    parts: dict[Term, None] = {}
    for part in term[1:]:
        for one in part[1:] if part[0] == head else (part,):
            one = _operand(one, context)
            if one == absorbing:
                return absorbing
            if one != neutral:
                parts[one] = None
    if len(parts) > 1:
        if any(part[0] == "is" and ("is not", *part[1:]) in parts for part in parts):
            return absorbing
        if head == "or":
            parts = _merge_equalities(parts)
        parts = _absorb(head, _bound(head, parts))
    if not parts:
        return neutral
    if len(parts) == 1:
        only = next(iter(parts))
        return only if is_truth(only, context) else Not(Not(only))
    factored = _factor(head, parts)
    if factored is not None:
        inner = [_connective(part, context) if part[0] == head else part for part in factored[1:]]
        return _connective((factored[0], *inner), context)
    return Connective(head, *sorted(parts, key=repr))


def _operand(term: Term, context: Context) -> Term:
    """Return an operand of AND or OR, of which only the truth counts."""
    if term[0] == "number" and term[1].isdigit() and context.facts.dialect in ("sqlite", "duckdb", "mysql"):
        return TRUE if int(term[1]) else FALSE
    return truth(term)


def _absorb(head: str, parts: dict[Term, None]) -> dict[Term, None]:
    """a AND (a OR b) is a, a OR (a AND b) is a (three-valued logic is a lattice); p OR (NOT p AND b) is p OR b.

    The last where p is never NULL.
    """
    other = _OTHER[head]
    denied = {(NEGATED[part[0]], *part[1:]) for part in parts if part[0] in ("is", "is not")}
    if denied and any(part[0] == other and not denied.isdisjoint(part[1:]) for part in parts):
        kept: dict[Term, None] = {}
        for part in parts:
            if part[0] == other:
                rest = tuple(one for one in part[1:] if one not in denied)
                part = rest[0] if len(rest) == 1 else Connective(other, *rest) if rest else part
            kept[part] = None
        parts = kept
    inner = [frozenset(part[1:]) for part in parts if part[0] == other]
    if not inner:
        return parts
    if len(inner) > 1 and len(inner) <= _MOST_ABSORBED:
        parts = {
            part: None
            for part in parts
            if part[0] != other or not any(one < frozenset(part[1:]) for one in inner)
        }
    return {part: None for part in parts if part[0] != other or not any(inner in parts for inner in part[1:])}


_OTHER = {"and": "or", "or": "and"}


def _factor(head: str, parts: dict[Term, None]) -> Term | None:
    """(a AND b) OR (a AND c) is a AND (b OR c), and the same with AND and OR exchanged."""
    other = _OTHER[head]
    sides = [part[1:] if part[0] == other else (part,) for part in parts]
    shared = [one for one in sides[0] if all(one in side for side in sides[1:])]
    if not shared:
        return None
    rests = [tuple(one for one in side if one not in shared) for side in sides]
    if not all(rests):
        return Connective(other, *shared)
    return Connective(
        other,
        *shared,
        Connective(head, *(rest[0] if len(rest) == 1 else Connective(other, *rest) for rest in rests)),
    )


def _merge_equalities(parts: dict[Term, None]) -> dict[Term, None]:
    found: dict[Term, list[Term]] = {}
    rest: dict[Term, None] = {}
    for part in parts:
        if part[0] == "=" and part[2][0] in CONSTANTS:
            found.setdefault(part[1], []).append(part[2])
        elif part[0] == "in" and part[2][0] == "list":
            found.setdefault(part[1], []).extend(part[2][1:])
        else:
            rest[part] = None
    for left, values in found.items():
        rest[_in_list(left, values)] = None
    return rest


def _in_list(left: Term, values: list[Term]) -> Term:
    distinct = sorted(set(values), key=repr)
    return Comparison("=", left, distinct[0]) if len(distinct) == 1 else In(left, List(*distinct))


def _bound(head: str, parts: dict[Term, None]) -> dict[Term, None]:
    """Of several bounds of the same side on one term keep the tightest, in OR the widest; numerals only.

    In AND a bound goes that follows from an equality.
    """
    bounds: dict[tuple[Term, str], list[Term]] = {}
    for part in parts:
        if part[0] in ("<>", "<", "<=", ">", ">=") and part[2][0] == "number":
            bounds.setdefault((part[1], part[0].rstrip("=")), []).append(part)
    if not bounds:
        return parts
    dropped: set[Term] = set()
    for (_, side), group in bounds.items():
        if side == "<>":
            continue
        sign = (1 if side == ">" else -1) * (1 if head == "and" else -1)
        best = max(
            group, key=lambda part: (sign * Decimal(part[2][1]), (len(part[0]) == 1) == (head == "and"))
        )
        dropped.update(part for part in group if part != best)
    if head == "and":
        equal = {part[1]: part[2] for part in parts if part[0] == "=" and _is_short(part[2])}
        for group in bounds.values():
            for part in group:
                if (
                    part[1] in equal
                    and _is_short(part[2])
                    and _fold_comparison(part[0], equal[part[1]], part[2]) == TRUE
                ):
                    dropped.add(part)
    return {part: None for part in parts if part not in dropped}


def _is_short(term: Term) -> bool:
    """Return whether a term is a numeral that floats of four bytes tell from every other such numeral."""
    return term[0] == "number" and sum(map(str.isdigit, term[1])) <= 6


def _comparison(term: Term, context: Context) -> Term:
    """Bring the constant to the right, fit literals to the column's type, fold constants."""
    head, left, right = term[0], term[1], term[2]
    if left[0] == "value" or right[0] == "value":
        left, right = compared(left, right, context)
    if (left[0] in CONSTANTS and right[0] not in CONSTANTS) or (
        left[0] not in CONSTANTS and right[0] not in CONSTANTS and head in (">", ">=")
    ):
        head, left, right = FLIPPED[head], right, left
    if right[0] in ("number", "text"):
        right = fit(right, context.affinity(left), context)
        if left[0] in CONSTANTS:
            folded = _fold_comparison(head, left, right)
            if folded is not None:
                return folded
        if left == COUNT_ALL or (left[0] == "aggregate" and left[1] == "count"):
            head, right = _whole(head, right)
    if NULL in (left, right) and head in ("=", "<>", "<", "<=", ">", ">="):
        return NULL
    if head in ("is", "is not") and left == right == NULL:
        return TRUE if head == "is" else FALSE
    if head in ("is", "is not") and right == NULL and context.not_null(left):
        return FALSE if head == "is" else TRUE
    if right[0] == "bool" and head in ("is", "is not") and not is_truth(left):
        return Comparison(head, left, right)  # SQLite's `4 IS TRUE` is true and its `4 = TRUE` is not
    if head in ("is", "is not") and right != NULL and context.not_null(left) and context.not_null(right):
        return _comparison(("=" if head == "is" else "<>", left, right), context)
    if context.loose and head in ("is", "is not") and right[0] == "column":
        head = "=" if head == "is" else "<>"
    if left[0] == "tuple" and right[0] == "tuple" and len(left) == len(right) and head == "=":
        return _connective(
            Connective(
                "and",
                *(
                    _comparison(Comparison("=", a, b), context)
                    for a, b in zip(left[1:], right[1:], strict=True)
                ),
            ),
            context,
        )
    if head in ("=", "<>", "is", "is not") and right[0] not in CONSTANTS and repr(right) < repr(left):
        left, right = right, left
    return Comparison(head, left, right)


def _whole(head: str, right: Term) -> tuple[str, Term]:
    """A count is whole: `>= 2` is `> 1` and `<= 2` is `< 3`."""
    if right[0] == "number" and right[1].lstrip("-").isdigit():
        if head == ">=":
            return ">", Number(str(int(right[1]) - 1))
        if head == "<=":
            return "<", Number(str(int(right[1]) + 1))
    return head, right


def fit(literal: Term, affinity: str, context: Context) -> Term:
    """Return a literal as comparing it with a column of that affinity converts it (datatype3.html, 4.2)."""
    if (
        affinity in ("number", "real")
        and literal[0] == "text"
        and context.facts.dialect in ("sqlite", "mysql")
    ):
        return _as_number(literal)
    if affinity in ("number", "real") and literal[0] == "number":
        return _as_number(Text(literal[1]))
    if affinity == "text" and literal[0] == "number" and context.facts.dialect in ("sqlite", "mysql"):
        return Text(literal[1])
    return literal


def _as_number(literal: Term) -> Term:
    text = literal[1].strip()
    if not text or not all(character in "0123456789.-" for character in text):
        return literal
    try:
        value = Decimal(text)
    except ArithmeticError:
        return literal
    if value == value.to_integral_value():
        return Number(str(int(value)))
    return Number(format(value.normalize(), "f"))


def _fold_comparison(head: str, left: Term, right: Term) -> Term | None:
    if left[0] != right[0] or left[0] not in ("number", "text"):
        return None
    try:
        a, b = (Decimal(left[1]), Decimal(right[1])) if left[0] == "number" else (left[1], right[1])
    except ArithmeticError:
        return None
    if left[0] == "text" and head not in ("=", "<>") and a != b:
        return None  # depends on the collation
    holds = {"=": a == b, "<>": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}.get(head)
    return None if holds is None else TRUE if holds else FALSE


def _in(term: Term, context: Context) -> Term:
    left, right = term[1], term[2]
    if right[0] == "list":
        if len(right) == 1:
            return FALSE
        if left[0] == "value" and all(compared(left, one, context)[0] is not left for one in right[1:]):
            left = left[1]
        affinity = context.affinity(left)
        # The affinity of what is in the list does not count.
        return _in_list(left, [as_value(fit(one, affinity, context), context) for one in right[1:]])
    if isinstance(right, Select) and (right.order or right.distinct) and right.limit is None:
        right = right._replace(order=(), distinct=False)
    return In(left, right)


def _exists(term: Term, context: Context) -> Term:
    query = term[1]
    if isinstance(query, Select) and not (query.sources or query.outers or query.aggregated or query.limit):
        return _connective(Connective("and", *query.where), context)
    if isinstance(query, Select) and query.limit is None and query.offset is None and not query.extra:
        if query.group is None and query.aggregated and not query.having:
            return TRUE  # an aggregate without groups always returns its row
        if not query.aggregated:
            query = query._replace(items=(Number("1"),), distinct=False, order=())
        else:
            query = query._replace(order=(), distinct=False)
    return Exists(query)


def _arithmetic(term: Term, context: Context) -> Term:
    head, left, right = term[0], term[1], term[2]
    if head not in ("+", "-", "*"):
        return term
    if left[0] == right[0] == "number" and (left[1] + right[1]).replace("-", "").isdigit():
        a, b = int(left[1]), int(right[1])
        result = a + b if head == "+" else a - b if head == "-" else a * b
        if abs(result) < 2**62:
            return Number(str(result))
    if head in ("+", "*") and (
        right[0] < left[0]
        if right[0] != left[0]
        else repr(right) < repr(left)  # a repr of a long sum takes long
    ):
        left, right = right, left
    return Arithmetic(head, left, right)


def _case(term: Term, context: Context) -> Term:
    branches: list[tuple[Term, Term]] = []
    default: Term = term[-1]
    for condition, then in term.branches:
        when = truth(condition)
        if when in (FALSE, NULL):
            continue
        if when == TRUE:
            default = then
            break
        branches.append((when, then))
    while branches and branches[-1][1] == default:
        del branches[-1]
    if not branches:
        return as_value(default, context)
    if len(branches) == 1:
        [(when, then)] = branches
        if when[0] == "is" and when[2] == NULL and default == when[1]:
            return _coalesce(Call("coalesce", default, then), context)
        if when == Comparison("is not", then, NULL):
            return _coalesce(Call("coalesce", then, default), context)
    return Case(branches, default)


def _coalesce(term: Term, context: Context) -> Term:
    parts: list[Term] = []
    for part in term[2:]:
        inner = part[2:] if part[:2] == ("call", "coalesce") else (part,)
        for one in inner:
            if one == NULL or one in parts:
                continue
            parts.append(one)
            if context.not_null(one):
                return Call("coalesce", *parts) if len(parts) > 1 else as_value(one, context)
    if not parts:
        return NULL
    return Call("coalesce", *parts) if len(parts) > 1 else as_value(parts[0], context)


def _call(term: Term, context: Context) -> Term:
    name = term[1]
    if name in ("coalesce", "ifnull") and len(term) > 2:
        return _coalesce(Call("coalesce", *term[2:]), context)
    if name == "round" and len(term) == 4 and term[3] == ("number", "0"):
        return Call(name, term[2])
    if name in ("concat", "concat_ws") and len(term) > 3 and all(part[0] != "star" for part in term[2:]):
        return _concatenation(term)
    if name == "length" or name == "len":
        return Call("length", *term[2:])
    return term


def _concatenation(term: Term) -> Term:
    """CONCAT(a, CONCAT(b, c)) is CONCAT(a, b, c); texts side by side are one, with what CONCAT_WS puts between."""
    name, first = term[1], term[2]
    if name == "concat_ws" and first[0] != "text":
        return term
    start, between = (3, first[1]) if name == "concat_ws" else (2, "")
    parts: list[Term] = []
    words: dict[Term, None] = {}  # what sqlglot says of the dialect's function
    for part in term[start:]:
        for one in part[2:] if name == "concat" and part[:2] == term[:2] else (part,):
            if one[0] == "word":
                words[one] = None
            elif one[0] == "text" and parts and parts[-1][0] == "text":
                parts[-1] = Text(parts[-1][1] + between + one[1])
            else:
                parts.append(one)
    if len(parts) == 1 and parts[0][0] == "text":
        return parts[0]
    return Call(*term[1:start], *parts, *words)


def _cast(term: Term, context: Context) -> Term:
    """A whole number cast to a type of whole numbers is itself; but in SQLite, where the cast has an affinity."""
    inner, kind = term[1], term[2]
    if context.facts.dialect == "sqlite" or inner[0] != "number" or not inner[1].lstrip("-").isdigit():
        return term
    fits = -(2**31) < int(inner[1]) < 2**31 and (
        kind in ("int", "integer") or (kind == "uint" and inner[1].isdigit())
    )
    return inner if fits else term


def _like(term: Term, context: Context) -> Term:
    """SQLite's LIKE does not tell the case of ASCII letters."""
    pattern = term[2]
    plain = (
        term.head == "like" and context.facts.dialect == "sqlite" and len(term) == 3 and pattern[0] == "text"
    )
    return Like("like", term[1], Text(pattern[1].lower())) if plain and pattern[1].isascii() else term


def _aggregate(term: Term, context: Context) -> Term:
    if term[1] == "group_concat" and len(term) == 5 and term[4] == ("text", ",") and not term[2]:
        return Aggregate(*term[1:4])
    if term[1] == "count" and len(term) == 4:
        inner = term[3]
        if not term[2] and (inner == ("star",) or context.not_null(inner)):
            return COUNT_ALL
        if (
            not term[2]
            and inner[0] == "case"
            and len(inner) == 4
            and inner[3] == NULL
            and context.not_null(inner[2])
        ):
            return Aggregate("count", False, Case([(inner[1], Number("1"))], NULL))
    return term


def _value(term: Term, context: Context) -> Term:
    inner = term[1]
    return inner if inner[0] == "value" else as_value(inner, context)


def _bare_parts(term: Term, context: Context) -> Term:
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
    Like: _like,
    Exists: _exists,
    Arithmetic: _arithmetic,
    Case: _case,
    Cast: _cast,
    Call: _call,
    Aggregate: _aggregate,
}
