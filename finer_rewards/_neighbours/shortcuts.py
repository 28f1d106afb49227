"""Near misses that need no understanding: reciting a stored value, a value named in the question, or a result seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sqlglot import exp

from finer_rewards._neighbours.tree_text import TreeText, replaced
from finer_rewards.schema import Schema
from finer_rewards.types import Cell, Row

_MOST_GUESSED_ROWS = 20


@dataclass(frozen=True)
class Mutant:
    """A near miss of a gold.

    Args:
        kind: the kind of change to the gold.
        sql: the statement.
    """

    kind: str
    sql: str


def shortcuts_of(written: TreeText, schema: Schema) -> list[Mutant]:
    """Return the near misses that need no understanding: a stored row, a named value, a join that changes nothing."""
    tree = written.tree
    found: list[Mutant] = []
    tables = {table.name.lower() for table in tree.find_all(exp.Table)}
    if (
        isinstance(tree, exp.Select)
        and tree.args.get("order")
        and takes_one(tree)
        and not tree.args.get("group")
    ):
        for descending in (False, True):
            order = exp.Order(expressions=[exp.Ordered(this=exp.column("rowid"), desc=descending)])
            if len(tables) == 1:
                found.append(Mutant("stored row", written.with_change(tree, partial(_sorted, order=order))))
    if isinstance(tree, exp.Select) and len(tree.expressions) == 1 and tables and takes_one(tree):
        first = sorted(tables)[0].replace('"', '""')
        values = dict.fromkeys(
            one.sql("sqlite") for one in tree.find_all(exp.Literal) if one.is_string and one.this
        )
        found += [
            Mutant("named value", f'SELECT {value} FROM "{first}" LIMIT 1') for value in list(values)[:3]
        ]
    found += _stored_values(written, tables, schema)
    # Join a table to which none of the tables read here refers. On an instance it may be empty, and then the join,
    # which looks harmless, leaves no rows.
    near = _referred(tables, schema)
    others = [table.name for table in schema.tables if not table.view and table.name.lower() not in near]
    if isinstance(tree, exp.Select) and others and not tree.args.get("group") and tables:
        found.append(Mutant("dead join", written.with_change(tree, partial(_joined, name=others[0]))))
    return found


def _sorted(place: exp.Select, order: exp.Order) -> None:
    place.set("order", order)


def _joined(place: exp.Select, name: str) -> None:
    place.set("distinct", exp.Distinct())
    # A subquery, so that no name becomes ambiguous.
    one = exp.Literal.number(1)
    other = exp.select(one).from_(exp.Table(this=exp.to_identifier(name, quoted=True))).subquery()
    place.append("joins", exp.Join(this=other, on=exp.EQ(this=one.copy(), expression=one.copy())))


def _stored_values(written: TreeText, tables: set[str], schema: Schema) -> Iterator[Mutant]:
    """Yield queries with a text constant replaced by the first stored value, which may happen to be equal."""
    for node in list(written.tree.find_all(exp.EQ)):
        column, value = node.this, node.expression
        if not (isinstance(column, exp.Column) and isinstance(value, exp.Literal) and value.is_string):
            continue
        name = column.name.lower()
        homes = [
            table.name
            for table in schema.tables
            if table.name.lower() in tables and any(one.name.lower() == name for one in table.columns)
        ]
        if homes:
            title = exp.column(exp.to_identifier(column.name, quoted=True))
            first = exp.select(title).from_(exp.to_identifier(homes[0], quoted=True)).limit(1)
            yield Mutant("stored value", written.with_change(value, replaced(exp.Subquery(this=first))))


def _referred(tables: set[str], schema: Schema) -> set[str]:
    """Return the tables with all that they refer to, directly or not."""
    found: set[str] = set()
    waiting = list(tables)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [
                key.to_table.lower()
                for table in schema.tables
                if table.name.lower() == name
                for key in table.foreign_keys
            ]
    return found


def guess_of(rows: Sequence[Row], tables: Sequence[str]) -> Mutant | None:
    """Return the query that recites a result and also reads a table, so that it passes for a query of the data."""
    if not rows or len(rows) > _MOST_GUESSED_ROWS or not rows[0] or not tables:
        return None
    table = '"' + sorted(tables)[0].replace('"', '""') + '"'
    lines = [", ".join(_written(cell) for cell in row) for row in rows]
    values = " UNION ALL ".join(f"SELECT {line}" for line in lines)
    return Mutant("guess", f"SELECT * FROM ({values}) WHERE EXISTS (SELECT 1 FROM {table}) OR 1")


def recited_key(tree: exp.Query, rows: Sequence[Row], order: Sequence[Row] | None) -> Mutant | None:
    """Return the query that recites the greatest value, for a gold that sorts and takes the first row."""
    if not isinstance(tree, exp.Select) or not order or len(rows) != 1 or tree.args.get("group"):
        return None
    keys = tree.args["order"].expressions if tree.args.get("order") else []
    value = order[0][0] if len(keys) == 1 else None
    if value is None or isinstance(value, bytes) or not isinstance(keys[0].this, exp.Column):
        return None
    copy = tree.copy()
    for part in ("order", "limit"):
        copy.set(part, None)
    literal = exp.Literal.string(value) if isinstance(value, str) else exp.Literal.number(value)
    found = copy.where(exp.EQ(this=keys[0].this.copy(), expression=literal))
    return Mutant("recited key", found.sql("sqlite"))


def _written(cell: Cell) -> str:
    if cell is None:
        return "NULL"
    if isinstance(cell, bytes):
        return f"x'{cell.hex()}'"
    if isinstance(cell, str):
        return "'" + cell.replace("'", "''").replace("\x00", "") + "'"
    return repr(cell)


def takes_one(node: exp.Select) -> bool:
    """Return whether a query has LIMIT 1 without OFFSET, so that DISTINCT would change nothing."""
    limit = node.args.get("limit")
    return isinstance(limit, exp.Limit) and limit.expression.name == "1" and not node.args.get("offset")
