"""Reads the tables and views of a SQLite database, by pragmas: a worker for a file, `schema.py` for DDL as text."""

from __future__ import annotations

import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def quote(name: str) -> str:
    """Return the name as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def read_catalog(connection: Any) -> list[tuple[Any, ...]]:
    """Return (name, kind, columns, unique, foreign keys, collations) of tables and views, as pragmas give them."""
    found = []
    collated = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND sql LIKE '%collate%')"
    ).fetchall()[0][0]
    for name, kind in connection.execute(
        "SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
    ).fetchall():
        quoted = quote(name)
        try:
            columns = connection.execute(f"PRAGMA table_xinfo({quoted})").fetchall()
            unique = [
                [part[2] for part in connection.execute(f"PRAGMA index_info({quote(index[1])})").fetchall()]
                for index in connection.execute(f"PRAGMA index_list({quoted})").fetchall()
                if index[2] and index[3] != "pk" and not index[4]
            ]
            foreign = connection.execute(f"PRAGMA foreign_key_list({quoted})").fetchall()
            collations = _collations(connection, quoted) if collated else []
        except sqlite3.Error:
            # A view over a table that is gone, or a virtual table whose module this SQLite lacks.
            continue
        found.append((name, kind, columns, unique, foreign, collations))
    return found


def _collations(connection: Any, table: str) -> list[str]:
    """Return the collation of each column that `SELECT *` shows.

    No pragma returns it, but the program of a UNION shows it: it drops repeats by an index with these collations.
    """
    for row in connection.execute(f"EXPLAIN SELECT * FROM {table} UNION SELECT * FROM {table}").fetchall():
        if row[1] == "OpenEphemeral" and str(row[5]).startswith("k("):
            return ["" if one == "B" else one for one in row[5][2:-1].split(",")[1:]]
    return []
