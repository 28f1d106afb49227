"""Rewrites of whole blocks, applied from the innermost outward until nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .context import Context
from .terms import FALSE, Outer, Select, Term, conjuncts, fold

__all__ = ["RULES", "rewrite"]

_MAX_ROUNDS = 12

Rule = Callable[[Select, Context], Select]


def rewrite(query: Term, context: Context) -> Term:
    """Return the query with every rule applied until nothing changes."""

    def change(term: Term) -> Any:
        return _settle(term, context) if isinstance(term, Select) else term

    result: Term = fold(query, change)
    return result


def _settle(block: Select, context: Context) -> Select:
    for _ in range(_MAX_ROUNDS):
        before = block
        for rule in RULES:
            block = rule(block, context)
        if block == before:
            return block
    context.notes.append("a block was left before its last rewrite")
    return block


def flatten_conditions(block: Select, context: Context) -> Select:
    """Split conjunctions into their parts; drop what is true. Holds always."""
    return block._replace(
        where=_split(block.where),
        having=_split(block.having),
        outers=tuple(_flatten_outer(one) for one in block.outers),
    )


def _flatten_outer(outer: Outer) -> Outer:
    return outer._replace(
        where=_split(outer.where), outers=tuple(_flatten_outer(one) for one in outer.outers)
    )


def _split(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    found: dict[Term, None] = {}
    for term in terms:
        for part in conjuncts(term):
            found[part] = None
    return (FALSE,) if FALSE in found else tuple(found)


#: Every rule, in the order of application.
RULES: tuple[Rule, ...] = (flatten_conditions,)
