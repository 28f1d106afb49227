"""Functional dependencies: which columns and rows are fixed once some columns are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..context import Context, numbers_in
from ..terms import QUERIES, Column, Outer, Select, Term, columns_of, walk

CONSTANTS = ("number", "text", "bool", "null")


class Closure:
    """What is fixed, in one row of a FROM clause, by a set of terms.

    Args:
        block: the block.
        fixed: terms taken as fixed.
        context: the schema's facts.
        sources: the sources the conditions of which count; `None` for all of the block's.
    """

    def __init__(
        self, block: Select, fixed: Iterable[Term], context: Context, sources: set[int] | None = None
    ) -> None:
        self.context = context
        self.all_sources: dict[int, Term] = {}
        conditions: list[Term] = list(block.where)
        self.outer_conditions: list[tuple[set[int], tuple[Term, ...]]] = []
        self._collect(block.sources, block.outers)
        if sources is not None:
            self.all_sources = {number: one for number, one in self.all_sources.items() if number in sources}
            self.outer_conditions = []
        # Texts that a collation takes for equal are one group, but not one value.
        self.columns = {term for term in fixed if term[0] == "column" and not context.collation(term)}
        self.rows: set[int] = set()
        self.equalities = [
            one
            for one in conditions
            if one[0] in ("=", "is") and (one[1][0] == "column" or one[2][0] == "column")
        ]
        if sources is not None:
            self.equalities = [one for one in self.equalities if self._inside(one, sources)]
        self._grow()

    def _inside(self, term: Term, sources: set[int]) -> bool:
        return all(column[1] in sources for column in columns_of(term))

    def _collect(self, sources: Iterable[Term], outers: Iterable[Outer]) -> None:
        for source in sources:
            self.all_sources[source[1]] = source
        for outer in outers:
            self.outer_conditions.append((numbers_in(outer), outer.where))
            self._collect(outer.sources, outer.outers)

    def _grow(self) -> None:
        changed = True
        while changed:
            changed = False
            for _, left, right in self.equalities:
                for one, other in ((left, right), (right, left)):
                    if (
                        one[0] == "column"
                        and not self.fixes(one)
                        and self.fixes(other)
                        and self._carries(other, one)
                    ):
                        self.columns.add(one)
                        changed = True
            for own, where in self.outer_conditions:
                changed |= self._grow_outer(own, where)
            for number, source in self.all_sources.items():
                if number not in self.rows and any(
                    all(self.fixes(column) for column in key) for key in keys_of(source, self.context)
                ):
                    self.rows.add(number)
                    changed = True

    def _grow_outer(self, own: set[int], where: tuple[Term, ...]) -> bool:
        """An outer join fixes its side only once everything its condition asks of the other side is fixed."""
        if not all(self.fixes(column) for one in where for column in columns_of(one) if column[1] not in own):
            return False
        changed = False
        for one in where:
            if one[0] != "=":
                continue
            for column, other in ((one[1], one[2]), (one[2], one[1])):
                inner = column[0] == "column" and column[1] in own and not self.fixes(column)
                if inner and self.fixes(other) and self._carries(other, column):
                    self.columns.add(column)
                    changed = True
        return changed

    def _carries(self, known: Term, unknown: Term) -> bool:
        """A number does not fix the text that equals it ('1' and '01')."""
        if self.context.collation(unknown):
            return False
        kind = self.context.affinity(unknown)
        if kind in ("number", "real", "date") or (kind == "" and not self.context.facts.known):
            return True
        if known[0] in CONSTANTS:
            return kind != "text" or known[0] == "text"
        return self.context.affinity(known) == kind

    def fixes(self, term: Any) -> bool:
        """Return whether a term has one value."""
        if term[0] in CONSTANTS:
            return True
        if term[0] == "column":
            return term in self.columns or term[1] in self.rows or term[1] not in self.all_sources
        if any(
            part and (isinstance(part, QUERIES) or part[0] in ("aggregate", "window")) for part in walk(term)
        ):
            return False
        return all(self.fixes(column) for column in columns_of(term))

    @property
    def one_row(self) -> bool:
        """True when at most one row of the FROM clause is left."""
        return all(number in self.rows for number in self.all_sources)


def keys_of(source: Term, context: Context) -> tuple[frozenset[Term], ...]:
    """Return the keys of a source: declared ones, or what a derived table groups by."""
    if source[0] == "table":
        return context.keys(source[1])
    if source[0] != "derived":
        return ()
    query = source[2]
    number = source[1]
    if isinstance(query, Select):
        places = [Column(number, place) for place in range(len(query.items))]
        if query.group is None and query.aggregated:
            return (frozenset(),)
        if not (query.sources or query.outers) and all(item[0] in CONSTANTS for item in query.items):
            return (frozenset(),)  # of a function the engine may make rows
        if query.group is not None and set(query.group) <= set(query.items):
            return (frozenset(Column(number, query.items.index(key)) for key in query.group),)
        if query.distinct is True:
            return (frozenset(places),)
    return ()
