"""The language queries are rewritten in: tuples with names.

A *term* is a tuple whose first element, its head, says which operator it is; the other elements are terms, texts,
numbers, or tuples of terms. Each operator is a class, here or in `leaves.py` and `operators.py`, with a name for
every element:

    >>> column = Column(1, "age")
    >>> column.source, column.name
    (1, 'age')

Terms equal, hash and print as the plain tuples they are, in C:

    >>> column == ("column", 1, "age")
    True
    >>> from finer_rewards.operations.operators import Comparison
    >>> print(Comparison(">", column, Number("3")))
    ('>', ('column', 1, 'age'), ('number', '3'))

`isinstance(term, Column)` tells what a term is, to mypy too. A tuple of no class of its own holds terms side by side.

A *query* is a `Select`, a `SetOperation` or `Values`. A *source* of a FROM clause is a `Table`, a `Derived`, a
`FunctionSource`, `Itself` or a `Full`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from .leaves import (
    Boolean,
    Column,
    Label,
    Null,
    Number,
    Operator,
    Position,
    SourceName,
    Star,
    Text,
    Word,
    element,
    elements,
    new,
)
from .operators import Aggregate, SortKey, Window

# Sources ----------------------------------------------------------------------------------------------


class Table(Operator):
    """A table of the database."""

    __slots__ = ()

    label: Label = element(1)
    name: str = element(2)
    options: tuple[Operator, ...] = elements(3)

    def __new__(cls, label: Label, name: str, *options: Operator) -> Table:
        parts = ("table", label, name)
        return new(cls, parts + options)


class Derived(Operator):
    """A query in a FROM clause."""

    __slots__ = ()

    label: Label = element(1)
    query: Query | Recursive = element(2)

    def __new__(cls, label: Label, query: Query | Recursive) -> Derived:
        return new(cls, ("derived", label, query))


class Recursive(Operator):
    """The query of a recursive CTE, and the number that `Itself` calls it by inside."""

    __slots__ = ()

    label: Label = element(1)
    query: Query = element(2)

    def __new__(cls, label: Label, query: Query) -> Recursive:
        return new(cls, ("recursive", label, query))


class Itself(Operator):
    """The recursive CTE that is being defined; `recursive` is the number of its `Recursive`."""

    __slots__ = ()

    label: Label = element(1)
    recursive: Label = element(2)

    def __new__(cls, label: Label, recursive: Label) -> Itself:
        return new(cls, ("self", label, recursive))


class FunctionSource(Operator):
    """A function that returns rows."""

    __slots__ = ()

    label: Label = element(1)
    term: Term = element(2)

    def __new__(cls, label: Label, term: Term) -> FunctionSource:
        return new(cls, ("function", label, term))


class Full(Operator):
    """A FULL JOIN."""

    __slots__ = ()

    label: Label = element(1)
    left: Group = element(2)
    right: Group = element(3)
    where: tuple[Term, ...] = element(4)

    def __new__(cls, label: Label, left: Group, right: Group, where: tuple[Term, ...]) -> Full:
        return new(cls, ("full", label, left, right, where))


# Queries ----------------------------------------------------------------------------------------------


class SetOperation(Operator):
    """UNION, INTERSECT or EXCEPT of several queries; `operator` is in lower case, with `all`."""

    __slots__ = ()

    operator: str = element(1)
    branches: tuple[Query, ...] = element(2)
    order: tuple[SortKey, ...] = element(3)
    limit: Term | None = element(4)
    offset: Term | None = element(5)
    extra: tuple[Term, ...] = elements(6)

    def __new__(
        cls,
        operator: str,
        branches: tuple[Query, ...],
        order: tuple[SortKey, ...],
        limit: Term | None,
        offset: Term | None,
        *extra: Term,
    ) -> SetOperation:
        return new(cls, ("setop", operator, branches, order, limit, offset, *extra))

    def with_branches(self, branches: Iterable[Query]) -> SetOperation:
        """Return the set operation of other queries."""
        head, operator, _, *rest = self
        return new(SetOperation, (head, operator, tuple(branches), *rest))


class Values(Operator):
    """VALUES (...), (...)."""

    __slots__ = ()

    rows: tuple[tuple[Term, ...], ...] = element(1)

    def __new__(cls, rows: tuple[tuple[Term, ...], ...]) -> Values:
        return new(cls, ("values", rows))


class Group(NamedTuple):
    """Inner-joined sources, the outer joins onto them, and the conditions that hold for them."""

    head: str
    sources: tuple[Source, ...]
    outers: tuple[Outer, ...]
    where: tuple[Term, ...]


class Outer(NamedTuple):
    """A LEFT JOIN of `sources` (with their own outer joins) under the conditions `where`."""

    head: str
    sources: tuple[Source, ...]
    outers: tuple[Outer, ...]
    where: tuple[Term, ...]


class Select(NamedTuple):
    """One SELECT block. `where` and `having` are conjunctions; `group` is `None` without grouping."""

    head: str
    distinct: bool | str  # "any": repeats may be kept or dropped
    items: tuple[Term, ...]
    sources: tuple[Source, ...]
    outers: tuple[Outer, ...]
    where: tuple[Term, ...]
    group: tuple[Term, ...] | None
    having: tuple[Term, ...]
    order: tuple[SortKey, ...]
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
        return self.group is not None or contains((self.items, self.having), Aggregate)


def is_cut(query: Select | SetOperation) -> bool:
    """Return whether LIMIT or OFFSET leaves rows out."""
    return query.limit is not None or query.offset is not None


Query = Select | SetOperation | Values
Source = Table | Derived | FunctionSource | Itself | Full
Term = Operator | Select

QUERIES = (Select, SetOperation, Values)
SOURCES = (Table, Derived, FunctionSource, Itself, Full)
#: Operators without terms inside; most of a query is these.
LEAVES = frozenset({Column, Number, Text, Null, Boolean, Star, Word, Position, Table})
#: What a term holds beside terms.
ATOMS = frozenset({str, int, bool, type(None), SourceName})
#: What holds terms and is none: terms side by side, and the sides of joins.
HOLDERS = frozenset({tuple, Outer, Group})
#: What no walk enters.
CLOSED = LEAVES | ATOMS


def contains(term: object, *kinds: type) -> bool:
    """Return whether an operator of one of these classes occurs in a term, subqueries left out."""
    within: list[Any] = [(term,)]
    for top in within:
        for part in top:
            kind = part.__class__
            if kind in kinds:
                return True
            if kind not in CLOSED and kind not in QUERIES:
                within.append(part)
    return False


def computes_over_rows(term: object) -> bool:
    """Return whether a term depends on more than one row of its block."""
    return contains(term, Aggregate, Window)
