"""Hypothesis strategies for schemas, databases, queries, pairs of queries, completions and evidence."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from hypothesis import assume
from hypothesis import strategies as st

from finer_rewards.errors import ConfigError
from finer_rewards.schema import Column, ForeignKey, Schema, Table, schema_from_ddl, schema_from_mapping
from finer_rewards.testing.changes import Columns, differ, mutations, rewritings
from finer_rewards.testing.queries import Compound, Condition, Join, Name, Query, Select, Term, write
from finer_rewards.testing.small_databases import LIBRARY, POOLS, Database, kind_of, witnesses
from finer_rewards.types import Cell, Row

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

    from finer_rewards.operations.canonicalising import SchemaLike

_MAX_TABLES = 8


@dataclass(frozen=True)
class Pair:
    """A gold query, another one, and what was changed.

    Args:
        gold: SQL.
        predicted: SQL.
        change: the name of the mutation, or of the rewriting.
        ordered: whether the gold sorts its rows, so that their order counts.
        database: an instance of the schema; the results of a near miss differ on it.
    """

    gold: str
    predicted: str
    change: str
    ordered: bool
    database: Database = field(repr=False)


def schemas(*, max_tables: int = 3) -> SearchStrategy[Schema]:
    """Draw schemas of one to `max_tables` tables with keys, foreign keys and nullable columns.

    Example:
        >>> schemas(max_tables=0)
        Traceback (most recent call last):
        finer_rewards.errors.ConfigError: `schemas(max_tables=...)` should be from 1 to 8, but got 0.
    """
    if isinstance(max_tables, bool) or not isinstance(max_tables, int) or not 1 <= max_tables <= _MAX_TABLES:
        raise ConfigError(
            f"`schemas(max_tables=...)` should be from 1 to {_MAX_TABLES}, but got {max_tables!r}."
        )
    return _schemas(max_tables)


@st.composite
def _schemas(draw: DrawFn, max_tables: int) -> Schema:
    names = ("author", "book", "club", "deal", "event", "film", "game", "house")
    tables: list[Table] = []
    for number in range(draw(st.integers(1, max_tables))):
        columns = [Column("id", "INTEGER", not_null=True)]
        for index, kind in enumerate(
            draw(st.lists(st.sampled_from(("TEXT", "INTEGER", "REAL")), min_size=1, max_size=3))
        ):
            columns.append(Column(f"{kind[0].lower()}{index}", kind, not_null=draw(st.booleans())))
        keys: tuple[ForeignKey, ...] = ()
        if draw(st.booleans()) and tables:
            target = draw(st.sampled_from(tables))
            columns.append(Column(f"{target.name}_id", "INTEGER", not_null=True))
            keys = (ForeignKey((f"{target.name}_id",), target.name, ("id",)),)
        tables.append(Table(names[number], tuple(columns), primary_key=("id",), foreign_keys=keys))
    return Schema(tuple(tables))


def databases(*, schema: SchemaLike = None, max_rows: int = 5) -> SearchStrategy[Database]:
    """Draw databases of a schema: keys are unique, references lead to a row, and NOT NULL holds.

    Args:
        schema: a `Schema`, `{table: {column: type}}` or DDL text; a small library when left out.
        max_rows: the most rows in a table; 0 gives empty tables.
    """
    if isinstance(max_rows, bool) or not isinstance(max_rows, int) or not 0 <= max_rows <= 1000:
        raise ConfigError(f"`databases(max_rows=...)` should be from 0 to 1000, but got {max_rows!r}.")
    return _databases(as_schema("databases", schema), max_rows)


@st.composite
def _databases(draw: DrawFn, schema: Schema, max_rows: int) -> Database:
    filled: dict[str, list[Row]] = {}
    for table in schema.tables:
        names = [column.name for column in table.columns]
        rows: dict[tuple[Cell, ...], Row] = {}
        for number in range(1, draw(st.integers(0, max_rows)) + 1):
            row: list[Cell] = []
            for column in table.columns:
                parents = _parents(table, column, schema, filled)
                if parents == []:
                    break
                if parents is not None:
                    row.append(draw(st.sampled_from(parents)))
                elif table.primary_key == (column.name,) and kind_of(column) == "INTEGER":
                    row.append(number)
                else:
                    values = st.sampled_from(POOLS[kind_of(column)])
                    required = column.not_null or column.name in table.primary_key
                    row.append(draw(values if required else values | st.none()))
            if len(row) == len(names):
                key = tuple(row[names.index(name)] for name in table.primary_key) or (number,)
                rows.setdefault(key, tuple(row))
        filled[table.name] = list(rows.values())
    return Database(schema, tuple(tuple(filled[table.name]) for table in schema.tables))


def _parents(table: Table, column: Column, schema: Schema, filled: dict[str, list[Row]]) -> list[Cell] | None:
    """Return the values that a foreign key may take; `None` if the column is no foreign key."""
    for reference in table.foreign_keys:
        if reference.columns == (column.name,) and reference.to_table in filled:
            target = next(other for other in schema.tables if other.name == reference.to_table)
            place = [other.name for other in target.columns].index(reference.to_columns[0])
            return [row[place] for row in filled[reference.to_table]]
    return None


def queries(*, schema: SchemaLike = None) -> SearchStrategy[str]:
    """Draw SELECT statements that run on SQLite: joins, groups, subqueries, set operations, windows.

    A query with a LIMIT has an order without ties, so that only one result is right. Draws shrink towards
    one column of one table.

    Args:
        schema: a `Schema`, `{table: {column: type}}` or DDL text; a small library when left out.
    """
    return models(as_schema("queries", schema)).map(write)


@st.composite
def models(draw: DrawFn, schema: Schema) -> Query:
    """Draw queries as models, which can be changed and then written as SQL."""
    columns = Columns(schema)
    form = draw(st.sampled_from(("plain", "join", "group", "subquery", "compound", "window")))
    if form == "compound":
        first = draw(_arms(schema, columns))
        kinds = [columns.kinds[term.column] for term in first.terms if term.column is not None]
        tables = [
            table.name for table in schema.tables if all(columns.of((table.name,), (kind,)) for kind in kinds)
        ]
        other = draw(st.sampled_from(tables))
        terms = tuple(Term(draw(st.sampled_from(columns.of((other,), (kind,))))) for kind in kinds)
        second = Select(terms, other, where=draw(_conditions((other,), columns)))
        return Compound(first, draw(st.sampled_from(("UNION", "UNION ALL", "EXCEPT", "INTERSECT"))), second)
    table = draw(st.sampled_from(schema.tables))
    joins = draw(_joins(table, schema)) if form in ("join", "group") else ()
    tables_ = (table.name, *(join.table for join in joins))
    where = draw(_conditions(tables_, columns))
    if form == "subquery":
        where = (*where, draw(_nested(table.name, schema, columns)))
    connective = draw(st.sampled_from(("AND", "OR"))) if len(where) > 1 else "AND"
    if form == "group":
        return _grouped(draw, table.name, joins, where, connective, columns)
    shape = draw(st.sampled_from(("columns", "columns", "distinct", "aggregate"))) if form != "window" else ""
    if shape == "aggregate":
        return Select((draw(_aggregates(tables_, columns)),), table.name, joins, where, connective)
    names = columns.of(tables_)
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    terms = tuple(map(Term, chosen))
    if form == "window":
        key = (table.name, (table.primary_key or (table.columns[0].name,))[0])
        terms = (*terms[:2], Term(key, "ROW_NUMBER", partition=draw(st.sampled_from(names))))
    distinct = shape == "distinct"
    query = Select(terms, table.name, joins, where, connective, distinct=distinct)
    return _ordered(draw, query, schema, columns)


def _ordered(draw: DrawFn, query: Select, schema: Schema, columns: Columns) -> Select:
    if not draw(st.booleans()):
        return query
    if query.distinct or any(term.partition for term in query.terms):
        keys: Sequence[Term] = query.terms
    else:
        # The keys of all tables are the last things to sort by, so that no two rows are tied.
        last = [
            Term((table.name, name))
            for table in schema.tables
            if table.name in query.tables
            for name in (table.primary_key or tuple(column.name for column in table.columns))
        ]
        first = Term(draw(st.sampled_from(columns.of(query.tables))))
        keys = [first, *(term for term in last if term != first)]
    down = draw(st.booleans())
    order = tuple((term, down and index == 0) for index, term in enumerate(keys))
    limit = draw(st.none() | st.integers(1, 4))
    offset = draw(st.sampled_from((0, 0, 1))) if limit is not None else 0
    return Select(
        query.terms,
        query.table,
        query.joins,
        query.where,
        query.connective,
        order=order,
        limit=limit,
        offset=offset,
        distinct=query.distinct,
    )


def _grouped(
    draw: DrawFn,
    table: str,
    joins: tuple[Join, ...],
    where: tuple[Condition, ...],
    connective: str,
    columns: Columns,
) -> Select:
    tables = (table, *(join.table for join in joins))
    group = draw(st.sampled_from(columns.of(tables)))
    counted = draw(_aggregates(tables, columns))
    having: tuple[Condition, ...] = ()
    if draw(st.booleans()):
        having = (
            Condition(Term(None, "COUNT"), draw(st.sampled_from((">", ">=", "="))), draw(st.integers(1, 3))),
        )
    order: tuple[tuple[Term, bool], ...] = ()
    limit = None
    if draw(st.booleans()):
        order = ((counted, draw(st.booleans())), (Term(group), False))
        limit = draw(st.none() | st.integers(1, 3))
    return Select(
        (Term(group), counted),
        table,
        joins,
        where,
        connective,
        group=(group,),
        having=having,
        order=order,
        limit=limit,
    )


@st.composite
def _arms(draw: DrawFn, schema: Schema, columns: Columns) -> Select:
    table = draw(st.sampled_from(schema.tables)).name
    names = draw(st.lists(st.sampled_from(columns.of((table,))), min_size=1, max_size=2, unique=True))
    return Select(tuple(map(Term, names)), table, where=draw(_conditions((table,), columns)))


@st.composite
def _joins(draw: DrawFn, table: Table, schema: Schema) -> tuple[Join, ...]:
    """Join along foreign keys, in either direction."""
    edges: list[tuple[str, Name, Name]] = []
    for other in schema.tables:
        for key in other.foreign_keys:
            here, there = (other.name, key.columns[0]), (key.to_table, key.to_columns[0])
            if other.name == table.name != key.to_table:
                edges.append((key.to_table, here, there))
            elif key.to_table == table.name != other.name:
                edges.append((other.name, there, here))
    if not edges:
        return ()
    distinct = {edge[0]: edge for edge in edges}
    chosen = draw(st.lists(st.sampled_from(list(distinct.values())), min_size=1, max_size=2, unique=True))
    return tuple(Join(name, left, right, draw(st.booleans())) for name, left, right in chosen)


@st.composite
def _conditions(draw: DrawFn, tables: Sequence[str], columns: Columns) -> tuple[Condition, ...]:
    return tuple(
        draw(_condition(draw(st.sampled_from(columns.of(tables))), columns))
        for _ in range(draw(st.integers(0, 2)))
    )


@st.composite
def _condition(draw: DrawFn, column: Name, columns: Columns) -> Condition:
    kind = columns.kinds[column]
    values = st.sampled_from(POOLS[kind])
    operators = ["=", "<>", "<", "<=", ">", ">=", "IN", "IS NULL"]
    operator = draw(st.sampled_from([*operators, "LIKE" if kind == "TEXT" else "BETWEEN"]))
    negated = draw(st.sampled_from((False, False, True)))
    value: Cell | tuple[Cell, ...] = None
    if operator == "IN":
        value = tuple(draw(st.lists(values, min_size=1, max_size=3, unique=True)))
    elif operator == "BETWEEN":
        value = tuple(sorted((draw(values), draw(values))))  # type: ignore[type-var]
    elif operator == "LIKE":
        value = draw(st.sampled_from(("%o%", "A%", "%e")))
    elif operator != "IS NULL":
        value = draw(values)
    return Condition(Term(column), operator, value, negated)


@st.composite
def _nested(draw: DrawFn, table: str, schema: Schema, columns: Columns) -> Condition:
    """Draw a condition on the result of another query."""
    column = draw(st.sampled_from(columns.of((table,))))
    kind = columns.kinds[column]
    other = draw(st.sampled_from([one.name for one in schema.tables if columns.of((one.name,), (kind,))]))
    inner = draw(st.sampled_from(columns.of((other,), (kind,))))
    where = draw(_conditions((other,), columns))
    if draw(st.booleans()):
        return Condition(Term(column), "IN", Select((Term(inner),), other, where=where), draw(st.booleans()))
    function = "MAX" if kind == "TEXT" else draw(st.sampled_from(("AVG", "MIN", "MAX")))
    value = Select((Term(inner, function),), other, where=where)
    return Condition(Term(column), draw(st.sampled_from(("=", "<", ">="))), value)


@st.composite
def _aggregates(draw: DrawFn, tables: Sequence[str], columns: Columns) -> Term:
    numbers = columns.of(tables, ("INTEGER", "REAL"))
    function = draw(
        st.sampled_from(("COUNT", "COUNT DISTINCT", *(("SUM", "AVG", "MIN", "MAX") if numbers else ())))
    )
    if function == "COUNT":
        return Term(None, "COUNT")
    if function == "COUNT DISTINCT":
        return Term(draw(st.sampled_from(columns.of(tables))), "COUNT", distinct=True)
    return Term(draw(st.sampled_from(numbers)), function)


def equivalent_pairs(*, schema: SchemaLike = None) -> SearchStrategy[Pair]:
    """Draw pairs of queries that return the same rows on every database, with the name of the rewriting.

    Args:
        schema: a `Schema`, `{table: {column: type}}` or DDL text; a small library when left out.
    """
    return _pairs(as_schema("equivalent_pairs", schema), False)


def near_misses(*, schema: SchemaLike = None) -> SearchStrategy[Pair]:
    """Draw pairs of queries that differ by one mistake, with its name, and a database on which their results differ.

    Results with the same columns in another order count as the same.

    Args:
        schema: a `Schema`, `{table: {column: type}}` or DDL text; a small library when left out.
    """
    return _pairs(as_schema("near_misses", schema), True)


@st.composite
def _pairs(draw: DrawFn, schema: Schema, wrong: bool) -> Pair:
    query = draw(models(schema))
    ordered = isinstance(query, Select) and bool(query.order)
    gold, columns = write(query), Columns(schema)
    seen = {number: rows_of(gold, schema, number) for number in range(len(witnesses(schema)))}
    # A result that is empty, or all NULL, cannot tell a right query from a wrong one.
    telling = [
        number for number, rows in seen.items() if any(cell is not None for row in rows for cell in row)
    ]
    assume(telling)
    if not wrong:
        change, sql = draw(st.sampled_from(list(rewritings(query, columns))))
        return Pair(gold, sql, change, ordered, witnesses(schema)[telling[0]])
    found: dict[str, list[tuple[str, int]]] = {}
    for change, mutant in mutations(query, columns):
        sql = write(mutant)
        for number in telling:
            if differ(seen[number], rows_of(sql, schema, number), ordered=ordered):
                found.setdefault(change, []).append((sql, number))
                break
    assume(found)
    change = draw(st.sampled_from(list(found)))
    sql, number = draw(st.sampled_from(found[change]))
    return Pair(gold, sql, change, ordered, witnesses(schema)[number])


@lru_cache(maxsize=4096)
def rows_of(sql: str, schema: Schema, number: int) -> tuple[Row, ...]:
    """Return the rows of a query on one of the witnesses of a schema."""
    return tuple(_connection(schema, number).execute(sql).fetchall())


@lru_cache(maxsize=64)
def _connection(schema: Schema, number: int) -> sqlite3.Connection:
    return witnesses(schema)[number].connect()


def as_schema(caller: str, given: SchemaLike) -> Schema:
    """Return a schema without views and tables without columns; an error about it names `caller`."""
    if given is None:
        return LIBRARY
    if isinstance(given, Schema):
        schema = given
    elif isinstance(given, str):
        schema = schema_from_ddl(given)
    elif hasattr(given, "items"):
        schema = schema_from_mapping(given)
    else:
        raise ConfigError(
            f"`{caller}(schema=...)` should be a Schema, a mapping {{table: {{column: type}}}} or DDL text, "
            f"but got {given!r:.80}."
        )
    tables = tuple(table for table in schema.tables if not table.view and table.columns)
    if not tables:
        raise ConfigError(f"`{caller}(schema=...)` should have a table with a column, but it has none.")
    return Schema(tables)
