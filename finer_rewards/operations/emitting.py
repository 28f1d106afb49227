"""From a canonical query to its atomic operations."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any

from .multiset import Operation, operand
from .terms import LEAVES, ONE, QUERIES, Select, Term, Word, columns_of, remake, substitute
from .words import name_of, say, say_query, say_source

__all__ = ["KINDS", "operations_of"]

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


def operations_of(query: Term, about: Term | None = None) -> list[Operation]:
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


def _emitted(query: Term) -> list[Operation]:
    emitter = _Emitter()
    emitter.query(query, (), 0)
    return emitter.found


class _Emitter:
    """Keeps the operations of one query as it goes through it."""

    def __init__(self) -> None:
        self.found: list[Operation] = []

    def add(self, kind: str, words: tuple[str, ...], scope: tuple[str, ...]) -> None:
        self.found.append(_operation(kind, words, scope))

    def query(self, query: Term, scope: tuple[str, ...], depth: int) -> None:
        if isinstance(query, Select):
            self.select(query, scope, depth)
        elif query[0] == "setop":
            self.add("set", (query[1],), scope)
            for place, branch in enumerate(query[2]):
                self.query(branch, (*scope, operand(query[1], place)), depth)
            self.tail(query[3], query[4], query[5], scope, depth)
            for part in query[6:]:
                self.add("other", (say(part, depth),), scope)
        else:
            self.add("values", (say_query(query, depth),), scope)

    def select(self, block: Select, scope: tuple[str, ...], depth: int) -> None:
        if any(source[0] == "derived" for source in block.sources):
            block = _spelled_out(block)
        if scope == () or len(block.items) != 1 or block.items[0] != ONE:
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
        self.tail(block.order, block.limit, block.offset, scope, depth)

    def group(self, sources: Any, outers: Any, scope: tuple[str, ...], depth: int) -> None:
        for source in sources:
            head = source[0]
            if head == "derived":
                inner = source[2][2] if source[2][0] == "recursive" else source[2]
                label = "recursive" if source[2][0] == "recursive" else "derived"
                self.add("from", (label,), scope)
                self.query(inner, (*scope, label), depth + 1)
            elif head == "full":
                self.add("full join", ("on", " and ".join(say(one, depth) for one in source[4])), scope)
                for side in source[2:4]:
                    self.group(side[1], side[2], scope, depth)
                    for one in side[3]:
                        self.condition(one, scope, depth)
            else:
                self.add("from", (say_source(source, depth),), scope)
        for outer in outers:
            names = " ".join(name_of(one[1], depth) for one in outer.sources)
            self.add("left join", (names,), scope)
            self.group(outer.sources, outer.outers, scope, depth)
            for one in outer.where:
                self.term("left join", one, scope, depth, f"{names} on")

    def condition(self, term: Term, scope: tuple[str, ...], depth: int) -> None:
        if term[0] == "=" and term[1][0] == term[2][0] == "column" and term[1][1] != term[2][1]:
            self.add("join", (name_of(term[2][1], depth), "on", say(term, depth)), scope)
        else:
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
        inner: list[tuple[str, Term]] = []
        bare = _without_queries(term, inner)
        self.add(kind, (*words, *_words(bare, depth), *after), scope)
        for place, (label, query) in enumerate(inner):
            host = f"{kind} {label}" if place == 0 else f"{kind} {label} {place + 1}"
            self.query(query, (*scope, host), depth + 1)

    def tail(self, order: Any, limit: Any, offset: Any, scope: tuple[str, ...], depth: int) -> None:
        for place, key in enumerate(order):
            words = ("by",) if place == 0 else (f"by key {place + 1}",)
            after = (*(("desc",) if key[0] == "desc" else ()), *key[2:])
            self.term("order", key[1], scope, depth, *words, after=after)
        if limit is not None:
            self.add("limit", (say(limit, depth),), scope)
        if offset is not None:
            self.add("offset", (say(offset, depth),), scope)


def _spelled_out(block: Select) -> Any:
    """Return a block with each column of a derived table that is one of a table below called so, as without the detour.

    Only for words: the operation of the whole query keeps the two apart.
    """
    found: dict[Term, Term] = {}
    for column in columns_of(block):
        below = column
        while below[0] == "column" and isinstance(below[2], tuple):
            below = below[2][1]
        if below is not column and below[0] == "column":
            found[column] = below
    return substitute(block, found) if found else block


def _words(term: Term, depth: int) -> tuple[str, ...]:
    """Return a comparison as its three parts, anything else as one."""
    if term[0] in ("=", "<>", "<", "<=", ">", ">=", "is", "is not", "like", "in") and len(term) == 3:
        left, right = say(term[1], depth), say(term[2], depth)
        return (left, term[0], f"({right})" if term[0] == "in" else right)
    return (say(term, depth),)


def _without_queries(term: Any, found: list[tuple[str, Term]]) -> Any:
    """Return a term with each subquery replaced by a mark; the subqueries are appended to `found`."""
    if not isinstance(term, tuple) or not term:
        return term
    if isinstance(term, QUERIES):
        found.append(("subquery", term))
        return Word("subquery")
    if term.__class__ in LEAVES:
        return term
    before = len(found)
    parts = remake(
        term, [_without_queries(part, found) if part.__class__ is not str else part for part in term]
    )
    if len(found) == before:
        return term
    if term[0] in ("in", "exists", "scalar"):
        found[before:] = [(term[0], query) for _, query in found[before:]]
    return parts
