"""Translates golds from one engine's dialect to another's, and keeps those whose results are the same on both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from finer_rewards._util.sql_text import normalise
from finer_rewards.comparing import compare
from finer_rewards.executing import Executor, Query
from finer_rewards.operations.guard import tree_of
from finer_rewards.schema import Schema

if TYPE_CHECKING:
    from sqlglot import exp

#: Why a gold cannot be used on the other engine, and what that means.
TRANSLATIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "untranslated": "it has no text in the engine's dialect that runs there",
        "means_else": "translated, it gives another result on the engine than where it was written for",
    }
)


class Translation(NamedTuple):
    """A gold in the other dialect; if it cannot be used, `problem` is one of `TRANSLATIONS` and `reason` says why."""

    sql: str
    problem: str = ""
    reason: str = ""


def translate_golds(
    golds: Sequence[tuple[str, str]], source: Executor, target: Executor, *, mode: str = "strict"
) -> list[Translation]:
    """Return each gold in the dialect of `target`, and whether it means there what it means on `source`.

    A gold that fails on `source`, or whose result there is cut or ambiguous, proves nothing: it is translated, and the
    audit decides about it.

    Args:
        golds: statements, each with the id of its database, by which both executors find it.
        source: the executor that runs the golds as they are written.
        target: the executor that runs the translations.
        mode: how the two results are compared.

    Example:
        >>> import sqlite3, tempfile, pathlib
        >>> from finer_rewards import DuckDB, SQLite
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> connection = sqlite3.connect(folder / "shop.sqlite")
        >>> _ = connection.executescript("CREATE TABLE item (name TEXT, price INT); INSERT INTO item VALUES ('Ax', 7)")
        >>> connection.close()
        >>> texts = ["SELECT IFNULL(name, '-') FROM item", "SELECT name, COUNT(*) FROM item"]
        >>> with SQLite(folder) as source, DuckDB(folder) as target:
        ...     for translation in translate_golds([(sql, "shop") for sql in texts], source, target):
        ...         print(translation.problem or "kept", "|", translation.sql)
        kept | SELECT COALESCE(name, '-') FROM item
        untranslated | SELECT name, COUNT(*) FROM item
    """
    schemas = {db: source.schema(db) for db in dict.fromkeys(db for _, db in golds)}
    texts = [_translated(sql, schemas[db], source.dialect, target.dialect) for sql, db in golds]
    there = source.execute_many([Query(sql, db, keep=True) for sql, db in golds])
    asked = [
        Query(text, db, keep=True) for text, (_, db) in zip(texts, golds, strict=True) if text is not None
    ]
    here = iter(target.execute_many(asked))
    found = []
    for (sql, _), text, written in zip(golds, texts, there, strict=True):
        if text is None:
            found.append(Translation(sql, "untranslated", f"sqlglot does not read it as {source.dialect}"))
            continue
        run = next(here)
        if not written.ok or written.truncated or written.ambiguous or written.volatile:
            found.append(Translation(text))
        elif not run.ok:
            found.append(Translation(text, "untranslated", f"`{text}` fails: {run.error}"))
        else:
            comparison = compare(written, run, mode, gold_sql=sql, predicted_sql=text)
            found.append(
                Translation(text) if comparison.match else Translation(text, "means_else", comparison.reason)
            )
    return found


def _translated(sql: str, schema: Schema, source: str, target: str) -> str | None:
    tree = tree_of(normalise(sql), source)
    if tree is None:
        return None
    if source == "sqlite":
        tree = _plain(tree, schema)
    text: str = tree.sql(dialect=target)
    return text


def _plain(tree: exp.Expression, schema: Schema) -> exp.Expression:
    """Rewrite two constructs that other engines understand differently from SQLite.

    In SQLite, `"Joe"` is a text if no column has that name, and LIKE ignores upper and lower case.
    """
    from sqlglot import exp

    names = {column.name.lower() for table in schema.tables for column in table.columns}
    names |= {alias.alias.lower() for alias in tree.find_all(exp.Alias)}

    def change(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Like):
            # All arguments are passed on, since sqlglot may keep a NOT as one of them.
            return exp.ILike(**node.args)
        if isinstance(node, exp.Column) and not node.table:
            name = node.this
            if isinstance(name, exp.Identifier) and name.quoted and name.name.lower() not in names:
                return exp.Literal.string(name.name)
        return node

    changed: exp.Expression = tree.transform(change)
    return changed
