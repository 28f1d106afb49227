"""Canonical terms in plain words that read as SQL."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .terms import Select, Term

__all__ = ["name_of", "say", "say_query"]


def name_of(source: Any, depth: int) -> str:
    """Return what a source is called: its table, numbered when the block reads it more than once."""
    if not isinstance(source, tuple):
        return "?" if source == -1 else str(source)
    base, level, place = source
    if level == depth and place == 1:
        return str(base)
    prefix = "outer " * (depth - level)
    return f"{prefix}{base}" + (f"#{place}" if place > 1 else "")


def say(term: Any, depth: int = 0) -> str:
    """Return a term as text."""
    if not isinstance(term, tuple):
        return str(term)
    if not term:
        return ""
    head = term[0]
    if not isinstance(head, str):
        return ", ".join(say(part, depth) for part in term)
    speaker = _SPEAKERS.get(head)
    if speaker is not None:
        return speaker(term, depth)  # type: ignore[no-any-return,operator]
    return f"{head}({', '.join(say(part, depth) for part in term[1:])})"


@lru_cache(maxsize=8192)
def _column(term: Term, depth: int) -> str:
    name = term[2]
    if isinstance(name, tuple):
        name = f"[{say(name[1], depth + 1)}]"
    elif isinstance(name, int):
        name = f"column {name + 1}"
    options = "".join(f" {say(part, depth)}" for part in term[3:])
    return f"{name if term[1] == -1 else f'{name_of(term[1], depth)}.{name}'}{options}"


def _wrap(term: Term, depth: int) -> str:
    text = say(term, depth)
    return f"({text})" if term and term[0] in _LOOSE else text


_LOOSE = frozenset({"and", "or", "not", "+", "-", "||", "=", "<>", "<", "<=", ">", ">=", "*", "/", "%"})


def _infix(term: Term, depth: int) -> str:
    return f" {term[0]} ".join([_wrap(part, depth) for part in term[1:]])


def _like(term: Term, depth: int) -> str:
    escape = f" escape {say(term[3], depth)}" if len(term) > 3 else ""
    return _infix(term[:3], depth) + escape


def _in(term: Term, depth: int) -> str:
    return f"{_wrap(term[1], depth)} in ({say(term[2], depth)})"


def _call(term: Term, depth: int) -> str:
    return f"{term[1]}({', '.join(say(part, depth) for part in term[2:])})"


def _aggregate(term: Term, depth: int) -> str:
    distinct = "distinct " if term[2] else ""
    return f"{term[1]}({distinct}{', '.join(say(part, depth) for part in term[3:])})"


def _case(term: Term, depth: int) -> str:
    pairs = zip(term[1:-1:2], term[2:-1:2], strict=True)
    branches = " ".join(f"when {say(when, depth)} then {say(then, depth)}" for when, then in pairs)
    return f"case {branches} else {say(term[-1], depth)} end"


def _window(term: Term, depth: int) -> str:
    parts = []
    if term[2]:
        parts.append("partition by " + say(term[2], depth))
    if term[3]:
        parts.append("order by " + ", ".join(_order(key, depth) for key in term[3]))
    if term[4]:
        parts.append(term[4])
    return f"{say(term[1], depth)} over ({' '.join(parts)})"


def _order(key: Term, depth: int) -> str:
    text = say(key[1], depth)
    return " ".join([text, *(["desc"] if key[0] == "desc" else []), *key[2:]])


def _subquery(term: Term, depth: int) -> str:
    return say_query(term, depth + 1)


def say_query(query: Term, depth: int = 0) -> str:
    """Return a query as one line of text; a source inside is one deeper than the block it stands in."""
    if isinstance(query, Select):
        return _select(query, depth)
    if query[0] == "setop":
        text = f" {query[1]} ".join(f"({say_query(branch, depth)})" for branch in query[2])
        tail = _tail(query[3], query[4], query[5], depth)
        return " ".join([text, *tail, *(say(part, depth) for part in query[6:])])
    return "values " + ", ".join(f"({say(row, depth)})" for row in query[1])


def _tail(order: Any, limit: Any, offset: Any, depth: int) -> list[str]:
    tail = ["order by " + ", ".join(_order(key, depth) for key in order)] if order else []
    tail += [f"limit {say(limit, depth)}"] if limit is not None else []
    return tail + ([f"offset {say(offset, depth)}"] if offset is not None else [])


def _select(block: Select, depth: int) -> str:
    words = [
        "select distinct" if block.distinct else "select",
        ", ".join([say(one, depth) for one in block.items]),
    ]
    if block.sources or block.outers:
        words += ["from", say_group(block.sources, block.outers, depth)]
    for keyword, terms, glue in (
        ("where", block.where, " and "),
        ("group by", block.group, ", "),
        ("having", block.having, " and "),
    ):
        if terms:
            words += [keyword, glue.join([_wrap(one, depth) for one in terms])]
        elif keyword == "group by" and terms is not None:
            words.append("group by ()")
    words += [say(one, depth) for one in block.extra]
    return " ".join([*words, *_tail(block.order, block.limit, block.offset, depth)])


def say_group(sources: Any, outers: Any, depth: int) -> str:
    """Return the sources of a FROM clause with the outer joins onto them."""
    text = ", ".join([say_source(one, depth) for one in sources])
    for one in outers:
        condition = " and ".join(_wrap(part, depth) for part in one.where) or "true"
        text += f" left join ({say_group(one.sources, one.outers, depth)}) on {condition}"
    return text


def say_source(source: Term, depth: int) -> str:
    """Return one source of a FROM clause."""
    head, name = source[0], name_of(source[1], depth)
    if head == "table":
        return " ".join([name, *[say(part, depth) for part in source[3:]]]) if len(source) > 3 else name
    if head == "derived":
        inner = source[2]
        if inner[0] == "recursive":
            return f"recursive ({say_query(inner[2], depth + 1)}) {name}"
        return f"({say_query(inner, depth + 1)}) {name}"
    if head == "full":
        sides = [
            f"({say_group(side[1], side[2], depth)}{' where ' + say(side[3], depth) if side[3] else ''})"
            for side in source[2:4]
        ]
        return f"{sides[0]} full join {sides[1]} on {' and '.join(say(one, depth) for one in source[4])}"
    if head == "self":
        return f"itself {name}"
    return f"{say(source[2], depth)} {name}"


_SPEAKERS: dict[str, object] = {
    "column": _column,
    "number": lambda term, depth: (
        " ".join(map(str, term[1:2])) + "".join(f" {say(part, depth)}" for part in term[2:])
    ),
    "text": lambda term, depth: "'" + term[1].replace("'", "''") + "'",
    "null": lambda term, depth: "null",
    "bool": lambda term, depth: term[1],
    "star": lambda term, depth: "*",
    "word": lambda term, depth: term[1],
    "position": lambda term, depth: f"column {term[1] + 1}",
    **dict.fromkeys(
        (
            "and",
            "or",
            "=",
            "<>",
            "<",
            "<=",
            ">",
            ">=",
            "is",
            "is not",
            "+",
            "-",
            "*",
            "/",
            "%",
            "||",
            "glob",
            "&",
            "|",
        ),
        _infix,
    ),
    "like": _like,
    "ilike": _like,
    "not": lambda term, depth: f"not {_wrap(term[1], depth)}",
    "neg": lambda term, depth: f"-{_wrap(term[1], depth)}",
    "in": _in,
    "list": lambda term, depth: ", ".join(say(part, depth) for part in term[1:]),
    "tuple": lambda term, depth: f"({', '.join(say(part, depth) for part in term[1:])})",
    "exists": lambda term, depth: f"exists ({say(term[1], depth)})",
    "scalar": lambda term, depth: f"({say(term[1], depth)})",
    "call": _call,
    "aggregate": _aggregate,
    "windowed": _aggregate,
    "case": _case,
    "cast": lambda term, depth: f"cast({say(term[1], depth)} as {term[2]})",
    "collate": lambda term, depth: f"{_wrap(term[1], depth)} collate {term[2]}",
    "value": lambda term, depth: f"+{_wrap(term[1], depth)}",
    "window": _window,
    "asc": _order,
    "desc": _order,
    "select": _subquery,
    "setop": _subquery,
    "values": _subquery,
}
