"""Our queries as SQL that SQLite runs, for the tests that execute both sides of a rewrite."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .leaves import Boolean, Column, Null, Number, Position, Star, Text, Word
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
    Row,
    Scalar,
    SortKey,
    ValueOf,
    Window,
    Windowed,
)
from .terms import (
    QUERIES,
    Derived,
    Outer,
    Query,
    Recursive,
    Select,
    SetOperation,
    Source,
    Table,
    Term,
    is_cut,
)


def to_sql(query: Query) -> str:
    """Return a query, before its sources are named, as one SQLite statement."""
    if isinstance(query, Select):
        return _select(query)
    if isinstance(query, SetOperation):
        branches = [f"SELECT * FROM ({to_sql(branch)})" for branch in query.branches]
        return f" {query.operator.upper()} ".join(branches) + _tail(query)
    return "VALUES " + ", ".join(f"({_list(row)})" for row in query.rows)


def _select(block: Select) -> str:
    items = ", ".join(f"{_term(item)} AS c{place}" for place, item in enumerate(block.items))
    text = f"SELECT {'DISTINCT ' if block.distinct is True else ''}{items}"
    if block.sources or block.outers:
        text += " FROM " + _group(block.sources, block.outers)
    if block.where:
        text += " WHERE " + " AND ".join(map(_term, block.where))
    if block.group is not None:
        keys = ("'' || ''" if isinstance(key, Number) else _term(key) for key in block.group)
        text += " GROUP BY " + ", ".join(keys)
    if block.having:
        text += " HAVING " + " AND ".join(map(_term, block.having))
    if block.extra:
        raise ValueError("not SQLite")
    return text + _tail(block)


def _tail(query: Select | SetOperation) -> str:
    text = ""
    if query.order:
        text += " ORDER BY " + ", ".join(map(_sort_key, query.order))
    if is_cut(query):
        text += f" LIMIT {_term(query.limit) if query.limit is not None else -1}"
    return text + (f" OFFSET {_term(query.offset)}" if query.offset is not None else "")


def _sort_key(key: SortKey) -> str:
    term = key.term
    if isinstance(term, Position):
        text = str(term.place + 1)
    else:
        text = f"+{_term(term)}" if isinstance(term, Number) else _term(term)
    return " ".join([text, key.head.upper(), *(word.upper() for word in key.nulls)])


def _group(sources: Iterable[Source], outers: Iterable[Outer]) -> str:
    text = " CROSS JOIN ".join(map(_source, sources)) or "(SELECT 1)"
    for outer in outers:
        condition = " AND ".join(map(_term, outer.where)) or "1"
        inner = _group(outer.sources, outer.outers)
        text += (
            f" LEFT JOIN ({inner}) ON {condition}"
            if outer.outers or len(outer.sources) > 1
            else f" LEFT JOIN {inner} ON {condition}"
        )
    return text


def _source(source: Source) -> str:
    if isinstance(source, Table):
        return f'"{source.name}" AS s{source.label}'
    if isinstance(source, Derived) and not isinstance(source.query, Recursive):
        return f"({to_sql(source.query)}) AS s{source.label}"
    raise ValueError(f"not rendered: {source.head}")


def _term(term: Term) -> str:
    write = _WRITERS.get(term.__class__)
    if write is None:
        raise ValueError(f"not rendered: {term.head}")
    return write(term)


def _list(terms: Iterable[Term]) -> str:
    return ", ".join(map(_term, terms))


def _column(column: Column) -> str:
    if column.source == -1:
        raise ValueError("unresolved column")
    name = column.name
    return f"s{column.source}." + (
        f"c{name}" if isinstance(name, int) else "*" if name == "*" else f'"{name}"'
    )


def _word(text: str) -> str:
    return f"({text})" if text.startswith("-") else text


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _infix(head: str, *operands: Term) -> str:
    return f"({f' {head.upper()} '.join(map(_term, operands))})"


def _like(term: Like) -> str:
    escape = "".join(f" ESCAPE {_term(one)}" for one in term.escape)
    return f"({_term(term.left)} {term.head.upper()} {_term(term.pattern)}{escape})"


def _in(term: In) -> str:
    among = term.right
    inner = to_sql(among) if isinstance(among, QUERIES) else _term(among)
    return f"({_term(term.left)} IN ({inner}))"


def _aggregate(term: Aggregate | Windowed) -> str:
    return f"{term.name}({'DISTINCT ' if term.distinct else ''}{_list(term.arguments)})"


def _case(term: Case) -> str:
    branches = " ".join(f"WHEN {_term(when)} THEN {_term(then)}" for when, then in term.branches)
    return f"CASE {branches} ELSE {_term(term.otherwise)} END"


def _window(term: Window) -> str:
    partition = f"PARTITION BY {_list(term.partition)} " if term.partition else ""
    order = f"ORDER BY {', '.join(map(_sort_key, term.order))} " if term.order else ""
    return f"{_term(term.function)} OVER ({partition}{order}{term.frame})"


_WRITERS: dict[type, Callable[[Any], str]] = {
    Column: _column,
    Number: lambda term: _word(term.numeral),
    Word: lambda term: _word(term.word),
    Text: lambda term: _text(term.text),
    Boolean: lambda term: term.value.upper(),
    Null: lambda term: "NULL",
    Star: lambda term: "*",
    Connective: lambda term: _infix(term.head, *term.operands),
    Comparison: lambda term: _infix(term.head, term.left, term.right),
    Arithmetic: lambda term: _infix(term.head, term.left, term.right),
    Like: _like,
    Row: lambda term: f"({_list(term.items)})",
    List: lambda term: _list(term.items),
    Not: lambda term: f"(NOT {_term(term.operand)})",
    Negative: lambda term: f"(-{_term(term.operand)})",
    ValueOf: lambda term: f"(+{_term(term.operand)})",
    Collate: lambda term: f"({_term(term.operand)} COLLATE {term.collation})",
    In: _in,
    Exists: lambda term: f"EXISTS ({to_sql(term.query)})",
    Scalar: lambda term: f"({to_sql(term.query)})",
    Call: lambda term: f"{term.name}({_list(term.arguments)})",
    Aggregate: _aggregate,
    Windowed: _aggregate,
    Case: _case,
    Cast: lambda term: f"CAST({_term(term.operand)} AS {term.type})",
    Window: _window,
}
