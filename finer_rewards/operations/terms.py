"""The language queries are rewritten in: nested tuples.

A *term* is a tuple whose first element names the operator and whose other elements are terms, texts
or numbers. Tuples compare, hash and print in C, and every generic walk is one recursion.

    ("column", source, name)          source is the number of an entry of a FROM clause; name is a column name,
                                      or the position in a derived table
    ("number", "1")  ("text", "x")  ("null",)  ("bool", "true")  ("star",)
    ("and", ...)  ("or", ...)  ("not", a)  ("=", a, b)  ("<", a, b)  ...  ("is", a, b)  ("is not", a, b)
    ("in", a, ("list", ...))  ("in", a, query)  ("exists", query)  ("scalar", query)
    ("call", name, ...)  ("aggregate", name, distinct, ...)  ("window", function, partition, order, frame)
    ("case", when, then, when, then, ..., otherwise)  ("windowed", name, distinct, ...) as the function of a window
    ("value", a) and ("collate", a, name): see `_values.py`

A *query* is a `Select`, or `("setop", operator, branches, order, limit, offset)`, or `("values", rows)`.
A *source* is `("table", number, name)`, `("derived", number, query)`, `("function", number, term)`,
`("self", number, level)` (the recursive CTE being defined) or
`("full", left, right, condition)` where both sides are `Group`s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Group", "Outer", "Select", "Term", "columns_of", "conjuncts", "fold_heads", "substitute", "walk"]

Term = tuple[Any, ...]

NULL: Term = ("null",)
TRUE: Term = ("bool", "true")
FALSE: Term = ("bool", "false")
ONE: Term = ("number", "1")
COMPARISONS = ("=", "<>", "<", "<=", ">", ">=", "is", "is not")
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
            self.distinct
            or self.group is not None
            or self.having
            or self.order
            or self.limit
            or self.offset
            or self.extra
        ) and not any(computes_over_rows(item) for item in self.items)

    @property
    def aggregated(self) -> bool:
        """True when rows are folded into groups."""
        return self.group is not None or contains((self.items, self.having), "aggregate")


QUERY_HEADS = ("select", "setop", "values")


def is_query(term: object) -> bool:
    """Return whether a term is a query."""
    return isinstance(term, tuple) and bool(term) and term[0] in QUERY_HEADS


def remake(like: Term, parts: list[Any]) -> Term:
    """Return a term of the same class with other parts."""
    return type(like)(*parts) if type(like) is not tuple else tuple(parts)


#: Operators without terms inside; most of a query is these.
LEAVES = frozenset({"column", "number", "text", "null", "bool", "star", "word", "position", "table"})


def fold_heads(term: Any, changes: Mapping[str, Callable[..., Any]], context: Any) -> Any:
    """Rebuild a term from its inner operators upward; give those named in `changes` to the function named there.

    Leaves stay as they are.
    """
    if not isinstance(term, tuple) or not term or is_leaf(term):
        return term
    return _fold(term, changes, context)


def _fold(term: Term, changes: Mapping[str, Callable[..., Any]], context: Any) -> Any:
    changed: list[Any] | None = None
    for place, part in enumerate(term):
        if isinstance(part, tuple) and part:
            head = part[0]
            if head.__class__ is str and head in LEAVES:
                continue
            new = _fold(part, changes, context)
            if new is not part:
                if changed is None:
                    changed = list(term)
                changed[place] = new
    if changed is not None:
        term = remake(term, changed)
    head = term[0]
    if head.__class__ is str:
        change = changes.get(head)
        if change is not None:
            return change(term, context)
    return term


def substitute(term: Any, replacement: Mapping[Term, Term]) -> Any:
    """Replace columns by other terms, in subqueries too."""
    if not isinstance(term, tuple) or not term:
        return term
    if is_leaf(term):
        return replacement.get(term, term) if term[0] == "column" else term
    changed: list[Any] | None = None
    for place, part in enumerate(term):
        if isinstance(part, tuple) and part:
            head = part[0]
            if head.__class__ is not str or head not in LEAVES:
                new = substitute(part, replacement)
            elif head == "column":
                new = replacement.get(part, part)
            else:
                continue
            if new is not part:
                if changed is None:
                    changed = list(term)
                changed[place] = new
    return term if changed is None else remake(term, changed)


def is_leaf(term: Term) -> bool:
    """Return whether a tuple that is not empty is an operator without terms inside."""
    head = term[0]
    return head.__class__ is str and head in LEAVES  # to hash a head that is a term would take long


def walk(term: Any) -> list[Term]:
    """Return every tuple inside a term that is not empty, subqueries included."""
    found = [term] if isinstance(term, tuple) and term else []
    for top in found:
        head = top[0]
        if head.__class__ is not str or head not in LEAVES:
            found += [part for part in top if isinstance(part, tuple) and part]
    return found


def larger_than(term: Term, size: int) -> bool:
    """Return whether more than `size` tuples are inside a term, without looking at many more."""
    seen = 0
    stack = [term]
    while stack and seen <= size:
        top = stack.pop()
        seen += 1
        if not is_leaf(top):
            stack += [part for part in top if isinstance(part, tuple) and part]
    return seen > size


def walk_here(term: Any) -> Iterator[Term]:
    """Yield every tuple inside a term without entering subqueries."""
    stack = [term]
    while stack:
        top = stack.pop()
        if isinstance(top, tuple) and top:
            head = top[0]
            if head.__class__ is not str:
                yield top
                stack.extend(top)
            elif head not in QUERY_HEADS:
                yield top
                if head not in LEAVES:
                    stack.extend(top)


def contains(term: Any, *heads: str) -> bool:
    """Return whether one of these operators occurs in a term, subqueries left out."""
    within = [(term,)]
    for top in within:
        for part in top:
            if isinstance(part, tuple) and part:
                own = part[0]
                if own.__class__ is not str:
                    within.append(part)
                elif own in heads:
                    return True
                elif own not in LEAVES and own not in QUERY_HEADS:
                    within.append(part)
    return False


def computes_over_rows(term: Any) -> bool:
    """Return whether a term depends on more than one row of its block."""
    return contains(term, "aggregate", "window")


def columns_of(term: Any) -> set[Term]:
    """Return the column terms inside a term, subqueries included."""
    found = set()
    within = [(term,)]
    for top in within:
        for part in top:
            if isinstance(part, tuple) and part:
                head = part[0]
                if head.__class__ is not str or head not in LEAVES:
                    within.append(part)
                elif head == "column":
                    found.add(part)
    return found


def sources_of(term: Any) -> set[int]:
    """Return the numbers of the sources a term refers to, subqueries included."""
    return {column[1] for column in columns_of(term)}


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
