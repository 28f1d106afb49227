"""The worker program that runs SQL on the SQLite that Python was built with.

Protocol and loop are those of `executing/worker.py`. An authorizer lets a statement read, select and call harmless
functions, and nothing else; it also notes which tables, views and functions are used.
"""

from __future__ import annotations

import marshal
import sqlite3
import sys
import time
from collections import OrderedDict

from finer_rewards._sqlite_catalog import quote as quote
from finer_rewards._sqlite_catalog import read_catalog
from finer_rewards.engines.sqlite.clock import DATE_FUNCTIONS, may_read_clock, reads_clock
from finer_rewards.executing.worker import (
    ALARMS,
    INFINITY,
    Answer,
    Budget,
    Outcome,
    collect,
    first_word,
    lost,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

# The actions that SQLite asks the authorizer about, by their numbers.
READ, SELECT, FUNCTION, RECURSIVE, PRAGMA = 20, 21, 31, 33, 19
DENY = 1
FORBIDDEN_FUNCTIONS = frozenset(
    (
        "load_extension",
        "fts3_tokenizer",
        "readfile",
        "writefile",
        "edit",
        "fsdir",
        "lsmode",
        "zipfile",
        "optimize",
    )
)
# Functions whose value may be another each time; those about changes depend on what ran before.
RANDOM_FUNCTIONS = frozenset(("random", "randomblob", "changes", "total_changes", "last_insert_rowid"))
CLOCK_FUNCTIONS = frozenset(("current_timestamp", "current_date", "current_time"))
# First words of statements: those that return rows and are run, and those that are told to be no query. A statement
# with any other first word is refused.
ROW_SOURCES = ("select", "with", "values")
NOT_QUERIES = ("", "explain", "pragma", "reindex", "analyze")
# Prefixes of errors caused by the database, not the query. Match the prefix only: the rest may quote the query.
LOST = (
    "database disk image is malformed",
    "malformed database schema",
    "file is not a database",
    "file is encrypted or is not a database",
    "disk I/O error",
    "unable to open database file",
    "database is locked",
    "attempt to write a readonly database",
    "unsupported file format",
    "locking protocol",
)
OPCODES_BETWEEN_CHECKS = 1000
# Bytes that an open connection is taken to need: so many, and its pages up to a limit. And what all together may take.
CONNECTION_BYTES, MOST_PAGE_BYTES, ALL_BYTES = 1 << 18, 2 << 20, 36 << 20


class Connection:
    """One read-only connection, its limits, and what its authorizer noted about the current statement."""

    def __init__(self, uri: str, settings: dict[str, Any]) -> None:
        self.uri = uri
        self.settings = settings
        self.clock = time.process_time if settings.get("clock") == "cpu" else time.monotonic
        self.budget = Budget(INFINITY)
        self.checks = 0
        self.denied = False
        self.trusted = True
        self.read: set[str | None] = set()
        self.views_used: set[str] = set()
        self.functions: set[str] = set()
        self.count = 0
        self.raw = self.connect(uri)
        self.raw.text_factory = leave_out_undecodable
        self.raw.execute(f"PRAGMA busy_timeout={int(settings['busy_timeout'] * 1000)}")
        self.raw.execute("PRAGMA temp_store=2")
        self.raw.execute("PRAGMA query_only=1")
        (pages,), (size,) = (
            self.raw.execute(f"PRAGMA page_{what}").fetchall()[0] for what in ("count", "size")
        )
        self.bytes = CONNECTION_BYTES + min(MOST_PAGE_BYTES, pages * size)
        self.tables: set[str] = set()
        self.views: dict[str, str] = {}
        virtual = []
        for kind, name, sql in self.raw.execute("SELECT type, name, sql FROM sqlite_master"):
            if kind == "table" and (sql or "")[:14].upper() == "CREATE VIRTUAL":
                virtual.append(quote(name))
            if kind == "table" and not name.lower().startswith("sqlite_"):
                self.tables.add(name.lower())
            elif kind == "view":
                self.views[name.lower()] = sql or ""
        self.declared = False
        self._declare(virtual)
        if sys.version_info >= (3, 11):
            for category, limit in settings["limits"]:
                self.raw.setlimit(category, limit)
        self.raw.text_factory = str
        self.raw.set_progress_handler(self._out_of_time, OPCODES_BETWEEN_CHECKS)
        self.raw.set_authorizer(self._authorizer())

    def connect(self, uri: str) -> Any:
        """Open the database."""
        # No statement cache: SQLite does not ask the authorizer again about a cached statement, so its tables and
        # functions would not be noted.
        return sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=0)

    def close(self) -> None:
        """Close the database."""
        self.raw.close()

    def _declare(self, sources: Iterable[str]) -> None:
        """Read from virtual tables once while everything is allowed.

        Their first use runs statements that declare them, which the authorizer would take for writes.
        """
        for source in sources:
            try:
                self.raw.execute(f"SELECT 1 FROM {source} LIMIT 0").fetchall()
            except sqlite3.Error:
                # This SQLite has no such module, or the table is damaged.
                continue

    def _out_of_time(self) -> bool:
        """SQLite calls this every `OPCODES_BETWEEN_CHECKS` steps, and interrupts the query when it is true."""
        self.checks += 1
        return self.budget.left() <= 0

    def _authorizer(self) -> Callable[..., int]:
        see, see_view, see_function = self.read.add, self.views_used.add, self.functions.add

        # Called for each column of each statement; local names are faster than attributes.
        def authorize(
            action: int, first: str | None, second: str | None, _database: str | None, inside: str | None
        ) -> int:
            if action == READ:
                see(first)
                if inside:
                    see_view(inside)
                return 0
            if action in (SELECT, RECURSIVE):
                return 0
            if action == FUNCTION:
                name = (second or "").lower()
                if name not in FORBIDDEN_FUNCTIONS:
                    see_function(name)
                    if inside:
                        see_view(inside)
                    return 0
            elif self.trusted or (action == PRAGMA and first == "data_version" and second is None):
                # Full-text tables ask for data_version to see whether they were written in the meantime.
                return 0
            self.denied = True
            return DENY

        return authorize

    def run(self, sql: str, timeout: float, allowance: float = INFINITY) -> Answer:
        """Run one statement and return its answer; `timeout` is in seconds by the clock, `allowance` in CPU seconds."""
        if not self.declared and any(name in sql.lower() for name in ("json_", "dbstat")):
            self.declared = True
            self._declare(("json_each('[]')", "json_tree('[]')", "dbstat"))
        self.denied = self.trusted = False
        self.checks = 0
        self.read.clear()
        self.views_used.clear()
        self.functions.clear()
        started = self.clock()
        self.budget = Budget(timeout, allowance)
        try:
            outcome = self._attempt(sql)
        except (
            sqlite3.Error,
            sqlite3.Warning,
            MemoryError,
            UnicodeError,
            ValueError,
            OverflowError,
        ) as error:
            status, message = self._explain(error)
            outcome = (status, (), [], message, False)
        finally:
            self.trusted = True
        status, columns, chunks, message, truncated = outcome
        seconds = self.clock() - started
        tables, volatile = None, ""
        if status == "ok":
            tables = [name for read in self.read if (name := (read or "").lower()) in self.tables]
            volatile = self._volatile(sql)
        return status, columns, chunks, seconds, message, truncated, tables, volatile, self.checks

    def _attempt(self, sql: str) -> Outcome:
        if len(sql) > self.settings["max_sql"]:
            return (
                "too_large",
                (),
                [],
                f"the statement has more than {self.settings['max_sql']} characters",
                False,
            )
        word = first_word(sql)
        if word in NOT_QUERIES:
            return "not_a_query", (), [], f"{word.upper() or 'an empty statement'} is not a query", False
        if word not in ROW_SOURCES:
            # Compile it without running it. What is no SQL at all raises here, so that its status is `failed`; what
            # compiles does something other than read.
            self.raw.execute("EXPLAIN " + sql).close()
            return "refused", (), [], f"{word.upper()} is not allowed", False
        try:
            return self._fetch(sql)
        except sqlite3.OperationalError as error:
            if "Could not decode" not in str(error):
                raise
        self.raw.text_factory = keep_undecodable
        try:
            return self._fetch(sql)
        finally:
            self.raw.text_factory = str

    def _fetch(self, sql: str) -> Outcome:
        max_rows, max_bytes = self.settings["max_rows"], self.settings["max_bytes"]
        if sys.version_info < (3, 11):
            # Python 3.10 cannot switch the statement cache off; a comment with a number makes every text a new one.
            self.count += 1
            sql = f"--{self.count}\n{sql}"
        cursor = self.raw.execute(sql)
        try:
            if cursor.description is None:
                return "not_a_query", (), [], "the statement returns no columns", False
            columns = tuple([column[0] for column in cursor.description])
            chunks, truncated = collect(cursor.fetchmany, max_rows, max_bytes)
        finally:
            cursor.close()
        if chunks is None:
            return "too_large", (), [], f"the result is larger than {max_bytes} bytes", False
        return "ok", columns, chunks, "", truncated

    def _explain(self, error: BaseException) -> tuple[str, str]:
        """Return the status and message of an error that a statement ended with."""
        message = str(error) or type(error).__name__
        if self.budget.over:
            return "timeout", f"interrupted after {self.budget.over}"
        if self.denied:
            return "refused", message
        if isinstance(error, MemoryError):
            return "too_large", "out of memory"
        if isinstance(error, sqlite3.DataError):
            return "too_large", message
        if message.startswith("You can only execute one statement"):
            return "several_statements", message
        return ("unavailable" if message.startswith(LOST) else "failed"), message

    def _volatile(self, sql: str) -> str:
        """Return `random` or `clock` if the statement that ran may give another result next time, else ""."""
        if self.functions & RANDOM_FUNCTIONS:
            return "random"
        if self.functions & CLOCK_FUNCTIONS:
            return "clock"
        if self.functions & DATE_FUNCTIONS:
            texts = [sql] + [self.views.get(name.lower(), "") for name in self.views_used]
            if any(map(may_read_clock, texts)):
                rows = self.settings["max_rows"] + 1
                return "clock" if reads_clock(self.uri, sql, rows, lambda: self.budget.left() <= 0) else ""
        return ""

    def schema(self) -> list[tuple[Any, ...]]:
        """Return the tables and views with their columns and keys, as `read_catalog` gives them."""
        self.raw.text_factory = leave_out_undecodable
        found = read_catalog(self.raw)
        self.raw.text_factory = str
        return found


