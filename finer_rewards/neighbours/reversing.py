"""Whether a result hangs on the order in which rows happen to be stored."""

from __future__ import annotations

import marshal
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import sqlglot
from sqlglot import exp

from finer_rewards.comparing import compare
from finer_rewards.engines.sqlite.files import SQLiteFile
from finer_rewards.engines.sqlite.worker import Connection
from finer_rewards.types import Cell, Execution, Row, Status

__all__ = ["hang_on_order", "read_only_uri", "run_reversed"]

_BYTES = 32 << 20


def read_only_uri(db: str | os.PathLike[str]) -> str:
    """Return the URI that opens a database without making a file beside it."""
    file = SQLiteFile.look(Path(db))
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
    unfolded = {sql: plan for sql in asked if (plan := _unfold(sql)) is not None}
    try:
        found = dict(zip(asked, run_reversed(db, asked, timeout=timeout), strict=True))
        rows = run_reversed(db, [plan.sql for plan in unfolded.values()], timeout=timeout)
    except (sqlite3.Error, OSError):
        return [False] * len(golds)  # the database cannot be opened this way: nothing is known
    tied = {sql for (sql, plan), run in zip(unfolded.items(), rows, strict=True) if plan.ties(run)}
    return [
        sql in tied
        or (sql in found and found[sql].ok and not compare(run, found[sql], "strict", gold_sql=sql).match)
        for sql, run in zip(golds, runs, strict=True)
    ]


class _Unfolded(NamedTuple):
    """A query that takes columns from the row of a group's least or greatest value, without its aggregates.

    Args:
        sql: returns for each row its group, the columns taken, and the value.
        keys: how many columns say the group.
        greatest: whether the greatest value counts.
    """

    sql: str
    keys: int
    greatest: bool

    def ties(self, run: Execution) -> bool:
        """Return whether several rows have a group's extreme value, and differ in the columns taken."""
        best: dict[Row, tuple[tuple[int, Cell], set[Row]]] = {}
        for row in run.rows if run.ok and not run.truncated else ():
            group, taken, value = row[: self.keys], row[self.keys : -1], row[-1]
            if value is None:
                continue
            # As SQLite orders them: numbers, texts, blobs.
            rank = (2 if isinstance(value, bytes) else 1 if isinstance(value, str) else 0, value)
            held = best.get(group)
            if held is not None and held[0] == rank:
                held[1].add(taken)
            elif held is None or (rank > held[0]) == self.greatest:
                best[group] = (rank, {taken})
        return any(len(taken) > 1 for _, taken in best.values())


def _unfold(sql: str) -> _Unfolded | None:
    """Return the query without its aggregates; `None` when it takes no column beside a lone MIN or MAX.

    Reading backwards does not show such a tie: the first and the last of the rows that tie may be alike.
    """
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
    except (sqlglot.errors.SqlglotError, RecursionError):
        return None
    if not isinstance(tree, exp.Select):
        return None
    extremes = [found for part in tree.selects for found in part.find_all(exp.Min, exp.Max)]
    if len(extremes) != 1 or extremes[0].expressions:
        return None
    keys = list((tree.args.get("group") or exp.Group()).expressions)
    grouped = {key.sql() for key in keys}
    bare = [
        part.unalias()
        for part in tree.selects
        if not part.find(exp.AggFunc) and part.unalias().sql() not in grouped
    ]
    if not any(part.find(exp.Column) for part in bare) or any(key.find(exp.Literal) for key in keys):
        return None
    plain = tree.copy()
    for clause in ("group", "having", "order", "limit", "offset", "distinct"):
        plain.set(clause, None)
    plain.set("expressions", [part.copy() for part in (*keys, *bare, extremes[0].this)])
    return _Unfolded(plain.sql(dialect="sqlite"), len(keys), isinstance(extremes[0], exp.Max))
