"""Canonical order: sources are named after their tables, repeats numbered by what is done with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, permutations, product
from typing import Any

from ._values import BY_COLLATION
from .terms import (
    LEAVES,
    QUERIES,
    Column,
    Comparison,
    Equal,
    Itself,
    Of,
    Outer,
    Recursive,
    Same,
    Select,
    SetOperation,
    Term,
    Values,
    fold,
    larger_than,
    remake,
    substitute,
    walk,
)

__all__ = ["canonical"]

_CONSTANTS = ("number", "text", "bool", "null")
_COMMUTATIVE = frozenset(
    {"same", "equal", "and", "or", "+", "*", "=", "<>", "is", "is not", "list", "&", "|"}
)
_TRIES = 24
_LONGEST_SPELLED = 200

Names = dict[int, Term]


def canonical(
    query: Term, classes: Callable[[Select], list[set[Term]]] | None = None, nested: bool = True
) -> Term:
    """Return the query with sources named and everything whose order does not matter sorted.

    Args:
        query: what is left after the rewrites.
        classes: the sets of columns that a block makes the same value; none of them leads the others.
        nested: whether the query may hold another one.
    """
    if classes is not None:
        query = (
            fold(query, {Select: _lead}, classes)
            if nested or not isinstance(query, Select)
            else _lead(query, classes)
        )
    return _query(query, {}, 0)


def _lead(block: Select, classes: Callable[[Select], list[set[Term]]]) -> Any:
    """Let the whole class stand wherever one of its columns does, so that none is preferred before all are named."""
    if not any(one[0] == "=" and one[1][0] == one[2][0] == "column" for one in block.where):
        return block
    groups = [group for group in classes(block) if not any(one[0] in _CONSTANTS for one in group)]
    if not groups:
        return block
    whole: dict[Term, Term] = {}
    for group in groups:
        term = Same(*sorted(group, key=repr))
        whole.update(dict.fromkeys(group, term))
    where = tuple(
        one
        for one in block.where
        if not (one[0] == "=" and one[1] in whole and whole[one[1]] == whole.get(one[2]))
    )
    changed: Select = substitute(block._replace(where=where), whole)
    return changed._replace(
        where=(*changed.where, *(Equal(*term[1:]) for term in dict.fromkeys(whole.values())))
    )


def _query(query: Term, names: Names, depth: int) -> Term:
    if isinstance(query, Select):
        return _select(query, names, depth)
    if query[0] == "setop":
        branches = [_query(branch, names, depth) for branch in query[2]]
        if not query[1].startswith("except") and BY_COLLATION not in query[6:]:
            branches.sort(key=repr)
        rest = tuple(_term(part, names, depth) for part in query[3:])
        return SetOperation(query[1], tuple(branches), *rest)
    rows: Term = tuple(tuple(_term(cell, names, depth) for cell in row) for row in query[1])
    return Values(rows)


def _term(term: Any, names: Names, depth: int) -> Any:
    if not isinstance(term, tuple) or not term:
        return term
    head = term[0]
    if head == "column":
        source = names.get(term[1])
        return term if source is None else Column(source, *term[2:])
    if term.__class__ in LEAVES:
        return term
    if head == "same":
        return min((_term(part, names, depth) for part in term[1:]), key=_leading)
    if isinstance(term, QUERIES):
        return _query(term, names, depth + 1)
    parts = [_term(part, names, depth) if isinstance(part, tuple) else part for part in term]
    if len(parts) > 2 and head in _COMMUTATIVE and not (len(parts) == 3 and _in_order(parts[1], parts[2])):
        parts[1:] = sorted(parts[1:], key=_rank)
    return remake(term, parts)


def _in_order(first: Term, second: Term) -> bool:
    """Return whether the order of two operands is seen without a look inside; constants come last."""
    return first[0] not in _CONSTANTS and second[0] in _CONSTANTS


def _rank(term: Term) -> tuple[bool, str]:
    return term[0] in _CONSTANTS, repr(term)


def _leading(column: Term) -> tuple[bool, str]:
    """Return what sorts columns that have one value: those of tables lead those of derived tables."""
    return isinstance(column[2], tuple), repr(column)


def _select(block: Select, names: Names, depth: int) -> Term:
    own = _sources(block)
    spelled = _spelled(own, names, depth)
    if spelled:
        block = substitute(block, spelled)
    groups: dict[str, list[int]] = {}
    for source in own:
        groups.setdefault(_base(source), []).append(source[1])
    inner = dict(names)
    if len(groups) == len(own):
        inner.update((numbers[0], (base, depth, 1)) for base, numbers in groups.items())
        return _render(block, inner, depth)
    ties: list[list[tuple[int, ...]]] = []
    bases = {number: base for base, numbers in groups.items() for number in numbers}
    colours = _colours(block, own, bases)
    for base, numbers in groups.items():
        if len(numbers) == 1:
            inner[numbers[0]] = (base, depth, 1)
            continue
        numbers.sort(key=lambda number: colours[number])
        place = 0
        while place < len(numbers):
            same = [one for one in numbers[place:] if colours[one] == colours[numbers[place]]]
            if len(same) > 1:
                ties.append([(place, *order) for order in islice(permutations(same), _TRIES)])
            else:
                inner[same[0]] = (base, depth, place + 1)
            place += len(same)
    if not ties:
        return _render(block, inner, depth)
    best: Term | None = None
    for choice in islice(product(*ties), _TRIES):
        attempt = dict(inner)
        for first, *order in choice:
            for offset, number in enumerate(order):
                attempt[number] = (bases[number], depth, first + offset + 1)
        rendered = _render(block, attempt, depth)
        if best is None or repr(rendered) < repr(best):
            best = rendered
    assert best is not None
    return best


def _spelled(own: list[Term], names: Names, depth: int) -> dict[Term, Term]:
    """Return what each column of a derived table is, in place of its position, which the text is free to choose."""
    found: dict[Term, Term] = {}
    for source in own:
        if source[0] == "derived" and isinstance(source[2], Select):
            inner = _select(source[2], names, depth + 1)
            for place, item in enumerate(inner[2]):
                # A long one keeps its position: spelled out level by level it could double each time.
                if not larger_than(item, _LONGEST_SPELLED) and not (item[0] == "column" and item[2] == "*"):
                    found[Column(source[1], place)] = Column(source[1], Of(item))
    return found


def _sources(block: Any) -> list[Term]:
    """Return the sources of a block's FROM clause, those of outer joins included."""
    found: list[Term] = []
    stack: list[Any] = [*block.sources, *block.outers]
    while stack:
        top = stack.pop()
        if isinstance(top, Outer) or top[0] == "group":
            stack += [*top.sources, *top.outers]
        else:
            found.append(top)
            if top[0] == "full":
                stack += [top[2], top[3]]
    return found


