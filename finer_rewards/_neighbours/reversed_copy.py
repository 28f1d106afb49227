"""Running queries on a copy of a database, in memory, whose tables store their rows in reverse order.

A gold whose result changes depends on the order of storage. This runs in a worker.
"""

from __future__ import annotations

import sqlite3

from finer_rewards._sqlite_catalog import quote
from finer_rewards.engines.sqlite.worker import Connection, leave_out_undecodable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from finer_rewards.executing.worker import Answer

_MOST_BYTES = 64 << 20


class _Copy(Connection):
    """A connection to the copy, with the limits of the connection to the database itself (`source`)."""

    source: Connection

    def connect(self, uri: str) -> Any:
        """Copy the database into memory and reverse its tables."""
        raw = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
        self.source.raw.backup(raw)
        self.budget = self.source.budget
        raw.set_progress_handler(self._out_of_time, 1000)
        _turn(raw)
        return raw


def permuted(connection: Connection, statements: list[str], timeout: float) -> list[Answer] | None:
    """Run statements on a copy of a database that stores the rows of each table backwards.

    Tables with an INTEGER PRIMARY KEY, or without row ids, are stored in the order of the key and do not change. `None`
    for a database of more than 64 MiB.
    """
    pages = connection.raw.execute("PRAGMA page_count").fetchone()[0]
    if pages * connection.raw.execute("PRAGMA page_size").fetchone()[0] > _MOST_BYTES:
        return None
    kind = type("_CopyOf", (_Copy,), {"source": connection})
    copy = kind("", connection.settings)
    try:
        return [copy.run(sql, timeout) for sql in statements]
    finally:
        copy.close()


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
