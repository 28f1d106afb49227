"""The atomic operations of a query, as a multiset that prints, diffs and hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from finer_rewards._util.assignment import best_pairs


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

    __slots__ = ("_counts", "_hash", "_sets", "notes")

    def __init__(
        self, operations: Iterable[Operation] | Mapping[Operation, int] = (), notes: tuple[str, ...] = ()
    ) -> None:
        counts = Counter(operations)
        if counts and min(counts.values()) <= 0:
            counts = Counter({one: n for one, n in counts.items() if n > 0})
        self._counts: Counter[Operation] = counts
        self.notes = notes
        self._hash: int | None = None
        self._sets: bool | None = None

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
        """Return what `predicted`, fitted to this multiset (the gold), shares with it, lacks, and has too many."""
        predicted = predicted.fitted_to(self)
        return Difference(self & predicted, self - predicted, predicted - self)

    def fitted_to(self, gold: Operations) -> Operations:
        """Return the operations with each operand of a set operation called as that of `gold` it shares most with.

        A query without set operation is fitted to one operand, and one operand to such a query.

        Example:
            >>> either = Operations([Operation("set", ("union",)), Operation("from", ("singer",), ("union 1",))])
            >>> print(either.fitted_to(Operations([Operation("from", ("singer",))])))
            set union
            from singer
        """
        if not (self._joins_queries() or gold._joins_queries()):
            return self
        return Operations(_fitted(self._counts, gold._counts), self.notes)

    def _joins_queries(self) -> bool:
        if self._sets is None:
            self._sets = any(one.kind == "set" for one in self._counts)
        return self._sets

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


Counts = Counter[Operation]
_MOST_OPERANDS = 32
_TAIL = ("order", "limit", "offset")


def operand(operator: str, place: int) -> str:
    """Return what the scope of an operand of a set operation is called."""
    return f"{operator} {place + 1}"


def _is_operand(label: str) -> bool:
    return label[-1:].isdigit() and label.startswith(("union", "intersect", "except"))


def _fitted(predicted: Counts, gold: Counts) -> Counts:
    """Return the predicted operations with operands called as in the gold, from the outermost scope inward."""
    ours, theirs = _by_scope(predicted), _by_scope(gold)
    parts = {label: part for label, part in ours.items() if _is_operand(label)}
    partners = {label: part for label, part in theirs.items() if _is_operand(label)}
    if (not parts and not partners) or max(len(parts), len(partners)) > _MOST_OPERANDS:
        return _under({
            label: _fitted(part, theirs[label]) if label and label in theirs else part
            for label, part in ours.items()
        })  # fmt: skip
    if parts:
        rest = _under({label: part for label, part in ours.items() if label not in parts})
    else:
        # ORDER BY and LIMIT of a set operation are not those of its operands.
        tail = {one.kind for one in theirs.get("", ())}.intersection(_TAIL)
        rest = Counter(
            {one: n for one, n in predicted.items() if one.kind in (*tail, "query") and not one.scope}
        )
        parts = {"": predicted - rest}
    partners = partners or {"": gold}
    called = _pairing(parts, partners)
    return rest + _under({
        called[label]: _fitted(part, partners[called[label]]) if called[label] in partners else part
        for label, part in parts.items()
    })  # fmt: skip


def _pairing(parts: Mapping[str, Counts], partners: Mapping[str, Counts]) -> dict[str, str]:
    """Return the label of each part's partner; a new one for a part without."""
    ours, theirs = list(parts), list(partners)
    gains = [[_gain((a, parts[a]), (b, partners[b])) for b in theirs] for a in ours]
    called = {ours[row]: theirs[column] for row, column in best_pairs(gains) if gains[row][column] >= 0}
    for place, label in enumerate(ours):
        called.setdefault(label, operand(label.rpartition(" ")[0], len(theirs) + place))
    return called


def _gain(part: tuple[str, Counts], partner: tuple[str, Counts]) -> int:
    """Return how much two operands share; -1 for what EXCEPT takes rows from and what it takes away."""
    (ours, first), (theirs, second) = part, partner
    if ours[:6] == theirs[:6] == "except" and (ours == "except 1") != (theirs == "except 1"):
        return -1
    return sum(min(n, second[one]) for one, n in first.items() if one in second)


def _by_scope(counts: Counts) -> dict[str, Counts]:
    """Return the operations by the outermost scope, which they lose; those of no scope by an empty text."""
    found: dict[str, Counts] = {}
    for one, n in counts.items():
        label = one.scope[0] if one.scope else ""
        found.setdefault(label, Counter())[replace(one, scope=one.scope[1:])] += n
    return found


def _under(parts: Mapping[str, Counts]) -> Counts:
    """Return the operations of parts, each under its scope."""
    found: Counts = Counter()
    for label, part in parts.items():
        for one, n in part.items():
            found[replace(one, scope=(label, *one.scope)) if label else one] += n
    return found
