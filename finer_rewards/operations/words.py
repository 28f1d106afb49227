"""Canonical terms in plain words that read as SQL: what operations print, and what equality of operations compares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

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
)
from .operators import (
    Aggregate,
    Arithmetic,
    Call,
    Case,
    Cast,
    Collate,
    Comparison,
    Connective,
    Exists,
    In,
    Like,
    List,
    Negative,
    Not,
    Of,
    Row,
    Scalar,
    SortKey,
    ValueOf,
    Window,
    Windowed,
)
from .terms import (
    Derived,
    FunctionSource,
    Group,
    Itself,
    Outer,
    Query,
    Recursive,
    Select,
    SetOperation,
    Source,
    Table,
    Term,
    Values,
)


def name_of(source: Label, depth: int) -> str:
    """Return what a source is called: its table, numbered when the block reads it more than once."""
    if not isinstance(source, SourceName):
        return "?" if source == -1 else str(source)
    base, level, place = source.base, source.depth, source.place
    if level == depth and place == 1:
        return base
    prefix = "outer " * (depth - level)
    return f"{prefix}{base}" + (f"#{place}" if place > 1 else "")


def say(term: object, depth: int = 0) -> str:
    """Return a term as text."""
    speaker = _SPEAKERS.get(term.__class__)
    if speaker is not None:
        return speaker(term, depth)
    if isinstance(term, Operator):
        head, *parts = term
        return f"{head}({_list(parts, depth)})"
    return _list(term, depth) if isinstance(term, tuple) else str(term)


def _list(terms: Iterable[object], depth: int) -> str:
    return ", ".join([say(term, depth) for term in terms])


def _after(options: Iterable[object], depth: int) -> str:
    return "".join([f" {say(option, depth)}" for option in options])


@lru_cache(maxsize=8192)
def _column(term: Column, depth: int) -> str:
    name = term.name
    if isinstance(name, Of):
        name = f"[{say(name.item, depth + 1)}]"
    elif isinstance(name, int):
        name = f"column {name + 1}"
    source = "" if term.source == -1 else f"{name_of(term.source, depth)}."
    return f"{source}{name}{_after(term.options, depth)}"


def _wrap(term: Term, depth: int) -> str:
    text = say(term, depth)
    return f"({text})" if term.head in _LOOSE else text


_LOOSE = frozenset({"and", "or", "not", "+", "-", "||", "=", "<>", "<", "<=", ">", ">=", "*", "/", "%"})


def _infix(head: str, operands: Iterable[Term], depth: int) -> str:
    return f" {head} ".join([_wrap(operand, depth) for operand in operands])


def _binary(term: Comparison | Arithmetic, depth: int) -> str:
    return _infix(term.head, (term.left, term.right), depth)


def _connective(term: Connective, depth: int) -> str:
    return _infix(term.head, term.operands, depth)


def _like(term: Like, depth: int) -> str:
    if term.head == "glob":
        return _infix(term.head, (term.left, term.pattern, *term.escape), depth)
    text = _infix(term.head, (term.left, term.pattern), depth)
    return text + "".join(f" escape {say(escape, depth)}" for escape in term.escape[:1])


def _in(term: In, depth: int) -> str:
    return f"{_wrap(term.left, depth)} in ({say(term.right, depth)})"


def _call(term: Call, depth: int) -> str:
    return f"{term.name}({_list(term.arguments, depth)})"


def _aggregate(term: Aggregate | Windowed, depth: int) -> str:
    distinct = "distinct " if term.distinct else ""
    return f"{term.name}({distinct}{_list(term.arguments, depth)})"


def _case(term: Case, depth: int) -> str:
    branches = " ".join(f"when {say(when, depth)} then {say(then, depth)}" for when, then in term.branches)
    return f"case {branches} else {say(term.otherwise, depth)} end"


def _window(term: Window, depth: int) -> str:
    parts = []
    if term.partition:
        parts.append("partition by " + _list(term.partition, depth))
    if term.order:
        parts.append("order by " + _list(term.order, depth))
    if term.frame:
        parts.append(term.frame)
    return f"{say(term.function, depth)} over ({' '.join(parts)})"


def _sort_key(key: SortKey, depth: int) -> str:
    return " ".join([say(key.term, depth), *(["desc"] if key.head == "desc" else []), *key.nulls])


def _subquery(query: Query, depth: int) -> str:
    return say_query(query, depth + 1)


def say_query(query: Query, depth: int = 0) -> str:
    """Return a query as one line of text; a source inside is one deeper than the block it stands in."""
    if isinstance(query, Select):
        return _select(query, depth)
    if isinstance(query, SetOperation):
        text = f" {query.operator} ".join(f"({say_query(branch, depth)})" for branch in query.branches)
        return " ".join([text, *_tail(query, depth), *(say(one, depth) for one in query.extra)])
    return "values " + ", ".join(f"({_list(row, depth)})" for row in query.rows)


def _tail(query: Select | SetOperation, depth: int) -> list[str]:
    tail = ["order by " + _list(query.order, depth)] if query.order else []
    tail += [f"limit {say(query.limit, depth)}"] if query.limit is not None else []
    return tail + ([f"offset {say(query.offset, depth)}"] if query.offset is not None else [])


def _select(block: Select, depth: int) -> str:
    words = ["select distinct" if block.distinct else "select", _list(block.items, depth)]
    if block.sources or block.outers:
        words += ["from", _say_group(block.sources, block.outers, depth)]
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
    return " ".join([*words, *_tail(block, depth)])


def _say_group(sources: Iterable[Source], outers: Iterable[Outer], depth: int) -> str:
    """Return the sources of a FROM clause with the outer joins onto them."""
    text = ", ".join([say_source(one, depth) for one in sources])
    for one in outers:
        condition = " and ".join(_wrap(part, depth) for part in one.where) or "true"
        text += f" left join ({_say_group(one.sources, one.outers, depth)}) on {condition}"
    return text


def say_source(source: Source, depth: int) -> str:
    """Return one source of a FROM clause."""
    name = name_of(source.label, depth)
    if isinstance(source, Table):
        return f"{name}{_after(source.options, depth)}"
    if isinstance(source, Itself):
        return f"itself {name}"
    if isinstance(source, FunctionSource):
        return f"{say(source.term, depth)} {name}"
    if isinstance(source, Derived):
        if isinstance(source.query, Recursive):
            return f"recursive ({say_query(source.query.query, depth + 1)}) {name}"
        return f"({say_query(source.query, depth + 1)}) {name}"
    left, right = (_side(side, depth) for side in (source.left, source.right))
    return f"{left} full join {right} on {' and '.join(say(one, depth) for one in source.where)}"


def _side(side: Group, depth: int) -> str:
    where = f" where {_list(side.where, depth)}" if side.where else ""
    return f"({_say_group(side.sources, side.outers, depth)}{where})"


_SPEAKERS: dict[type, Callable[[Any, int], str]] = {
    Column: _column,
    Number: lambda term, depth: f"{term.numeral}{_after(term.options, depth)}",
    Text: lambda term, depth: "'" + term.text.replace("'", "''") + "'",
    Null: lambda term, depth: "null",
    Boolean: lambda term, depth: term.value,
    Star: lambda term, depth: "*",
    Word: lambda term, depth: term.word,
    Position: lambda term, depth: f"column {term.place + 1}",
    Connective: _connective,
    Comparison: _binary,
    Arithmetic: _binary,
    Like: _like,
    Not: lambda term, depth: f"not {_wrap(term.operand, depth)}",
    Negative: lambda term, depth: f"-{_wrap(term.operand, depth)}",
    In: _in,
    List: lambda term, depth: _list(term.items, depth),
    Row: lambda term, depth: f"({_list(term.items, depth)})",
    Exists: lambda term, depth: f"exists ({say(term.query, depth)})",
    Scalar: lambda term, depth: f"({say(term.query, depth)})",
    Call: _call,
    Aggregate: _aggregate,
    Windowed: _aggregate,
    Case: _case,
    Cast: lambda term, depth: f"cast({say(term.operand, depth)} as {term.type})",
    Collate: lambda term, depth: f"{_wrap(term.operand, depth)} collate {term.collation}",
    ValueOf: lambda term, depth: f"+{_wrap(term.operand, depth)}",
    Window: _window,
    SortKey: _sort_key,
    Select: _subquery,
    SetOperation: _subquery,
    Values: _subquery,
}
