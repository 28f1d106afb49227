"""What the workers of the CSV engine run: SQLite in memory, filled from the file.

Only the standard library and the files of finer_rewards that need no more can be imported here.
"""

from __future__ import annotations

import csv
import sqlite3
from typing import Any

from finer_rewards.engines.sqlite import worker


class Connection(worker.Connection):
    """A database in memory, read-only once it is filled."""

    def connect(self, path: str) -> sqlite3.Connection:
        """Read the file into a table of its name."""
        table = worker.quote(path.rpartition("/")[2].rpartition(".")[0])
        connection: sqlite3.Connection = super().connect(":memory:")
        with open(path, encoding="utf-8", newline="") as file:  # noqa: PTH123
            head, *rows = csv.reader(file)
        # NUMERIC: what looks like a number is one.
        columns = ", ".join(f"{worker.quote(name)} NUMERIC" for name in head)
        connection.execute(f"CREATE TABLE {table} ({columns})")
        connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(head))})", rows)
        return connection


def open_databases(settings: dict[str, Any]) -> worker.Databases:
    """Make what answers the requests."""
    return worker.Databases(settings, Connection)
