"""Telling several readings of one table apart by everything that is said of them: their colour. For `naming`.

As in colour refinement of graphs: a source's colour is made of what mentions it and of the colours beside it.
"""

from __future__ import annotations

from typing import Any

from .leaves import Column, Label
from .operators import Same
from .terms import ATOMS, SOURCES, Full, Outer, Select, Source, Table
from .walks import walk

#: Operators whose operands may stand in any order.
COMMUTATIVE = frozenset({"same", "equal", "and", "or", "+", "*", "=", "<>", "is", "is not", "list", "&", "|"})


def colours_of(block: Select, own: list[Source], bases: dict[Label, str]) -> dict[Label, str]:
    """Tell sources of one name apart by every term that mentions them, each seeing the others' colours."""
    mentions = [(fact, _mentioned(fact)) for fact in _told(block)]
    colours = dict(bases)
    for round_ in range(3):
        fresh: dict[Label, str] = {}
        masked: dict[tuple[int, Label], Any] = {}
        for source in own:
            label = source.label
            seen = sorted(
                repr(_mask(fact, label, colours, masked)) for fact, labels in mentions if label in labels
            )
            fresh[label] = f"{bases[label]} {'|'.join(seen)}"
        # Only the order of the colours matters; short ones keep the next round short.
        ranks = {colour: f"{place:04}" for place, colour in enumerate(sorted(set(fresh.values())))}
        fresh = {label: f"{bases[label]}~{ranks[colour]}" for label, colour in fresh.items()}
        if len(set(fresh.values())) == len(set(colours.values())) and round_ > 0:
            return fresh
        colours = fresh
    return colours


def _told(block: Select) -> list[tuple[object, ...]]:
    """Return all that a block says of its sources, each with where it says so."""
    told: list[tuple[object, ...]] = []
    stack: list[Source | Outer] = [*block.outers, *block.sources]
    while stack:
        top = stack.pop()
        if isinstance(top, Outer):
            told += [("outer", one) for one in top.where]
            told += [("padded", source) for source in top.sources]
            stack += [*top.outers, *top.sources]
        elif isinstance(top, Full):
            told += [("full", top.where), ("left", top.left), ("right", top.right)]
        elif not isinstance(top, Table):
            told.append(top)
    told += [("where", one) for one in block.where]
    told += [("having", one) for one in block.having]
    told += [("item", place, one) for place, one in enumerate(block.items)]
    told += [("group", one) for one in block.group or ()]
    told += [("order", place, one) for place, one in enumerate(block.order)]
    told += [("extra", one) for one in block.extra]
    return told


def _mentioned(fact: object) -> set[Label]:
    """Return the labels of the sources that a term reads or holds."""
    return {
        part.source if isinstance(part, Column) else part.label
        for part in walk(fact)
        if isinstance(part, (Column, *SOURCES))
    }


def _mask(term: Any, own: Label, colours: dict[Label, str], masked: dict[tuple[int, Label], Any]) -> Any:
    """Return a term with each source called by its colour, and one of them `me`."""
    kind = term.__class__
    if kind in ATOMS or not term:
        return term
    if kind is Column or kind in SOURCES:
        head, label, *rest = term
        # A number is a source that has no name yet.
        if isinstance(label, int):
            label = "me" if label == own else colours.get(label, "?")
        return (head, label, *(_mask(part, own, colours, masked) for part in rest))
    # One object wherever a column of the class stands.
    if kind is Same and (id(term), own) in masked:
        return masked[id(term), own]
    parts = [_mask(part, own, colours, masked) for part in term]
    if kind is tuple and not isinstance(parts[0], str):
        parts.sort(key=repr)
    elif kind is not tuple and term.head in COMMUTATIVE:
        head, *operands = parts
        parts = [head, *sorted(operands, key=repr)]
    if kind is Same:
        masked[id(term), own] = tuple(parts)
    return tuple(parts)
