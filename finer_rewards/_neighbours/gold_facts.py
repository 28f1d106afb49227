"""Reading from a gold query what neighbours are made with: its conditions on columns, its joins, its LIMITs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from finer_rewards._neighbours.conditions import ColumnCondition, EqualColumns
from finer_rewards._neighbours.forms import moved
from finer_rewards._util.sqlglot_log import quiet_sqlglot
from finer_rewards.schema import Schema
from finer_rewards.types import Cell

_MAX_CHARACTERS = 20_000
_FLIPPED = {exp.GT: exp.LT, exp.LT: exp.GT, exp.GTE: exp.LTE, exp.LTE: exp.GTE}
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)


def read_gold(sql: str, schema: Schema) -> exp.Query | None:
    """Return the parse tree of a query; `None` when it cannot be parsed.

    As in SQLite, a name in double quotes that is no column becomes a text.
    """
    if len(sql) > _MAX_CHARACTERS:
        return None
    try:
        with quiet_sqlglot():
            tree = sqlglot.parse_one(sql, read="sqlite")
    except (SqlglotError, RecursionError):
        return None
    if not isinstance(tree, exp.Query):
        return None
    known = {column.name.lower() for table in schema.tables for column in table.columns}
    nodes = list(tree.walk())
    known |= {node.alias.lower() for node in nodes if isinstance(node, exp.Alias)}
    for column in (node for node in nodes if isinstance(node, exp.Column)):
        name = column.this
        if (
            isinstance(name, exp.Identifier)
            and name.quoted
            and not column.table
            and name.name.lower() not in known
        ):
            column.replace(exp.Literal.string(name.name))
    return tree


def limited_parts(tree: exp.Query) -> list[str]:
    """Return the subqueries with ORDER BY and LIMIT, as statements of their own."""
    return [
        part.sql("sqlite")
        for part in tree.find_all(exp.Select)
        if part.parent is not None and part.args.get("limit") and part.args.get("order")
    ]


def skipped_parts(tree: exp.Query) -> list[str]:
    """Return statements that select the rows which an OFFSET skips."""
    found = []
    for part in tree.find_all(exp.Select):
        offset = part.args.get("offset")
        if offset is not None and part.args.get("order"):
            copy = part.copy()
            copy.set("limit", exp.Limit(expression=offset.expression.copy()))
            copy.set("offset", None)
            found.append(copy.sql("sqlite", copy=False))
    return found


def mentioned_in(tree: exp.Query) -> list[str] | None:
    """Return the columns that a query mentions, lower case; `None` if a star selects all."""
    found = set()
    for node in tree.walk():
        if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count):
            return None
        if isinstance(node, exp.Column):
            found.add(node.name.lower())
        elif isinstance(node, exp.Join):
            found |= {name.name.lower() for name in node.args.get("using") or []}
    return sorted(found)


def tables_of(column: exp.Column, schema: Schema) -> list[str]:
    """Return the base tables, lower case, that a column may belong to, in the nearest SELECT around it with such."""
    names = {table.name.lower(): table for table in schema.tables}
    scope = column.find_ancestor(exp.Select)
    while scope is not None:
        found = []
        for source in _sources(scope):
            table = names.get(source.name.lower())
            if table is None or (column.table and source.alias_or_name.lower() != column.table.lower()):
                continue
            if any(one.name.lower() == column.name.lower() for one in table.columns):
                found.append(table.name.lower())
        if found:
            return found
        scope = scope.find_ancestor(exp.Select)
    return []


def _sources(select: exp.Select) -> Iterator[exp.Table]:
    start = select.args.get("from_") or select.args.get("from")
    for part in [start, *(select.args.get("joins") or [])]:
        if part is not None and isinstance(part.this, exp.Table):
            yield part.this


def joins_of(tree: exp.Query, schema: Schema) -> list[EqualColumns]:
    """Return the pairs of columns that a query requires to be equal, by ON, USING, WHERE or IN."""
    found = []
    nodes = list(tree.find_all(exp.EQ, exp.In, exp.Join))
    pairs = [(node.this, node.expression) for node in nodes if isinstance(node, exp.EQ)]
    for node in (node for node in nodes if isinstance(node, exp.In)):
        query = node.args.get("query")
        select = query.this if isinstance(query, exp.Subquery) else query
        if isinstance(select, exp.Select) and len(select.expressions) == 1:
            pairs.append((node.this, select.expressions[0]))
    for left, right in pairs:
        if isinstance(left, exp.Column) and isinstance(right, exp.Column):
            for one in tables_of(left, schema)[:1]:
                for other in tables_of(right, schema)[:1]:
                    ends = ((one, left.name.lower()), (other, right.name.lower()))
                    if ends[0] != ends[1]:
                        found.append(EqualColumns(*ends))
    for join in (node for node in nodes if isinstance(node, exp.Join)):
        select = join.parent
        if isinstance(select, exp.Select) and isinstance(join.this, exp.Table):
            for name in join.args.get("using") or []:
                holders = [
                    table.name.lower()
                    for source in _sources(select)
                    for table in schema.tables
                    if table.name.lower() == source.name.lower()
                    and any(one.name.lower() == name.name.lower() for one in table.columns)
                ]
                found += [
                    EqualColumns((one, name.name.lower()), (holders[-1], name.name.lower()))
                    for one in holders[:-1]
                ]
    return found


def conditions_of(tree: exp.Query, schema: Schema) -> list[ColumnCondition]:
    """Return the conditions in which a query compares a column with constants."""
    found: list[ColumnCondition] = []
    nodes = list(tree.walk())
    mentioned = frozenset(node.name.lower() for node in nodes if isinstance(node, exp.Column))
    everything = any(isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count) for node in nodes)
    for node in nodes:
        if not isinstance(node, (*_COMPARISONS, exp.Like, exp.Between, exp.In)):
            continue
        any_case = isinstance(node, exp.Like)
        beside = mentioned if _is_equality(node) and not everything else None
        for column, meets, near in _read(node):
            for table in tables_of(column, schema):
                name = column.name.lower()
                found.append(ColumnCondition(table, name, tuple(meets), tuple(near), any_case, beside))
    return found


def _is_equality(node: Any) -> bool:
    """Whether a column has to be equal to a value: a pattern without wildcards is one."""
    if isinstance(node, exp.Like):
        pattern = _constant(node.expression)
        return isinstance(pattern, str) and not {"%", "_"} & set(pattern)
    return isinstance(node, exp.EQ)


def _read(node: Any) -> Iterator[tuple[exp.Column, list[Cell], list[Cell]]]:
    """Yield (column, values that meet the condition, values that just miss it) for a condition."""
    if isinstance(node, exp.Between):
        low, high = (_constant(node.args[name]) for name in ("low", "high"))
        for column in _columns(node.this):
            if low is not None and high is not None:
                yield column, [low, high, _middle(low, high)], [_shift(low, -1), _shift(high, 1)]
    elif isinstance(node, exp.In):
        values: list[Cell] = [value for one in node.expressions if (value := _constant(one)) is not None]
        for column in _columns(node.this):
            if values:
                near = [_shift(one, 1) if not isinstance(one, str) else f"New {one}" for one in values]
                yield column, values, [one for one in near if one not in values]
    elif isinstance(node, exp.Like):
        pattern = _constant(node.expression)
        for column in _columns(node.this):
            if isinstance(pattern, str):
                yield column, *_like(pattern)
    elif isinstance(node, exp.Binary):
        kind: Any = type(node)
        left, right = node.this, node.expression
        if _constant(left) is not None:
            kind, left, right = _FLIPPED.get(kind, kind), right, left
        value = _constant(right)
        if value is None:
            return
        for column in _columns(left):
            yield column, *_compared(kind, value)


def _columns(node: Any) -> list[exp.Column]:
    """Return the column, or up to two columns inside a function or an arithmetic expression."""
    if isinstance(node, exp.Column):
        return [node]
    if isinstance(node, exp.Expression) and not isinstance(node, (exp.Subquery, exp.Count)):
        return list(node.find_all(exp.Column))[:2]
    return []


def _constant(node: Any) -> Cell:
    """Return the value of a literal; `None` for anything else."""
    if isinstance(node, exp.Literal):
        if node.is_string:
            return str(node.this)
        return float(node.this) if any(mark in node.this for mark in ".eE") else int(node.this)
    if isinstance(node, exp.Neg):
        value = _constant(node.this)
        return -value if isinstance(value, (int, float)) else None
    return None


def _compared(kind: Any, value: Cell) -> tuple[list[Cell], list[Cell]]:
    over, under = _shift(value, 1), _shift(value, -1)
    if kind is exp.EQ:
        # For a text, longer texts just miss it: a near miss with LIKE finds these too.
        return [value], [over, under] if not isinstance(value, str) else [f"{value}s", f"New {value}"]
    if kind is exp.NEQ:
        return [over], [value]
    if kind is exp.GT:
        return [over, _shift(value, 7)], [value, under]
    if kind is exp.GTE:
        return [value, over], [under]
    if kind is exp.LT:
        return [under, _shift(value, -7)], [value, over]
    return [value, under], [over]


def _shift(value: Cell, step: int) -> Cell:
    """Return a value a little above or below: the next day or second of a date, or another last character of a text."""
    if isinstance(value, (int, float)):
        return value + step
    if isinstance(value, str) and value:
        later = moved(value, step)
        if later is not None:
            return later
        last = value[-1]
        if last.isdigit():
            return value[:-1] + str((int(last) + step) % 10)
        return value[:-1] + chr(max(33, ord(last) + step)) if last.isascii() else value
    return value


def _middle(low: Cell, high: Cell) -> Cell:
    if isinstance(low, int) and isinstance(high, int):
        return (low + high) // 2
    return (low + high) / 2 if isinstance(low, (int, float)) and isinstance(high, (int, float)) else low


def _like(pattern: str) -> tuple[list[Cell], list[Cell]]:
    core = pattern.replace("%", "").replace("_", "a")
    pieces = [piece.replace("_", "a") for piece in pattern.split("%")]
    meets: Sequence[str] = ["".join(pieces), "e".join(pieces), " o ".join(pieces)]
    return list(dict.fromkeys(meets)), [f"u{core}", f"{core}i", f"u{core}i", core[:-1] or "u"]