def leave_out_undecodable(raw: bytes) -> str:
    """Return text without the bytes that are not UTF-8."""
    return raw.decode("utf-8", "ignore")


def keep_undecodable(raw: bytes) -> str:
    """Return text with a lone surrogate for each byte that is not UTF-8, so that different bytes stay different."""
    return raw.decode("utf-8", "surrogateescape")


class Databases:
    """The connections that this worker has open: the ones used last, as many as `ALL_BYTES` allows."""

    def __init__(
        self,
        settings: dict[str, Any],
        connect: Callable[[str, dict[str, Any]], Connection] = Connection,
    ) -> None:
        self.settings = settings
        self.connect = connect
        self.connections: OrderedDict[Any, Connection] = OrderedDict()
        self.bytes = 0

    def answer(
        self, kind: str, database: tuple[Any, str], sql: Any, timeout: float, allowance: float
    ) -> Answer:
        """Return the answer to one request."""
        if self.settings.get("clock") == "cpu":
            timeout, allowance = INFINITY, min(timeout, allowance)
        if kind == "build":
            return self._build(sql, timeout, allowance)
        key, uri = database
        connection = self.connections.pop(key, None)
        if connection is None:
            # Opening is not timed: if the disk hangs, that is not the query's fault, and the parent waits only so long.
            ALARMS.off()
            try:
                connection = self.connect(uri, self.settings)
            except (sqlite3.Error, MemoryError, UnicodeError) as error:
                return lost(error)
            # Close those used longest ago until all fit. Bytes are counted, so many small ones (neighbours) stay open.
            self.bytes += connection.bytes
            while self.connections and self.bytes > ALL_BYTES:
                self.close(self.connections.popitem(last=False)[1])
        ALARMS.set(timeout + self.settings["margin"], allowance)
        answer = self.work(connection, kind, sql, timeout, allowance)
        if key is None or answer[0] in ("unavailable", "too_large"):
            # Do not keep a connection that holds a lock, much memory, or is itself at fault.
            ALARMS.off()
            self.close(connection)
        else:
            self.connections[key] = connection
        return answer

    def _build(self, text: str, timeout: float, allowance: float) -> Answer:
        """Return the answer to a request of the kind `build`: a database made from text."""
        from finer_rewards.engines.sqlite.text_database import build_database

        ALARMS.set(timeout + self.settings["margin"], allowance)
        answer = build_database(text, self.settings, timeout, allowance, FORBIDDEN_FUNCTIONS)
        ALARMS.off()
        return answer

    def work(self, connection: Connection, kind: str, sql: Any, timeout: float, allowance: float) -> Answer:
        """Return the answer to a request on an open database."""
        if kind != "schema":
            return connection.run(sql, timeout, allowance)
        try:
            return "ok", (), [marshal.dumps(connection.schema())], 0.0, "", False, None, "", 0
        except (sqlite3.Error, UnicodeError, MemoryError) as error:
            return lost(error)

    def close(self, connection: Connection) -> None:
        """Close a connection."""
        self.bytes -= connection.bytes
        connection.close()


def limit_memory(settings: dict[str, Any]) -> None:
    """Limit SQLite's memory for the whole process."""
    connection = sqlite3.connect(":memory:")
    connection.execute(f"PRAGMA hard_heap_limit={settings['heap']}")
    connection.close()


def open_databases(settings: dict[str, Any]) -> Databases:
    """Return the object that answers requests; `executing/worker.py` calls this once."""
    limit_memory(settings)
    return Databases(settings)
