"""The tools with which rewrites go through terms: find, replace, rebuild. Subqueries are entered unless it says not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from .leaves import TRUE, Column, Label, Operator, new
from .operators import Connective
from .terms import ATOMS, CLOSED, HOLDERS, LEAVES, QUERIES, Term

T = TypeVar("T")
C = TypeVar("C")


def remake(like: T, parts: Iterable[Any]) -> T:
    """Return a term of the same class with other parts, the head among them; or terms side by side."""
    kind: Any = like.__class__
    # For a plain tuple, its own call takes a tenth of the time.
    made: Any = tuple(parts) if kind is tuple else new(kind, parts)
    return made  # type: ignore[no-any-return]


def fold(term: T, changes: Mapping[type, Callable[[Any, C], Any]], context: C) -> T:
    """Rebuild a term from its inner operators upward; give those of a class in `changes` to the function there.

    Leaves stay as they are.
    """
    return term if term.__class__ in CLOSED or not term else _fold(term, changes, context)


def _fold(term: Any, changes: Mapping[type, Callable[[Any, C], Any]], context: C) -> Any:
    changed: list[Any] | None = None
    for place, part in enumerate(term):
        if part.__class__ not in CLOSED and part:
            new = _fold(part, changes, context)
            if new is not part:
                if changed is None:
                    changed = list(term)
                changed[place] = new
    if changed is not None:
        term = remake(term, changed)
    change = changes.get(term.__class__)
    if change is None:
        return term
    return change(term, context)


def substitute(term: T, replacement: Mapping[Any, Term]) -> T:
    """Replace columns by other terms, in subqueries too."""
    changed: tuple[T] = _substitute((term,), replacement)
    return changed[0]


def _substitute(term: Any, replacement: Mapping[Any, Term]) -> Any:
    changed: list[Any] | None = None
    for place, part in enumerate(term):
        if part.__class__ is Column:
            new = replacement.get(part, part)
        elif part.__class__ not in CLOSED and part:
            new = _substitute(part, replacement)
        else:
            continue
        if new is not part:
            if changed is None:
                changed = list(term)
            changed[place] = new
    return term if changed is None else remake(term, changed)


def walk(term: object) -> list[Term]:
    """Return every operator and query inside a term, itself and subqueries included."""
    found: list[Term] = []
    within: list[Any] = [(term,)]
    for top in within:
        for part in top:
            kind = part.__class__
            if kind in ATOMS:
                continue
            if kind not in LEAVES:
                within.append(part)
            if kind not in HOLDERS:
                found.append(part)
    return found


def larger_than(term: Term, size: int) -> bool:
    """Return whether more than `size` tuples are inside a term, without looking at many more."""
    seen = 0
    stack: list[Any] = [term]
    while stack and seen <= size:
        top = stack.pop()
        seen += 1
        if top.__class__ not in LEAVES:
            stack += [part for part in top if part.__class__ not in ATOMS and part]
    return seen > size


def walk_here(term: object) -> Iterator[Operator]:
    """Yield every operator inside a term without entering subqueries."""
    stack: list[Any] = [term]
    while stack:
        top = stack.pop()
        kind = top.__class__
        if kind in HOLDERS:
            stack.extend(top)
        elif kind not in ATOMS and kind not in QUERIES:
            yield top
            if kind not in LEAVES:
                stack.extend(top)


def columns_of(term: object) -> set[Column]:
    """Return the columns inside a term, subqueries included."""
    found = set()
    within: list[Any] = [(term,)]
    for top in within:
        for part in top:
            if part.__class__ is Column:
                found.add(part)
            elif part.__class__ not in CLOSED:
                within.append(part)
    return found


def sources_of(term: object) -> set[Label]:
    """Return the labels of the sources a term refers to, subqueries included."""
    return {column.source for column in columns_of(term)}


def conjuncts(term: Term | None) -> tuple[Term, ...]:
    """Return the terms of a conjunction; none for `None` and for true."""
    if term is None or term == TRUE:
        return ()
    return term.operands if isinstance(term, Connective) and term.head == "and" else (term,)


def conjunction(terms: tuple[Term, ...]) -> Term:
    """Return the conjunction of terms."""
    if not terms:
        return TRUE
    return terms[0] if len(terms) == 1 else Connective("and", *terms)
