"""The worker program for `SQLite(engine="apsw")`: it makes apsw, which has a newer SQLite, look like `sqlite3`.

Everything else is that of `worker.py`.
"""

from __future__ import annotations

import sqlite3
import sys
from itertools import islice

from finer_rewards.engines.sqlite import worker
from finer_rewards.executing.worker import INFINITY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SEVERAL = "You can only execute one statement at a time."
# What Python's own module skips when it looks for a second statement.
NOTHING_MORE = r"(?s)(?:[ \t\f\r\n]|--[^\n]*|/\*.*?(?:\*/|\Z))*\Z"


class Raw:
    """An apsw connection with those methods of a `sqlite3` connection that `worker.Connection` uses."""

    def __init__(self, uri: str) -> None:
        import apsw

        self.apsw = apsw
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        self.connection = apsw.Connection(uri, flags=flags, statementcachesize=0)
        self.set_authorizer: Callable[[Any], None] = self.connection.set_authorizer
        self.set_progress_handler: Callable[[Any, int], None] = self.connection.set_progress_handler
        self.setlimit: Callable[[int, int], int] = self.connection.limit
        self.close: Callable[[], None] = self.connection.close
        self.text_factory: Any = str
        self.undecodable = False

    def execute(self, sql: str) -> Cursor:
        """Run one statement up to its first row."""
        return Cursor(self, sql)

    def error(self, error: Exception) -> Exception:
        """Return the exception that `sqlite3` would have raised instead."""
        if isinstance(error, UnicodeDecodeError):
            self.undecodable = True
            return sqlite3.OperationalError(f"Could not decode to UTF-8: {error}")
        if isinstance(error, self.apsw.NoMemError):
            return MemoryError()
        if isinstance(error, self.apsw.TooBigError):
            return sqlite3.DataError(str(error))
        return sqlite3.OperationalError(str(error)) if isinstance(error, self.apsw.Error) else error


class Cursor:
    """A cursor of apsw with those methods of a `sqlite3` cursor that `worker.Connection` uses."""

    def __init__(self, raw: Raw, sql: str) -> None:
        self.raw = raw
        self.sql = sql
        self.description: Any = None
        self.several = False
        self.cursor = raw.connection.cursor()
        self.cursor.exec_trace = self._prepared
        try:
            self.rows = iter(self.cursor.execute(sql, can_cache=False))
        except (raw.apsw.Error, UnicodeDecodeError) as error:
            raise sqlite3.ProgrammingError(SEVERAL) if self.several else raw.error(error) from None

    def _prepared(self, cursor: Any, statement: str, _bindings: object) -> bool:
        """Return whether a statement may run; apsw calls this before each statement of a text."""
        if self.description is None:
            self.description = cursor.description or None
            if len(statement) != len(self.sql):
                import re

                self.several = re.match(NOTHING_MORE, self.sql[len(statement) :]) is None
        return not self.several

    def fetchmany(self, count: int) -> list[Any]:
        """Return the next rows."""
        try:
            return list(islice(self.rows, count))
        except (self.raw.apsw.Error, UnicodeDecodeError) as error:
            raise self.raw.error(error) from None

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""
        return self.fetchmany(sys.maxsize)

    def __iter__(self) -> Any:
        return iter(self.fetchall())

    def close(self) -> None:
        """End the statement."""
        self.cursor.close(True)


class Connection(worker.Connection):
    """A connection of apsw, and a second one of `sqlite3` for text that is not UTF-8, which apsw cannot return."""

    def __init__(self, uri: str, settings: dict[str, Any]) -> None:
        self.plain: worker.Connection | None = None
        super().__init__(uri, settings)

    def connect(self, uri: str) -> Any:
        """Open the database with apsw."""
        return Raw(uri)

    def run(self, sql: str, timeout: float, allowance: float = INFINITY) -> Any:
        """Run one statement and return its answer; text that is not UTF-8 makes it run again with `sqlite3`."""
        answer = super().run(sql, timeout, allowance)
        if self.raw.undecodable:
            self.raw.undecodable = False
            self.plain = self.plain or worker.Connection(self.uri, self.settings)
            return self.plain.run(sql, timeout, allowance)
        return answer

    def close(self) -> None:
        """Close both connections."""
        super().close()
        if self.plain is not None:
            self.plain.close()


def open_connection(uri: str, settings: dict[str, Any]) -> worker.Connection:
    """Open a database; if its schema is not UTF-8, with `sqlite3` instead of apsw."""
    import apsw

    try:
        return Connection(uri, settings)
    except apsw.Error as error:
        raise sqlite3.OperationalError(str(error)) from None
    except sqlite3.OperationalError as error:
        if "Could not decode" not in str(error):
            raise
        return worker.Connection(uri, settings)


def open_databases(settings: dict[str, Any]) -> worker.Databases:
    """Return the object that answers requests; `executing/worker.py` calls this once."""
    sys.path.append(settings["packages"])
    import apsw

    apsw.hard_heap_limit(settings["heap"])
    return worker.Databases(settings, open_connection)
