"""From a canonical query to its atomic operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from .multiset import Operation
from .terms import Select, Term, is_leaf, is_query
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


def _emitted(query: Term) -> list[Operation]:
    return [Operation(kind, words, scope, KINDS[kind]) for kind, words, scope in _query(query, (), 0)]


Emitted = tuple[str, tuple[str, ...], tuple[str, ...]]


def _query(query: Term, scope: tuple[str, ...], depth: int) -> Iterator[Emitted]:
    if isinstance(query, Select):
        yield from _select(query, scope, depth)
    elif query[0] == "setop":
        yield "set", (query[1],), scope
        for place, branch in enumerate(query[2]):
            inner = f"{query[1]} {place + 1}" if query[1].startswith("except") else query[1]
            yield from _query(branch, (*scope, inner), depth)
        yield from _tail(query[3], query[4], query[5], scope, depth)
        for part in query[6:]:
            yield "other", (say(part, depth),), scope
    else:
        yield "values", (say_query(query, depth),), scope


def _select(block: Select, scope: tuple[str, ...], depth: int) -> Iterator[Emitted]:
    if scope == () or len(block.items) != 1 or block.items[0] != ("number", "1"):
        yield "columns", (str(len(block.items)),), scope
        for item in block.items:
            yield from _term("select", item, scope, depth)
    if block.distinct is True:
        yield "distinct", ("rows",), scope
    yield from _group(block.sources, block.outers, scope, depth)
    for one in block.where:
        yield from _condition(one, scope, depth)
    if block.group is not None:
        for one in block.group:
            yield from _term("group", one, scope, depth, "by")
        if not block.group:
            yield "group", ("all",), scope
    for one in block.having:
        yield from _term("having", one, scope, depth)
    for one in block.extra:
        yield from _term("other", one, scope, depth)
    yield from _tail(block.order, block.limit, block.offset, scope, depth)


def _group(sources: Any, outers: Any, scope: tuple[str, ...], depth: int) -> Iterator[Emitted]:
    for source in sources:
        head = source[0]
        if head == "derived":
            inner = source[2][1] if source[2][0] == "recursive" else source[2]
            label = "recursive" if source[2][0] == "recursive" else "derived"
            yield "from", (label,), scope
            yield from _query(inner, (*scope, label), depth + 1)
        elif head == "full":
            yield "full join", ("on", " and ".join(say(one, depth) for one in source[4])), scope
            for side in source[2:4]:
                yield from _group(side[1], side[2], scope, depth)
                for one in side[3]:
                    yield from _condition(one, scope, depth)
        else:
            yield "from", (say_source(source, depth),), scope
    for outer in outers:
        names = " ".join(name_of(one[1], depth) for one in outer.sources)
        yield "left join", (names,), scope
        yield from _group(outer.sources, outer.outers, scope, depth)
        for one in outer.where:
            yield from _term("left join", one, scope, depth, f"{names} on")


def _condition(term: Term, scope: tuple[str, ...], depth: int) -> Iterator[Emitted]:
    if term[0] == "=" and term[1][0] == term[2][0] == "column" and term[1][1] != term[2][1]:
        yield "join", (name_of(term[2][1], depth), "on", say(term, depth)), scope
    else:
        yield from _term("filter", term, scope, depth)


def _term(
    kind: str, term: Term, scope: tuple[str, ...], depth: int, *words: str, after: tuple[str, ...] = ()
) -> Iterator[Emitted]:
    """Yield the operation of a term, and those of the subqueries inside it."""
    inner: list[tuple[str, Term]] = []
    bare = _without_queries(term, inner)
    yield kind, (*words, *_words(bare, depth), *after), scope
    for place, (label, query) in enumerate(inner):
        host = f"{kind} {label}" if place == 0 else f"{kind} {label} {place + 1}"
        yield from _query(query, (*scope, host), depth + 1)


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
    if is_query(term):
        found.append(("subquery", term))
        return ("word", "subquery")
    if is_leaf(term):
        return term
    before = len(found)
    parts = tuple([_without_queries(part, found) for part in term])
    if len(found) == before:
        return term
    if term[0] in ("in", "exists", "scalar"):
        found[before:] = [(term[0], query) for _, query in found[before:]]
    return parts


def _tail(order: Any, limit: Any, offset: Any, scope: tuple[str, ...], depth: int) -> Iterator[Emitted]:
    for place, key in enumerate(order):
        words = ("by",) if place == 0 else (f"by key {place + 1}",)
        after = (*(("desc",) if key[0] == "desc" else ()), *key[2:])
        yield from _term("order", key[1], scope, depth, *words, after=after)
    if limit is not None:
        yield "limit", (say(limit, depth),), scope
    if offset is not None:
        yield "offset", (say(offset, depth),), scope