def _base(source: Term) -> str:
    return str(source[2]) if source[0] == "table" else f"({source[0]})"


def _colours(block: Select, own: list[Term], bases: dict[int, str]) -> dict[int, str]:
    """Tell sources of one name apart by every term that mentions them, each seeing the others' colours."""
    facts: list[Any] = []
    stack: list[Any] = [*block.outers, *block.sources]
    while stack:
        top = stack.pop()
        if isinstance(top, Outer):
            facts += [("outer", one) for one in top.where]
            facts += [("padded", source) for source in top.sources]
            stack += [*top.outers, *top.sources]
        elif top[0] == "full":
            facts += [("full", top[4]), ("left", top[2]), ("right", top[3])]
        elif top[0] != "table":
            facts.append(top)
    facts += [("where", one) for one in block.where]
    facts += [("having", one) for one in block.having]
    facts += [("item", place, one) for place, one in enumerate(block.items)]
    facts += [("group", one) for one in block.group or ()]
    facts += [("order", place, one) for place, one in enumerate(block.order)]
    facts += [("extra", one) for one in block.extra]
    mentions = [
        (
            fact,
            {part[1] for part in walk(fact) if part[0] in ("column", *_SOURCES) and len(part) > 1},
        )
        for fact in facts
    ]
    colours = dict(bases)
    for _ in range(3):
        fresh = {}
        masked: dict[tuple[int, int], Any] = {}
        for source in own:
            number = source[1]
            seen = sorted(
                repr(_mask(fact, number, colours, masked)) for fact, numbers in mentions if number in numbers
            )
            fresh[number] = f"{bases[number]} {'|'.join(seen)}"
        # Only the order of the colours matters; short ones keep the next round short.
        ranks = {colour: f"{place:04}" for place, colour in enumerate(sorted(set(fresh.values())))}
        fresh = {number: f"{bases[number]}~{ranks[colour]}" for number, colour in fresh.items()}
        if len(set(fresh.values())) == len(set(colours.values())) and _ > 0:
            return fresh
        colours = fresh
    return colours


