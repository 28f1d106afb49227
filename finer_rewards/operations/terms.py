"""The language queries are rewritten in: nested tuples.

A *term* is a tuple whose first element names the operator and whose other elements are terms, texts
or numbers. Tuples compare, hash and print in C, and every generic walk is one recursion.

    ("column", source, name)          source is the number of an entry of a FROM clause; name is a column name,
                                      or the position in a derived table
    ("number", "1")  ("text", "x")  ("null",)  ("bool", "true")  ("star",)
    ("and", ...)  ("or", ...)  ("not", a)  ("=", a, b)  ("<", a, b)  ...  ("is", a, b)  ("is not", a, b)
    ("in", a, ("list", ...))  ("in", a, query)  ("exists", query)  ("scalar", query)
    ("call", name, ...)  ("aggregate", name, distinct, ...)  ("window", function, partition, order, frame)
    ("case", when, then, when, then, ..., otherwise)

A *query* is a `Select`, or `("setop", operator, branches, order, limit, offset)`, or `("values", rows)`.
A *source* is `("table", number, name)`, `("derived", number, query)`, `("function", number, term)`,
`("self", number, level)` (the recursive CTE being defined) or
`("full", left, right, condition)` where both sides are `Group`s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Group", "Outer", "Select", "Term", "columns_of", "conjuncts", "fold", "substitute", "walk"]

Term = tuple[Any, ...]

NULL: Term = ("null",)
TRUE: Term = ("bool", "true")
FALSE: Term = ("bool", "false")
ONE: Term = ("number", "1")
COUNT_ALL: Term = ("aggregate", "count", False, ("star",))


class Group(NamedTuple):
    """Inner-joined sources, the outer joins onto them, and the conditions that hold for them."""

    head: str
    sources: tuple[Term, ...]
    outers: tuple[Outer, ...]
    where: tuple[Term, ...]


class Outer(NamedTuple):
    """A LEFT JOIN of `sources` (with their own outer joins) under the conditions `where`."""

    head: str
    sources: tuple[Term, ...]
    outers: tuple[Outer, ...]
    where: tuple[Term, ...]


class Select(NamedTuple):
    """One SELECT block. `where` and `having` are conjunctions; `group` is `None` without grouping."""

    head: str
    distinct: bool | str  # "any": repeats may be kept or dropped
    items: tuple[Term, ...]
    sources: tuple[Term, ...]
    outers: tuple[Outer, ...]
    where: tuple[Term, ...]
    group: tuple[Term, ...] | None
    having: tuple[Term, ...]
    order: tuple[Term, ...]
    limit: Term | None
    offset: Term | None
    extra: tuple[Term, ...] = ()  # what is rare: QUALIFY, DISTINCT ON, sampling, ...

    @property
    def plain(self) -> bool:
        """True when the block only joins, filters and computes row by row."""
        return not (
            self.distinct or self.group is not None or self.having or self.limit or self.offset or self.extra
        ) and not any(computes_over_rows(item) for item in self.items)

    @property
    def aggregated(self) -> bool:
        """True when rows are folded into groups."""
        return self.group is not None or any(
            contains(item, "aggregate") for item in (*self.items, *self.having)
        )


QUERY_HEADS = ("select", "setop", "values")


def is_query(term: object) -> bool:
    """Return whether a term is a query."""
    return isinstance(term, tuple) and bool(term) and term[0] in QUERY_HEADS


def remake(like: Term, parts: list[Any]) -> Term:
    """Return a term of the same class with other parts."""
    return type(like)(*parts) if type(like) is not tuple else tuple(parts)


#: Operators without terms inside; most of a query is these.
LEAVES = frozenset({"column", "number", "text", "null", "bool", "star", "word", "position", "table"})


def fold(term: Any, change: Callable[[Term], Any]) -> Any:
    """Rebuild a term from its inner operators upward, giving each rebuilt tuple to `change`; leaves stay."""
    if not isinstance(term, tuple) or not term or term[0] in LEAVES:
        return term
    changed = False
    parts = []
    for part in term:
        if isinstance(part, tuple) and part and part[0] not in LEAVES:
            new = fold(part, change)
            changed = changed or new is not part
            parts.append(new)
        else:
            parts.append(part)
    return change(remake(term, parts) if changed else term)


def substitute(term: Any, replacement: Mapping[Term, Term]) -> Any:
    """Replace columns by other terms, in subqueries too."""
    if not isinstance(term, tuple) or not term:
        return term
    head = term[0]
    if head in LEAVES:
        return replacement.get(term, term) if head == "column" else term
    changed = False
    parts = []
    for part in term:
        if isinstance(part, tuple) and part:
            new = substitute(part, replacement)
            changed = changed or new is not part
            parts.append(new)
        else:
            parts.append(part)
    return remake(term, parts) if changed else term


def walk(term: Any) -> Iterator[Term]:
    """Yield every tuple inside a term that is not empty, subqueries included."""
    stack = [term] if isinstance(term, tuple) and term else []
    while stack:
        top = stack.pop()
        yield top
        if top[0] not in LEAVES:
            stack += [part for part in top if isinstance(part, tuple) and part]


def walk_here(term: Any) -> Iterator[Term]:
    """Yield every tuple inside a term without entering subqueries."""
    stack = [term]
    while stack:
        top = stack.pop()
        if isinstance(top, tuple) and top and top[0] not in QUERY_HEADS:
            yield top
            if top[0] not in LEAVES:
                stack.extend(top)


def contains(term: Any, head: str) -> bool:
    """Return whether an operator occurs in a term, subqueries left out."""
    return any(part and part[0] == head for part in walk_here(term))


def computes_over_rows(term: Any) -> bool:
    """Return whether a term depends on more than one row of its block."""
    return any(part and part[0] in ("aggregate", "window") for part in walk_here(term))


def columns_of(term: Any) -> set[Term]:
    """Return the column terms inside a term, subqueries included."""
    return {part for part in walk(term) if part[0] == "column"}


def sources_of(term: Any) -> set[int]:
    """Return the numbers of the sources a term refers to, subqueries included."""
    return {part[1] for part in walk(term) if part[0] == "column"}


def conjuncts(term: Term | None) -> tuple[Term, ...]:
    """Return the terms of a conjunction; none for `None` and for true."""
    if term is None or term == TRUE:
        return ()
    return term[1:] if term[0] == "and" else (term,)


def conjunction(terms: tuple[Term, ...]) -> Term:
    """Return the conjunction of terms."""
    if not terms:
        return TRUE
    return terms[0] if len(terms) == 1 else ("and", *terms)
