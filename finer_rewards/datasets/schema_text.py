"""Describes a database in a prompt: CREATE TABLE statements with keys and sample values, cut to a budget."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from finer_rewards.errors import ConfigError, suggest
from finer_rewards.schema import Schema, Table

if TYPE_CHECKING:
    from finer_rewards.executing.protocol import Executor

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TYPE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ ]*(?:\( *[+-]?\d+ *(?:, *[+-]?\d+ *)?\))?")
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
#: The number of rows of a table that are read to find sample values, and the most characters shown of a value.
_ROWS, _LONGEST = 100, 40
#: A value with one of these is not shown: it could end the message in a chat template, or be taken for the model's
#: own thought, tag or fence.
_MARKUP: Final = ("<|", "|>", "<think", "</", "```")

# The keywords of SQLite (https://sqlite.org/lang_keywords.html); a name that is a keyword is quoted.
_RESERVED: Final = """
    abort action add after all alter always analyze and as asc attach autoincrement before begin between by
    cascade case cast check collate column commit conflict constraint create cross current current_date
    current_time current_timestamp database default deferrable deferred delete desc detach distinct do drop each
    else end escape except exclude exclusive exists explain fail filter first following for foreign from full
    generated glob group groups having if ignore immediate in index indexed initially inner insert instead
    intersect into is isnull join key last left like limit match materialized natural no not nothing notnull null
    nulls of offset on or order others outer over partition plan pragma preceding primary query raise range
    recursive references regexp reindex release rename replace restrict returning right rollback row rows
    savepoint select set table temp temporary then ties to transaction trigger unbounded union unique update
    using vacuum values view virtual when where window with without
"""
_KEYWORDS: Final = frozenset(_RESERVED.split())


@dataclass(frozen=True)
class DescribedSchema:
    """A schema, and some values of its columns.

    Args:
        schema: the tables.
        values: for each table and each of its columns, values in the order they are stored, as SQL literals.
    """

    schema: Schema
    values: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)


def describe_database(db: str, executor: Executor, *, samples: int = 3) -> DescribedSchema:
    """Read the schema of a database and the first different values of each column.

    Values come from the first 100 rows of a table, so the text stays the same as long as the file does. NULL, blobs,
    texts with line breaks, and texts that could be taken for markup of a chat are left out.

    Args:
        db: the database, as samples name it.
        executor: the executor that reads it; a table that cannot be read within its limits has no values.
        samples: the number of values for each column.

    Raises:
        ConfigError: there is no such database.
    """
    from finer_rewards.executing import Query

    schema = executor.schema(db)
    if not samples:
        return DescribedSchema(schema)
    queries = [
        Query(
            f"SELECT {', '.join(_always_quoted(column.name) for column in table.columns)} "
            f"FROM {_always_quoted(table.name)} LIMIT {_ROWS}",
            db,
        )
        for table in schema.tables
    ]
    values: dict[str, dict[str, list[str]]] = {}
    for table, run in zip(schema.tables, executor.execute_many(queries), strict=True):
        found: dict[str, list[str]] = {column.name: [] for column in table.columns}
        for row in run.rows if run.ok else ():
            for column, cell in zip(table.columns, row, strict=True):
                literal, kept = _literal(cell), found[column.name]
                if literal and len(kept) < samples and literal not in kept:
                    kept.append(literal)
        values[table.name] = found
    return DescribedSchema(schema, values)


def schema_prompt(
    source: DescribedSchema | Schema | str | os.PathLike[str],
    executor: Executor | None = None,
    *,
    samples: int = 3,
    tables: str | Sequence[str] = "all",
    question: str = "",
    budget: int | None = None,
    count: Callable[[str], int] = len,
) -> str:
    """Return CREATE TABLE statements for a prompt; the same database always gives the same text.

    If the text exceeds the budget, this is left out in turn, until it fits: all but one sample value of each column,
    all values, then whole tables, beginning with those that have least to do with the question. One table always
    stays.

    Args:
        source: a schema, a described schema, or a database: its path, or its id under the executor's root.
        executor: the executor that reads a database; `None` means SQLite.
        samples: the most values for each column.
        tables: `"all"`; or `"question"` for the tables with a word of the question in a name or a value, and the
            tables that link these; or the names of tables.
        question: the question in words.
        budget: the most `count` may return; `None` means no limit.
        count: measures a text, in characters when left out. A tokenizer's `lambda text: len(encode(text))`
            makes `budget` a number of tokens.

    Raises:
        ConfigError: there is no such database or table, or an argument cannot be used.

    Example:
        >>> from finer_rewards.schema import schema_from_ddl
        >>> schema = schema_from_ddl('CREATE TABLE "order" (id INT PRIMARY KEY, "unit price" REAL)')
        >>> print(schema_prompt(schema))
        CREATE TABLE "order" (
          id INT PRIMARY KEY,
          "unit price" REAL
        );
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 0:
        raise ConfigError(f"`schema_prompt(samples=...)` should be 0 or more values, but got {samples!r}.")
    if budget is not None and budget < 1:
        raise ConfigError(f"`schema_prompt(budget=...)` should be above 0, but got {budget!r}.")
    described = _described(source, executor, samples)
    ranking = _relevance(described, question)
    chosen = _chosen(described.schema, tables, question, ranking)
    sizes = sorted({samples, min(samples, 1), 0}, reverse=True)
    text = ""
    for size in sizes:
        text = _text(chosen, described, size)
        if budget is None or count(text) <= budget:
            return text
    order = {table.name: place for place, table in enumerate(chosen)}
    while len(chosen) > 1 and budget is not None and count(text) > budget:
        least = min(chosen, key=lambda table: (ranking[table.name], -order[table.name]))
        chosen = [table for table in chosen if table is not least]
        text = _text(chosen, described, 0)
    return text


