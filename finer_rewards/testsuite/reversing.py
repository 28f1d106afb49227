"""Whether a result hangs on the order in which rows happen to be stored."""

from __future__ import annotations

import marshal
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import sqlglot
from sqlglot import exp

from finer_rewards.comparing import compare
from finer_rewards.executing.databases import DatabaseFile
from finer_rewards.executing.worker import Connection
from finer_rewards.types import Execution, Row, Status

__all__ = ["hang_on_order", "read_only_uri", "run_reversed"]

_BYTES = 32 << 20


def read_only_uri(db: str | os.PathLike[str]) -> str:
    """Return the URI that opens a database without making a file beside it."""
    file = DatabaseFile.look(Path(db))
    lock = "immutable=1" if file.immutable else "readonly_shm=1"
    return f"file:{quote(os.fsencode(file.path))}?mode=ro&{lock}"


def run_reversed(
    db: str | os.PathLike[str],
    statements: Sequence[str],
    *,
    timeout: float,
    max_rows: int = 10_000,
    backwards: bool = True,
) -> list[Execution]:
    """Run queries with every scan that no ORDER BY governs going backwards.

    SQLite has a setting for that, made to find what hangs on an order that nobody asked for. It takes a
    connection of its own, read-only and with the time limit of the workers, in this process.
    """
    settings = {
        "busy_timeout": min(1.0, timeout / 4),
        "timeout": timeout,
        "max_rows": max_rows,
        "max_bytes": _BYTES,
        "max_sql": 200_000,
        "limits": [],
    }
    connection = Connection(read_only_uri(db), settings)
    try:
        connection.raw.execute(f"PRAGMA reverse_unordered_selects={int(backwards)}")
        return [_run(connection, sql) for sql in statements]
    finally:
        connection.raw.close()


def _run(connection: Connection, sql: str) -> Execution:
    status, columns, chunks, seconds, error, truncated, *_ = connection.run(
        sql, connection.settings["timeout"]
    )
    rows: list[Row] = []
    for chunk in chunks:
        rows += marshal.loads(chunk)
    return Execution(Status[status], columns, tuple(rows), seconds, error, truncated)


def hang_on_order(
    db: str | os.PathLike[str], golds: Sequence[str], runs: Sequence[Execution], *, timeout: float
) -> list[bool]:
    """Return for each gold whether it has another result when rows are read in reverse.

    Args:
        db: the database file.
        golds: queries.
        runs: what they did there.
        timeout: seconds that one query may take.
    """
    asked = [
        sql
        for sql, run in zip(golds, runs, strict=True)
        if run.ok and not run.truncated and len(run.rows) > 0
    ]
    scanned = {sql: text for sql in asked if (text := _scanned(sql)) is not None}
    try:
        found = dict(zip(asked, run_reversed(db, asked, timeout=timeout), strict=True))
        both = [
            run_reversed(db, list(scanned.values()), timeout=timeout, backwards=way) for way in (False, True)
        ]
    except (sqlite3.Error, OSError):
        return [False] * len(golds)  # the database cannot be opened this way: nothing is known
    tied = {
        sql
        for sql, one, other in zip(scanned, *both, strict=True)
        if one.ok and other.ok and not compare(one, other, "strict", gold_sql=scanned[sql]).match
    }
    return [
        sql in tied
        or (sql in found and found[sql].ok and not compare(run, found[sql], "strict", gold_sql=sql).match)
        for sql, run in zip(golds, runs, strict=True)
    ]


def _scanned(sql: str) -> str | None:
    """Return a query that takes columns from the row of its least or greatest value, made to read every row.

    SQLite looks such a row up as if it were sorted, which the setting does not turn round; where another
    aggregate stands beside, it scans, and of rows that tie the first one read counts. `None` for other queries.
    """
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
    except (sqlglot.errors.SqlglotError, RecursionError):
        return None
    if not isinstance(tree, exp.Select):
        return None
    extremes = [found for part in tree.selects for found in part.find_all(exp.Min, exp.Max)]
    grouped = {key.sql() for key in (tree.args.get("group") or exp.Group()).expressions}
    bare = [
        part for part in tree.selects if not part.find(exp.AggFunc) and part.unalias().sql() not in grouped
    ]
    if len(extremes) != 1 or extremes[0].expressions or not any(part.find(exp.Column) for part in bare):
        return None
    return tree.select("COUNT(*)").sql(dialect="sqlite")