_SOURCES = ("table", "derived", "function", "self", "full")


def _mask(term: Any, own: int, colours: dict[int, str], masked: dict[tuple[int, int], Any]) -> Any:
    """Return a term with each source called by its colour, and one of them `me`."""
    if not isinstance(term, tuple) or not term:
        return term
    if len(term) > 1 and isinstance(term[1], int) and term[0] in ("column", *_SOURCES):
        name = "me" if term[1] == own else colours.get(term[1], "?")
        return remake(term, [term[0], name, *(_mask(part, own, colours, masked) for part in term[2:])])
    shared = term[0] == "same"  # one object wherever a column of the class stands
    if shared and (id(term), own) in masked:
        return masked[id(term), own]
    parts = [_mask(part, own, colours, masked) for part in term]
    if term[0] in _COMMUTATIVE:
        parts[1:] = sorted(parts[1:], key=repr)
    elif not isinstance(term[0], str):
        parts.sort(key=repr)
    if shared:
        masked[id(term), own] = tuple(parts)
    return tuple(parts)


def _render(block: Select, names: Names, depth: int) -> Term:
    def named(terms: Any) -> list[Term]:
        return [_term(one, names, depth) for one in terms]

    return Select(
        "select",
        block.distinct,
        tuple(named(block.items)),
        _from(block.sources, names, depth),
        _outers(block.outers, names, depth),
        _sorted(list(_conditions(block.where, names, depth))),
        None if block.group is None else _sorted(named(block.group)),
        _sorted(named(block.having)),
        tuple(named(block.order)),
        _term(block.limit, names, depth),
        _term(block.offset, names, depth),
        _sorted(named(block.extra)),
    )


def _sorted(terms: list[Term]) -> tuple[Term, ...]:
    """Return terms in their one order, each once."""
    return tuple(sorted(dict.fromkeys(terms), key=repr)) if len(terms) > 1 else tuple(terms)


def _conditions(where: Any, names: Names, depth: int) -> Iterator[Term]:
    """Yield conditions, those on equal columns as a chain from the first by name."""
    for one in where:
        if one[0] != "equal":
            yield _term(one, names, depth)
            continue
        first, *rest = sorted((_term(part, names, depth) for part in one[1:]), key=_leading)
        for other in rest:
            yield Comparison("=", *sorted((first, other), key=repr))


def _from(sources: Any, names: Names, depth: int) -> tuple[Term, ...]:
    found = [_source(one, names, depth) for one in sources]
    if len(found) > 1:
        found.sort(key=repr)
    return tuple(found)


def _source(source: Term, names: Names, depth: int) -> Term:
    head, number = source[0], source[1]
    if head == "self":
        return Itself(names.get(number, number), 0)
    rest = [_group(part, names, depth) if isinstance(part, tuple) else part for part in source[2:]]
    if head == "derived" and isinstance(rest[0], Select):
        rest[0] = rest[0]._replace(items=tuple(sorted(dict.fromkeys(rest[0].items), key=repr)))
    return remake(source, [head, names.get(number, number), *rest])


def _group(part: Any, names: Names, depth: int) -> Any:
    if part and part[0] == "group":
        where = tuple(sorted((_term(one, names, depth) for one in part.where), key=repr))
        return ("group", _from(part.sources, names, depth), _outers(part.outers, names, depth), where)
    if part and part[0] == "recursive":
        return Recursive(0, _term(part[2], names, depth))
    return _term(part, names, depth)


def _outers(outers: Any, names: Names, depth: int) -> tuple[Any, ...]:
    if not outers:
        return ()
    read = [
        Outer(
            one.head,
            _from(one.sources, names, depth),
            _outers(one.outers, names, depth),
            tuple(sorted((_term(part, names, depth) for part in one.where), key=repr)),
        )
        for one in outers
    ]
    return tuple(sorted(read, key=repr))
