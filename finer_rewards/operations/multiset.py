"""The atomic operations of a query, as a multiset that prints, diffs and hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

__all__ = ["Difference", "Operation", "Operations"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing a query does.

    Args:
        kind: what sort of thing (`select`, `filter`, `join`, ...; `KINDS` lists them).
        arguments: what it is done to, in words that read as SQL.
        scope: the subqueries it sits in, outermost first; empty for the query itself.
        clause: the clause of the text it came from; it does not count when operations are compared.

    Example:
        >>> print(Operation("filter", ("singer.age", ">", "40")))
        filter singer.age > 40
        >>> print(Operation("limit", ("1",), scope=("in",)))
        (in) limit 1
    """

    kind: str
    arguments: tuple[str, ...]
    scope: tuple[str, ...] = ()
    clause: str = field(default="", compare=False)

    def __str__(self) -> str:
        scope = f"({' > '.join(self.scope)}) " if self.scope else ""
        return f"{scope}{' '.join((self.kind, *self.arguments))}"


@dataclass(frozen=True)
class Difference:
    """What two multisets of operations share and do not.

    Args:
        matched: operations of both.
        missing: operations of the gold that the prediction lacks.
        extra: operations of the prediction that the gold lacks.
    """

    matched: Operations
    missing: Operations
    extra: Operations

    def __str__(self) -> str:
        sides = (("=", self.matched), ("-", self.missing), ("+", self.extra))
        return "\n".join(f"{mark} {operation}" for mark, side in sides for operation in side)


class Operations:
    """An immutable multiset of operations.

    `&` keeps the smaller count, `|` the larger, `+` adds, `-` subtracts; `len` counts repeats.

    Args:
        operations: the operations, repeats counted.
        notes: what could not be normalised, one sentence each; not compared.

    Example:
        >>> first = Operations([Operation("limit", ("1",)), Operation("from", ("singer",))])
        >>> second = Operations([Operation("limit", ("2",)), Operation("from", ("singer",))])
        >>> print(first.diff(second))
        = from singer
        - limit 1
        + limit 2
    """

    __slots__ = ("_counts", "_hash", "notes")

    def __init__(
        self, operations: Iterable[Operation] | Mapping[Operation, int] = (), notes: tuple[str, ...] = ()
    ) -> None:
        counts = Counter(operations)
        if counts and min(counts.values()) <= 0:
            counts = Counter({one: n for one, n in counts.items() if n > 0})
        self._counts: Counter[Operation] = counts
        self.notes = notes
        self._hash: int | None = None

    @property
    def counts(self) -> Mapping[Operation, int]:
        """How often each operation occurs."""
        return MappingProxyType(self._counts)

    def count(self, operation: Operation) -> int:
        """Return how often one operation occurs."""
        return self._counts[operation]

    def of_kind(self, *kinds: str) -> Operations:
        """Return the operations of these kinds only."""
        return Operations({one: n for one, n in self._counts.items() if one.kind in kinds})

    def diff(self, predicted: Operations) -> Difference:
        """Return what `predicted` has in common with this multiset (the gold), lacks, and has too many."""
        return Difference(self & predicted, self - predicted, predicted - self)

    def __and__(self, other: Operations) -> Operations:
        return Operations(self._counts & other._counts)

    def __or__(self, other: Operations) -> Operations:
        return Operations(self._counts | other._counts)

    def __add__(self, other: Operations) -> Operations:
        return Operations(self._counts + other._counts)

    def __sub__(self, other: Operations) -> Operations:
        return Operations(self._counts - other._counts)

    def __le__(self, other: Operations) -> bool:
        return all(other._counts[one] >= n for one, n in self._counts.items())

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __iter__(self) -> Iterator[Operation]:
        return self._counts.elements()

    def __contains__(self, operation: object) -> bool:
        return operation in self._counts

    def __eq__(self, other: object) -> bool:
        return self._counts == other._counts if isinstance(other, Operations) else NotImplemented

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self._counts.items()))
        return self._hash

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    def __repr__(self) -> str:
        return f"Operations({list(self)!r})"
