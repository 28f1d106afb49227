"""Functional dependencies: which columns and rows are fixed once some columns are.

Many rules hold only where a key fixes a row; `Closure(...).one_row` is how they ask.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeGuard

from ..context import Context, numbers_in
from ..leaves import CONSTANTS, Column, Label, Text
from ..operators import Aggregate, Comparison, Window
from ..terms import Derived, Outer, Select, Source, Table, Term, contains
from ..walks import columns_of, sources_of, walk
from ._shared import both_ways, equalities


class Closure:
    """What is fixed, in one row of a FROM clause, by a set of terms.

    Args:
        block: the block.
        fixed: terms taken as fixed.
        context: the schema's facts.
        sources: the sources the conditions of which count; `None` for all of the block's.
    """

    def __init__(
        self, block: Select, fixed: Iterable[Term], context: Context, sources: set[Label] | None = None
    ) -> None:
        self.context = context
        self.all_sources: dict[Label, Source] = {}
        self.outer_conditions: list[tuple[set[Label], tuple[Term, ...]]] = []
        self.equalities = [condition for condition in block.where if _equates_a_column(condition)]
        self._collect(block.sources, block.outers)
        if sources is not None:
            self.all_sources = {label: one for label, one in self.all_sources.items() if label in sources}
            self.equalities = [one for one in self.equalities if sources_of(one) <= sources]
            self.outer_conditions = []
        # Texts that a collation takes for equal are one group, but not one value.
        self.columns = {term for term in fixed if isinstance(term, Column) and not context.collation(term)}
        self.rows: set[Label] = set()
        self._grow()

    def _collect(self, sources: Iterable[Source], outers: Iterable[Outer]) -> None:
        for source in sources:
            self.all_sources[source.label] = source
        for outer in outers:
            self.outer_conditions.append((numbers_in(outer), outer.where))
            self._collect(outer.sources, outer.outers)

    def _grow(self) -> None:
        """Add what follows until nothing more does."""
        changed = True
        while changed:
            changed = False
            for condition in self.equalities:
                for side, other in both_ways(condition):
                    changed |= self._fix_side(side, other)
            for own, where in self.outer_conditions:
                changed |= self._grow_outer(own, where)
            for label, source in self.all_sources.items():
                if label not in self.rows and self._has_one_row(source):
                    self.rows.add(label)
                    changed = True

    def _fix_side(self, side: Term, other: Term) -> bool:
        """Add a column that equals what is fixed; return whether it is one."""
        if not isinstance(side, Column) or self.fixes(side) or not self.fixes(other):
            return False
        if not self._carries(other, side):
            return False
        self.columns.add(side)
        return True

    def _grow_outer(self, own: set[Label], where: tuple[Term, ...]) -> bool:
        """An outer join fixes its side only once everything its condition asks of the other side is fixed."""
        if not all(self.fixes(column) for column in columns_of(where) if column.source not in own):
            return False
        changed = False
        for condition in equalities(where):
            for side, other in both_ways(condition):
                if isinstance(side, Column) and side.source in own:
                    changed |= self._fix_side(side, other)
        return changed

    def _has_one_row(self, source: Source) -> bool:
        """Return whether all columns of a key of a source are fixed."""
        return any(map(self.columns.issuperset, _keys_of(source, self.context)))

    def _carries(self, known: Term, unknown: Column) -> bool:
        """A number does not fix the text that equals it ('1' and '01')."""
        if self.context.collation(unknown):
            return False
        kind = self.context.affinity(unknown)
        if kind in ("number", "real", "date") or (kind == "" and not self.context.facts.known):
            return True
        if isinstance(known, CONSTANTS):
            return kind != "text" or isinstance(known, Text)
        return self.context.affinity(known) == kind

    def fixes(self, term: Term) -> bool:
        """Return whether a term has one value."""
        if isinstance(term, Column):
            return term in self.columns or term.source in self.rows or term.source not in self.all_sources
        if isinstance(term, CONSTANTS):
            return True
        if contains(term, Aggregate, Window) or self._folds_inside(term):
            return False
        return all(map(self.fixes, columns_of(term)))

    def _folds_inside(self, term: Term) -> bool:
        """Return whether a subquery in a term folds columns of this FROM clause; such an aggregate is not its own."""
        return any(
            isinstance(part, Aggregate) and not sources_of(part).isdisjoint(self.all_sources)
            for part in walk(term)
        )

    @property
    def one_row(self) -> bool:
        """True when at most one row of the FROM clause is left."""
        return all(label in self.rows for label in self.all_sources)


def _equates_a_column(condition: Term) -> TypeGuard[Comparison]:
    if not isinstance(condition, Comparison) or condition.head not in ("=", "is"):
        return False
    return isinstance(condition.left, Column) or isinstance(condition.right, Column)


def _keys_of(source: Source, context: Context) -> tuple[frozenset[Column], ...]:
    """Return the keys of a source: declared ones, or what a derived table groups by."""
    if isinstance(source, Table):
        return context.keys(source.label)
    if not isinstance(source, Derived) or not isinstance(source.query, Select):
        return ()
    label, query = source.label, source.query
    if query.group is None and query.aggregated:
        return (frozenset(),)
    # A function may give more rows.
    if not (query.sources or query.outers) and all(isinstance(item, CONSTANTS) for item in query.items):
        return (frozenset(),)
    if query.group is not None and set(query.group) <= set(query.items):
        return (frozenset(Column(label, query.items.index(key)) for key in query.group),)
    if query.distinct is True:
        return (frozenset(Column(label, place) for place in range(len(query.items))),)
    return ()
