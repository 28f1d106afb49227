"""A copy of a database with the rows of its tables stored in the reverse order."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from finer_rewards._sqlite_catalog import quote
from finer_rewards.engines.sqlite.worker import leave_out_undecodable
from finer_rewards.neighbours.reversing import read_only_uri

__all__ = ["permuted_copy"]

_MOST_BYTES = 64 << 20


def permuted_copy(db: str | os.PathLike[str], to: str | os.PathLike[str]) -> bool:
    """Copy a database, and store the rows of each table backwards; return whether that could be done.

    Rows of a table with an INTEGER PRIMARY KEY, or without row ids, have no order but that of the key, and
    stay. A database of more than 64 MiB is not copied.
    """
    path = Path(db).absolute()
    if path.stat().st_size > _MOST_BYTES:
        return False
    try:
        with (
            closing(sqlite3.connect(read_only_uri(path), uri=True)) as source,
            closing(sqlite3.connect(to, isolation_level=None)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA synchronous=OFF")
            _turn(copy)
    except sqlite3.Error:
        return False
    return True


def _turn(copy: sqlite3.Connection) -> None:
    copy.text_factory = leave_out_undecodable
    names = copy.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type = 'table'").fetchall()
    for kind, name, sql in names:
        if kind == "trigger":
            copy.execute(f"DROP TRIGGER {quote(name)}")
        elif (
            kind == "table"
            and not name.startswith("sqlite_")
            and not sql.upper().startswith("CREATE VIRTUAL")
        ):
            try:
                _turn_table(copy, quote(name))
            except sqlite3.Error:
                if copy.in_transaction:
                    copy.execute("ROLLBACK")


def _turn_table(copy: sqlite3.Connection, table: str) -> None:
    columns = [
        quote(row[1]) for row in copy.execute(f"PRAGMA table_xinfo({table})").fetchall() if row[6] == 0
    ]
    listed = ", ".join(columns)
    copy.execute("BEGIN")
    copy.execute(f"CREATE TEMP TABLE turned AS SELECT {listed} FROM {table} ORDER BY rowid DESC")
    copy.execute(f"DELETE FROM {table}")
    copy.execute(f"INSERT INTO {table} ({listed}) SELECT * FROM temp.turned ORDER BY rowid")
    copy.execute("DROP TABLE temp.turned")
    copy.execute("COMMIT")