def quoted(name: str) -> str:
    """Return a name as SQL needs it: in double quotes if it is a keyword or not a plain word.

    Example:
        >>> quoted("age"), quoted("group"), quoted("unit price"), quoted('6" pipe')
        ('age', '"group"', '"unit price"', '"6"" pipe"')
    """
    if _PLAIN.fullmatch(name) and name.lower() not in _KEYWORDS:
        return name
    return _always_quoted(name)


def _always_quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _described(source: Any, executor: Executor | None, samples: int) -> DescribedSchema:
    if isinstance(source, DescribedSchema):
        return source
    if isinstance(source, Schema):
        return DescribedSchema(source)
    if not isinstance(source, (str, os.PathLike)):
        raise ConfigError(
            f"`schema_prompt(source)` should be a Schema or a database, but got {source!r:.80}. "
            "Pass a path, or an id and an executor."
        )
    if executor is not None:
        return describe_database(os.fspath(source), executor, samples=samples)
    from finer_rewards.engines.sqlite import SQLite

    with SQLite() as own:
        return describe_database(os.fspath(source), own, samples=samples)


def _chosen(
    schema: Schema, tables: str | Sequence[str], question: str, ranking: Mapping[str, float]
) -> list[Table]:
    if isinstance(tables, str):
        if tables not in ("all", "question"):
            raise ConfigError(
                "`schema_prompt(tables=...)` should be 'all', 'question' or a list of names, "
                f"but got {tables!r}. A single table is a list of one."
            )
        if tables == "question" and not question:
            raise ConfigError("`schema_prompt(tables='question')` needs the question. Pass question=...")
        related = [table for table in schema.tables if ranking[table.name] > 0]
        return related if tables == "question" and related else list(schema.tables)
    known = {table.name.lower(): table for table in schema.tables}
    for name in tables:
        if name.lower() not in known:
            raise ConfigError(
                f"`schema_prompt(tables=...)` should name tables of the database, but it has no {name!r}. "
                f"{suggest(name, [table.name for table in schema.tables])}"
                f"Known: {', '.join(table.name for table in schema.tables)}."
            )
    wanted = {name.lower() for name in tables}
    return [table for table in schema.tables if table.name.lower() in wanted]


def _relevance(described: DescribedSchema, question: str) -> dict[str, float]:
    """Return how much each table has to do with a question: the words they share, each divided by its tables.

    A table with foreign keys to others counts as much as the second best of these: a join of the two needs it.
    """
    asked = _words([question])
    words = {
        table.name: asked
        & _words(
            [table.name, *(column.name for column in table.columns)]
            + [
                value for column in described.values.get(table.name, {}).values() for value in column
            ]
        )
        for table in described.schema.tables
    }  # fmt: skip
    own = {
        name: sum(1 / sum(word in others for others in words.values()) for word in shared)
        for name, shared in words.items()
    }
    lower = {name.lower(): value for name, value in own.items()}
    linked: dict[str, float] = {}
    for table in described.schema.tables:
        targets = {key.to_table.lower() for key in table.foreign_keys} - {table.name.lower()}
        scores = sorted((lower.get(name, 0.0) for name in targets), reverse=True)
        linked[table.name] = max(own[table.name], scores[1] if len(scores) > 1 else 0.0)
    return linked


def _words(texts: Iterable[str]) -> frozenset[str]:
    words = (word.lower() for text in texts for word in _WORD.findall(text))
    return frozenset(word.removesuffix("s") if len(word) > 3 else word for word in words)


def _text(tables: Sequence[Table], described: DescribedSchema, size: int) -> str:
    return "\n\n".join(_table(table, described.values.get(table.name, {}), size) for table in tables)


def _table(table: Table, values: Mapping[str, Sequence[str]], size: int) -> str:
    parts: list[tuple[str, str]] = []
    for column in table.columns:
        declared = f" {_type(column.type)}" if column.type else ""
        key = " PRIMARY KEY" if table.primary_key == (column.name,) else ""
        null = " NOT NULL" if column.not_null else ""
        shown = ", ".join(values.get(column.name, ())[:size])
        parts.append((quoted(column.name) + declared + key + null, f" -- {shown}" if shown else ""))
    if len(table.primary_key) > 1:
        parts.append((f"PRIMARY KEY ({_names(table.primary_key)})", ""))
    for foreign in table.foreign_keys:
        target = f" ({_names(foreign.to_columns)})" if foreign.to_columns else ""
        rule = f"FOREIGN KEY ({_names(foreign.columns)}) REFERENCES {quoted(foreign.to_table)}{target}"
        parts.append((rule, ""))
    last = len(parts) - 1
    lines = [f"  {rule}{',' if place < last else ''}{comment}" for place, (rule, comment) in enumerate(parts)]
    view = "-- a view\n" if table.view else ""
    return "\n".join([f"{view}CREATE TABLE {quoted(table.name)} (", *lines, ");"])


def _names(columns: Sequence[str]) -> str:
    return ", ".join(map(quoted, columns))


def _type(declared: str) -> str:
    return declared if _TYPE.fullmatch(declared) else _always_quoted(declared)


def _literal(cell: object) -> str:
    """Return a value as a SQL literal that fits a comment; "" if it is not to be shown."""
    if isinstance(cell, float):
        return repr(cell) if cell == cell and abs(cell) != float("inf") else ""
    if isinstance(cell, int):
        return str(cell)
    if not isinstance(cell, str) or not cell.strip() or not cell.isprintable():
        return ""
    if any(mark in cell for mark in _MARKUP):
        return ""
    cut = cell if len(cell) <= _LONGEST else cell[: _LONGEST - 3] + "..."
    return "'" + cut.replace("'", "''") + "'"
