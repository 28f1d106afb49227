"""Blocks inside blocks: derived tables merged, conditions flattened, wrappers removed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..context import Context, numbers_in
from ..predicates import truth
from ..terms import (
    FALSE,
    NULL,
    Column,
    Comparison,
    Connective,
    Derived,
    Exists,
    In,
    Outer,
    Select,
    SetOperation,
    Term,
    Window,
    conjunction,
    conjuncts,
    contains,
    fold,
    remake,
    substitute,
    walk,
    walk_here,
)

VOLATILE = frozenset({"random", "rand", "randomblob", "uuid", "gen_random_uuid", "nextval"})


def flatten_conditions(block: Select, context: Context) -> Select:
    """Split conjunctions into their parts and drop repeats. Holds always."""
    where, having = split(block.where), split(block.having) if block.having else ()
    outers = tuple(_flatten_outer(one) for one in block.outers)
    if where == block.where and having == block.having and outers == block.outers:
        return block
    return block._replace(where=where, having=having, outers=outers)


def _flatten_outer(outer: Outer) -> Outer:
    return outer._replace(where=split(outer.where), outers=tuple(_flatten_outer(one) for one in outer.outers))


def split(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """Return the conjuncts; what cannot be true is false, since a condition that is NULL lets no row through."""
    if _is_split(terms):
        return terms
    found: dict[Term, None] = {}
    for term in terms:
        for part in conjuncts(_truth(term)):
            equal = part[0] == "is" and part[2][0] in ("number", "text")  # only truth counts here
            found[Comparison("=", *part[1:]) if equal else part] = None
    for one in [one for one in found if one[0] == "=" and one[1] == one[2]]:
        del found[one]
        found[Comparison("is not", one[1], NULL)] = None
    if FALSE in found or contradictory(found):
        return (FALSE,)
    for one in [one for one in found if one[0] == "is" and one[1] == one[2]]:
        del found[one]
    for one in [one for one in found if one[0] == "is" and one[1][0] == one[2][0] == "column"]:
        # Two values that are alike and not both NULL are equal.
        if any(_needs(other, side) or other == ("is not", side, NULL) for other in found for side in one[1:]):
            del found[one]
            same: Term = Comparison("=", *sorted(one[1:], key=repr))
            found[same] = None
    if len(found) <= _MOST_IMPLIED and any(one[0] == "is not" and one[2] == NULL for one in found):
        found = {one: None for one in found if not _implied(one, found)}
    return tuple(found)


_MOST_IMPLIED = 300  # every condition is held against every other
_COMPARED = frozenset({"=", "<>", "<", "<=", ">", ">=", "like", "glob", "in"})


def _is_split(terms: tuple[Term, ...]) -> bool:
    """Return whether conditions are comparisons that leave nothing to do; most are."""
    return all(one[0] in _COMPARED and one[1] != one[2] for one in terms) and (
        len(terms) == 1 or (len(set(terms)) == len(terms) and not contradictory(terms))
    )


def _implied(term: Term, others: Iterable[Term]) -> bool:
    """Return whether a term asks for a value that another condition needs anyway."""
    if term[0] != "is not" or term[2] != NULL:
        return False
    return any(_needs(other, term[1]) for other in others if other is not term)


def _truth(term: Term) -> Term:
    """Return a condition that is true for the same rows."""
    term = truth(term)
    if term[0] == "null":
        return FALSE
    if term[0] == "or":
        parts = [part for part in map(_truth, term[1:]) if part != FALSE]
        return FALSE if not parts else parts[0] if len(parts) == 1 else Connective("or", *parts)
    if term[0] == "and":
        kept = split(term[1:])
        return FALSE if kept == (FALSE,) else conjunction(kept)
    return term


def contradictory(terms: Iterable[Term]) -> bool:
    """Return whether conditions ask one term to equal two constants."""
    values: dict[Term, Term] = {}
    for one in terms:
        if one[0] == "=" and one[2][0] in ("number", "text") and one[1][0] != "collate":
            first = values.setdefault(one[1], one[2])
            if first[0] == one[2][0] and first != one[2] and not _same_number(first[1], one[2][1]):
                return True
    return False


def _same_number(a: str, b: str) -> bool:
    """Return whether two numerals may be the same number; a column of numbers reads a text as one."""
    try:
        return float(a) == float(b)
    except ValueError:
        return False


_NULL_IN_NULL_OUT = frozenset({"=", "<>", "<", "<=", ">", ">=", "like", "ilike", "glob"})


def _needs(condition: Term, term: Term) -> bool:
    """Return whether a condition is never true when a term is NULL."""
    if condition[0] in _NULL_IN_NULL_OUT:
        return any(
            part == term or (part[0] in ("+", "-", "*", "/", "neg") and term in part[1:])
            for part in condition[1:]
        )
    if condition[0] == "in" and len(condition) == 3:
        return bool(condition[1] == term)
    if condition[0] == "not":
        inner = condition[1]  # NULL NOT IN (a subquery without rows) is true
        return (inner[0] in _NULL_IN_NULL_OUT or (inner[0] == "in" and inner[2][0] == "list")) and _needs(
            inner, term
        )
    if condition[0] == "or":
        return all(_needs(part, term) for part in condition[1:])
    if condition[0] == "and":
        return any(_needs(part, term) for part in condition[1:])
    return False


def mark_branches(query: Any) -> Any:
    """Mark the blocks whose repeats nobody can see: in IN, in EXISTS, and the branches of set operations."""

    return fold(query, _MARKS, None)


def _mark_set_operation(term: Term, context: None) -> Term:
    if term[1].endswith(" all"):
        return term
    return remake(term, [*term[:2], tuple(free(branch) for branch in term[2]), *term[3:]])


_MARKS = {
    SetOperation: _mark_set_operation,
    Exists: lambda term, context: Exists(free(term[1])),
    In: lambda term, context: In(term[1], free(term[2])) if len(term) == 3 else term,
}


def free(query: Term) -> Term:
    """Return a query whose repeats and order do not matter, marked so."""
    if isinstance(query, Select):
        if query.limit is None and query.offset is None and query.distinct != "any" and not query.order:
            return query._replace(distinct="any")
    elif query[0] == "setop" and query[1] == "union all" and query[4] is None and query[5] is None:
        return SetOperation("union", *query[2:])
    return query


def blind_to_repeats(block: Select) -> bool:
    """Return whether repeated rows of the FROM clause cannot be seen in the result."""
    if block.extra or any(contains(one, Window) for one in (*block.items, *(key[1] for key in block.order))):
        return False
    if not block.aggregated:
        return bool(block.distinct) or block.group is not None
    terms = (*block.items, *block.having, *(key[1] for key in block.order))
    return all(
        part[1] in ("min", "max") or part[2]
        for term in terms
        for part in walk_here(term)
        if part and part[0] == "aggregate"
    )


def mark_free_duplicates(block: Select, context: Context) -> Select:
    """Let a derived table keep or drop repeats as it likes. Holds when the block around cannot see them."""
    if not any(source[0] == "derived" for source in block.sources) or not blind_to_repeats(block):
        return block
    sources = tuple(
        Derived(source[1], free(source[2]))
        if source[0] == "derived" and source[2][0] != "recursive"
        else source
        for source in block.sources
    )
    return block._replace(sources=sources)


def mergeable(query: Any) -> bool:
    """Return whether a derived table only joins, filters and computes row by row."""
    return (
        isinstance(query, Select)
        and query._replace(distinct=False).plain
        and query.distinct is not True
        and not any(
            part[:2] == ("call", name) for item in query.items for part in walk(item) for name in VOLATILE
        )
    )


def _mapping(number: int, query: Select, user: Any) -> dict[Term, Term] | None:
    """Return what each column of a derived table stands for; `None` when that is not known."""
    found: dict[Term, Term] = {Column(number, place): item for place, item in enumerate(query.items)}
    stars = [item for item in query.items if item[0] == "column" and item[2] == "*"]
    if not stars:
        return found
    if len(query.items) != 1 or len(stars[0]) != 3:
        return None
    for part in walk(user):
        if part and part[0] == "column" and part[1] == number:
            found[part] = Column(stars[0][1], *part[2:])
    return found


_MOST_TERMS = 1_000


def grows_too_large(number: int, query: Select, user: Any) -> bool:
    """Return whether putting a derived table's items where they are read would make the query too large.

    Each level of `a + a` over `a + a` doubles what is written out.
    """
    sizes = {place: len(walk(item)) for place, item in enumerate(query.items)}
    if max(sizes.values(), default=0) < 8:
        return False
    read = [part[2] for part in walk(user) if part[0] == "column" and part[1] == number]
    return sum(sizes.get(place, 1) for place in read) > _MOST_TERMS


def merge_derived(block: Select, context: Context) -> Select:
    """Put a derived table's sources and conditions in place of it.

    Holds for an inner-joined one that only joins, filters and computes row by row: the join of a
    selection is a selection of the join, and an outer join inside commutes with the joins around it.
    """
    for source in block.sources:
        if source[0] != "derived" or not mergeable(source[2]):
            continue
        query = source[2]
        mapping = _mapping(source[1], query, block)
        if mapping is None:
            continue
        if grows_too_large(source[1], query, block):
            context.note("a derived table was left in place: written out it would be too large")
            continue
        rest = tuple(one for one in block.sources if one is not source)
        block = substitute(
            block._replace(
                sources=(*rest, *query.sources),
                outers=(*query.outers, *block.outers),
                where=(*block.where, *query.where),
            ),
            mapping,
        )
    return block


def merge_derived_outer(block: Select, context: Context) -> Select:
    """The same on the padded side of a LEFT JOIN. Holds when every column of the derived table is a plain one."""
    if not block.outers:
        return block
    mapping: dict[Term, Term] = {}
    outers = tuple(_merge_in_outer(one, mapping, block) for one in block.outers)
    # What stands on the padded side now is padded too.
    context.padded |= {column[1] for column in mapping.values()}
    return substitute(block._replace(outers=outers), mapping) if mapping else block


def _merge_in_outer(outer: Outer, mapping: dict[Term, Term], block: Select) -> Outer:
    sources: list[Term] = []
    where = list(outer.where)
    nested = [_merge_in_outer(one, mapping, block) for one in outer.outers]
    for source in outer.sources:
        query = source[2] if source[0] == "derived" else None
        if query is not None and mergeable(query):
            own = numbers_in(query.sources) | numbers_in(query.outers)
            found = _mapping(source[1], query, block)
            if found is not None and all(item[0] == "column" and item[1] in own for item in query.items):
                mapping.update(found)
                sources += query.sources
                nested += query.outers
                where += query.where
                continue
        sources.append(source)
    return outer._replace(sources=tuple(sources), outers=tuple(nested), where=tuple(where))
