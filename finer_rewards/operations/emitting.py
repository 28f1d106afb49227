"""From a canonical query to its atomic operations: the last step, after `naming`; `words` writes their arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from .leaves import ONE, Column, Word
from .multiset import Operation, operand
from .operators import Comparison, Exists, In, Like, Of, Scalar
from .terms import CLOSED, QUERIES, Derived, Full, Outer, Query, Recursive, Select, SetOperation, Source, Term
from .walks import T, columns_of, remake, substitute
from .words import name_of, say, say_query, say_source

#: Every kind of operation, and the clause it belongs to.
KINDS = {
    "query": "",
    "columns": "SELECT",
    "select": "SELECT",
    "distinct": "SELECT",
    "from": "FROM",
    "join": "FROM",
    "left join": "FROM",
    "full join": "FROM",
    "filter": "WHERE",
    "group": "GROUP BY",
    "having": "HAVING",
    "order": "ORDER BY",
    "limit": "LIMIT",
    "offset": "OFFSET",
    "set": "SET OPERATION",
    "values": "VALUES",
    "other": "",
}


def operations_of(query: Query, about: Query | None = None) -> list[Operation]:
    """Return the operations of a canonical query; the last one is the query as a whole.

    Args:
        query: the canonical query.
        about: its loose form; where the two differ, the operations are those of the loose form and the
            outermost ones of the query itself.
    """
    found = _emitted(query)
    if about is not None and about != query:
        loosely = _emitted(about)
        strict = Counter(found) - Counter(loosely)
        found = [*loosely, *(one for one in strict.elements() if not one.scope)]
    return [*found, Operation("query", (say_query(query),))]


@lru_cache(maxsize=16_384)
def _operation(kind: str, words: tuple[str, ...], scope: tuple[str, ...]) -> Operation:
    """Return an operation; queries of one database share most of theirs, and so the objects."""
    return Operation(kind, words, scope, KINDS[kind])


def _emitted(query: Query) -> list[Operation]:
    emitter = _Emitter()
    emitter.query(query, (), 0)
    return emitter.found


class _Emitter:
    """Keeps the operations of one query as it goes through it."""

    def __init__(self) -> None:
        self.found: list[Operation] = []

    def add(self, kind: str, words: tuple[str, ...], scope: tuple[str, ...]) -> None:
        self.found.append(_operation(kind, words, scope))

    def query(self, query: Query, scope: tuple[str, ...], depth: int) -> None:
        if isinstance(query, Select):
            self.select(query, scope, depth)
        elif isinstance(query, SetOperation):
            self.add("set", (query.operator,), scope)
            for place, branch in enumerate(query.branches):
                self.query(branch, (*scope, operand(query.operator, place)), depth)
            self.tail(query, scope, depth)
            for part in query.extra:
                self.add("other", (say(part, depth),), scope)
        else:
            self.add("values", (say_query(query, depth),), scope)

    def select(self, block: Select, scope: tuple[str, ...], depth: int) -> None:
        if any(isinstance(source, Derived) for source in block.sources):
            block = _spelled_out(block)
        if scope == () or block.items != (ONE,):
            self.add("columns", (str(len(block.items)),), scope)
            for item in block.items:
                self.term("select", item, scope, depth)
        if block.distinct is True:
            self.add("distinct", ("rows",), scope)
        self.group(block.sources, block.outers, scope, depth)
        for one in block.where:
            self.condition(one, scope, depth)
        if block.group is not None:
            for one in block.group:
                self.term("group", one, scope, depth, "by")
            if not block.group:
                self.add("group", ("all",), scope)
        for one in block.having:
            self.term("having", one, scope, depth)
        for one in block.extra:
            self.term("other", one, scope, depth)
        self.tail(block, scope, depth)

    def group(
        self, sources: Iterable[Source], outers: Iterable[Outer], scope: tuple[str, ...], depth: int
    ) -> None:
        for source in sources:
            if isinstance(source, Derived):
                recursive = isinstance(source.query, Recursive)
                inner = source.query.query if isinstance(source.query, Recursive) else source.query
                label = "recursive" if recursive else "derived"
                self.add("from", (label,), scope)
                self.query(inner, (*scope, label), depth + 1)
            elif isinstance(source, Full):
                self.add("full join", ("on", " and ".join(say(one, depth) for one in source.where)), scope)
                for side in (source.left, source.right):
                    self.group(side.sources, side.outers, scope, depth)
                    for one in side.where:
                        self.condition(one, scope, depth)
            else:
                self.add("from", (say_source(source, depth),), scope)
        for outer in outers:
            names = " ".join(name_of(one.label, depth) for one in outer.sources)
            self.add("left join", (names,), scope)
            self.group(outer.sources, outer.outers, scope, depth)
            for one in outer.where:
                self.term("left join", one, scope, depth, f"{names} on")

    def condition(self, term: Term, scope: tuple[str, ...], depth: int) -> None:
        if isinstance(term, Comparison) and term.head == "=":
            left, right = term.left, term.right
            if isinstance(left, Column) and isinstance(right, Column) and left.source != right.source:
                self.add("join", (name_of(right.source, depth), "on", say(term, depth)), scope)
                return
        self.term("filter", term, scope, depth)

    def term(
        self,
        kind: str,
        term: Term,
        scope: tuple[str, ...],
        depth: int,
        *words: str,
        after: tuple[str, ...] = (),
    ) -> None:
        """Keep the operation of a term, and those of the subqueries inside it."""
        inner: list[tuple[str, Query]] = []
        bare = _without_queries(term, inner)
        self.add(kind, (*words, *_words(bare, depth), *after), scope)
        for place, (label, query) in enumerate(inner):
            host = f"{kind} {label}" if place == 0 else f"{kind} {label} {place + 1}"
            self.query(query, (*scope, host), depth + 1)

    def tail(self, query: Select | SetOperation, scope: tuple[str, ...], depth: int) -> None:
        for place, key in enumerate(query.order):
            words = ("by",) if place == 0 else (f"by key {place + 1}",)
            after = (*(("desc",) if key.head == "desc" else ()), *key.nulls)
            self.term("order", key.term, scope, depth, *words, after=after)
        if query.limit is not None:
            self.add("limit", (say(query.limit, depth),), scope)
        if query.offset is not None:
            self.add("offset", (say(query.offset, depth),), scope)


def _spelled_out(block: Select) -> Select:
    """Return a block with each column of a derived table that is one of a table below called so, as without the detour.

    Only for words: the operation of the whole query keeps the two apart.
    """
    found: dict[Column, Column] = {}
    for column in columns_of(block):
        below: Term = column
        while isinstance(below, Column) and isinstance(below.name, Of):
            below = below.name.item
        if below is not column and isinstance(below, Column):
            found[column] = below
    return substitute(block, found) if found else block


def _words(term: Term, depth: int) -> tuple[str, ...]:
    """Return a comparison as its three parts, anything else as one."""
    if isinstance(term, Comparison):
        return (say(term.left, depth), term.head, say(term.right, depth))
    if isinstance(term, In):
        return (say(term.left, depth), "in", f"({say(term.right, depth)})")
    if isinstance(term, Like) and term.head == "like" and not term.escape:
        return (say(term.left, depth), "like", say(term.pattern, depth))
    return (say(term, depth),)


def _without_queries(term: T, found: list[tuple[str, Query]]) -> T:
    """Return a term with each subquery replaced by a mark; the subqueries are appended to `found`."""
    bare: T = _marked(term, found)
    return bare


def _marked(term: Any, found: list[tuple[str, Query]]) -> Any:
    kind = term.__class__
    if kind in CLOSED:
        return term
    if kind in QUERIES:
        found.append(("subquery", term))
        return Word("subquery")
    before = len(found)
    parts = [_marked(part, found) for part in term]
    if len(found) == before:
        return term
    if kind in (In, Exists, Scalar):
        found[before:] = [(term.head, query) for _, query in found[before:]]
    return remake(term, parts)
