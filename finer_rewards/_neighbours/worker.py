"""The worker program that makes neighbours. Other people's golds and schemas run here, so it has a worker's limits.

Besides the kinds of requests of `engines/sqlite/worker.py` it answers these, each with a marshalled value in place of
SQL and of rows; `building.py` and `sandbox.py` send them:

    make       the arguments of `make_judging_instances` after the database → its result, and what could not be copied
    reversed   statements → the answer to each, with scans that no ORDER BY governs going backwards
    permuted   statements → the answer to each, on a copy with the rows of its tables stored backwards; None for a
               database that is too large
"""

from __future__ import annotations

import marshal
import sqlite3

from finer_rewards._neighbours.reversed_copy import permuted
from finer_rewards.engines.sqlite.worker import Connection, Databases, limit_memory
from finer_rewards.executing.worker import Budget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from finer_rewards._neighbours.instance_database import EmptyDatabase
    from finer_rewards._neighbours.source_database import SourceDatabase
    from finer_rewards.executing.worker import Answer

_MOST_SOURCES = 4


class SandboxDatabases(Databases):
    """The open databases, with the sources that were read from the last few of them."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.sources: dict[int, tuple[SourceDatabase, EmptyDatabase]] = {}

    def work(self, connection: Connection, kind: str, sql: Any, timeout: float, allowance: float) -> Answer:
        """Return the answer to a request on an open database."""
        if kind not in ("make", "reversed", "permuted"):
            return super().work(connection, kind, sql, timeout, allowance)
        connection.budget = Budget(timeout, allowance)
        try:
            if kind == "make":
                found = self._make(connection, marshal.loads(sql))
            else:
                run = permuted if kind == "permuted" else _reversed
                found = run(connection, marshal.loads(sql), connection.settings["timeout"])
        except (
            sqlite3.Error,
            sqlite3.Warning,
            MemoryError,
            UnicodeError,
            OverflowError,
            ValueError,
        ) as error:
            status = "timeout" if connection.budget.left() <= 0 else "failed"
            return status, (), [], 0.0, str(error) or type(error).__name__, False, None, "", 0
        return "ok", (), [marshal.dumps(found)], 0.0, "", False, None, "", 0

    def _make(self, connection: Connection, request: tuple[Any, ...]) -> Any:
        from finer_rewards._neighbours.instance_database import EmptyDatabase
        from finer_rewards._neighbours.judging_instances import make_judging_instances
        from finer_rewards._neighbours.source_database import read_database

        key = id(connection)
        known = self.sources.get(key)
        if known is None:
            while len(self.sources) >= _MOST_SOURCES:
                self._forget(next(iter(self.sources)))
            source = read_database(connection)
            known = self.sources[key] = source, EmptyDatabase(source)
        return *make_judging_instances(connection, *known, *request), list(known[0].notes)

    def _forget(self, key: int) -> None:
        if key in self.sources:
            self.sources.pop(key)[1].close()

    def close(self, connection: Connection) -> None:
        """Close a connection, and forget the source that was read from it."""
        self._forget(id(connection))
        super().close(connection)


def _reversed(connection: Connection, statements: list[str], timeout: float) -> list[Answer]:
    connection.raw.execute("PRAGMA reverse_unordered_selects=1")
    try:
        return [connection.run(sql, timeout) for sql in statements]
    finally:
        connection.raw.execute("PRAGMA reverse_unordered_selects=0")


def open_databases(settings: dict[str, Any]) -> SandboxDatabases:
    """Return the object that answers requests; `executing/worker.py` calls this once."""
    limit_memory(settings)
    return SandboxDatabases(settings)
