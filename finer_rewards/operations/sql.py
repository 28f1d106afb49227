"""Our queries as SQL that SQLite runs, for the tests that execute both sides of a rewrite."""

from __future__ import annotations

from typing import Any

from .terms import Select, Term

__all__ = ["to_sql"]


def to_sql(query: Term) -> str:
    """Return a query, before its sources are named, as one SQLite statement."""
    if isinstance(query, Select):
        return _select(query)
    if query[0] == "setop":
        branches = [f"SELECT * FROM ({to_sql(branch)})" for branch in query[2]]
        return f" {query[1].upper()} ".join(branches) + _tail(query[3], query[4], query[5])
    return "VALUES " + ", ".join(f"({', '.join(map(_term, row))})" for row in query[1])


def _select(block: Select) -> str:
    items = ", ".join(f"{_term(item)} AS c{place}" for place, item in enumerate(block.items))
    text = f"SELECT {'DISTINCT ' if block.distinct is True else ''}{items}"
    if block.sources or block.outers:
        text += " FROM " + _group(block.sources, block.outers)
    if block.where:
        text += " WHERE " + " AND ".join(map(_term, block.where))
    if block.group is not None:
        text += " GROUP BY " + ", ".join(
            "'' || ''" if key[0] == "number" else _term(key) for key in block.group
        )
    if block.having:
        text += " HAVING " + " AND ".join(map(_term, block.having))
    if block.extra:
        raise ValueError("not SQLite")
    return text + _tail(block.order, block.limit, block.offset)


def _tail(order: Any, limit: Any, offset: Any) -> str:
    text = ""
    if order:
        text += " ORDER BY " + ", ".join(_key(key) for key in order)
    if limit is not None or offset is not None:
        text += f" LIMIT {_term(limit) if limit is not None else -1}"
    return text + (f" OFFSET {_term(offset)}" if offset is not None else "")


def _key(key: Term) -> str:
    text = (
        str(key[1][1] + 1)
        if key[1][0] == "position"
        else f"+{_term(key[1])}"
        if key[1][0] == "number"
        else _term(key[1])
    )
    return " ".join([text, key[0].upper(), *(word.upper() for word in key[2:])])


def _group(sources: Any, outers: Any) -> str:
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


def _source(source: Term) -> str:
    if source[0] == "table":
        return f'"{source[2]}" AS s{source[1]}'
    if source[0] == "derived" and source[2][0] != "recursive":
        return f"({to_sql(source[2])}) AS s{source[1]}"
    raise ValueError(f"not rendered: {source[0]}")


def _term(term: Term) -> str:
    head = term[0]
    if head == "column":
        if term[1] == -1:
            raise ValueError("unresolved column")
        name = f"c{term[2]}" if isinstance(term[2], int) else "*" if term[2] == "*" else f'"{term[2]}"'
        return f"s{term[1]}.{name}"
    if head == "text":
        return "'" + str(term[1]).replace("'", "''") + "'"
    if head in ("number", "word"):
        return f"({term[1]})" if str(term[1]).startswith("-") else str(term[1])
    if head in ("null", "star", "bool"):
        return {"null": "NULL", "star": "*"}.get(head, str(term[-1]).upper())
    if head in ("and", "or"):
        return "(" + f" {head.upper()} ".join(map(_term, term[1:])) + ")"
    if head == "like" and len(term) == 4:
        return f"({_term(term[1])} LIKE {_term(term[2])} ESCAPE {_term(term[3])})"
    if head == "tuple":
        return f"({', '.join(map(_term, term[1:]))})"
    if head == "not":
        return f"(NOT {_term(term[1])})"
    if head == "value":
        return f"(+{_term(term[1])})"
    if head == "collate":
        return f"({_term(term[1])} COLLATE {term[2]})"
    if head == "neg":
        return f"(-{_term(term[1])})"
    if head == "in":
        inner = to_sql(term[2]) if term[2][0] != "list" else ", ".join(map(_term, term[2][1:]))
        return f"({_term(term[1])} IN ({inner}))"
    if head == "exists":
        return f"EXISTS ({to_sql(term[1])})"
    if head == "scalar":
        return f"({to_sql(term[1])})"
    if head == "call":
        return f"{term[1]}({', '.join(map(_term, term[2:]))})"
    if head in ("aggregate", "windowed"):
        return f"{term[1]}({'DISTINCT ' if term[2] else ''}{', '.join(map(_term, term[3:]))})"
    if head == "case":
        pairs = zip(term[1:-1:2], term[2:-1:2], strict=True)
        return (
            "CASE "
            + " ".join(f"WHEN {_term(a)} THEN {_term(b)}" for a, b in pairs)
            + f" ELSE {_term(term[-1])} END"
        )
    if head == "cast":
        return f"CAST({_term(term[1])} AS {term[2]})"
    if head == "window":
        partition = f"PARTITION BY {', '.join(map(_term, term[2]))} " if term[2] else ""
        order = f"ORDER BY {', '.join(map(_key, term[3]))} " if term[3] else ""
        return f"{_term(term[1])} OVER ({partition}{order}{term[4]})"
    if len(term) == 3:
        return f"({_term(term[1])} {head.upper()} {_term(term[2])})"
    raise ValueError(f"not rendered: {head}")
