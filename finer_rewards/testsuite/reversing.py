"""Whether a result hangs on the order in which rows happen to be stored."""

from __future__ import annotations

import marshal
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

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
    db: str | os.PathLike[str], statements: Sequence[str], *, timeout: float, max_rows: int = 10_000
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
        connection.raw.execute("PRAGMA reverse_unordered_selects=1")
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
    try:
        found = dict(zip(asked, run_reversed(db, asked, timeout=timeout), strict=True))
    except (sqlite3.Error, OSError):
        return [False] * len(golds)  # the database cannot be opened this way: nothing is known
    return [
        sql in found and found[sql].ok and not compare(run, found[sql], "strict", gold_sql=sql).match
        for sql, run in zip(golds, runs, strict=True)
    ]
