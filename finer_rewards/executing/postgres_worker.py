"""The worker process that runs SQL on PostgreSQL; the protocol and the loop are those of `worker.py`.

A statement runs as `DECLARE ... CURSOR FOR statement` in a read-only transaction that is rolled back: the server
itself takes nothing but one query there. What a read-only transaction still allows (sleeping, reading the
server's files, stopping other sessions, taking locks that outlive it, running text as SQL) is done by volatile
functions of the server and its extensions, and these are refused by name. The server cancels a query that runs
past its time; a worker that then still waits is ended by its own timer, and the server ends the session of a
client that is gone.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import marshal
import os
import re
import sys
import time
from collections import OrderedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Only the standard library is on the path: the folder of `worker.py` is there for this one import, and the
# folder of psycopg comes with the settings.
sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
import worker  # type: ignore[import-not-found] # noqa: E402

sys.path.pop()

#: Seconds between the deadline, at which the server cancels, and the one that kills: answers travel.
MARGIN = 0.5
SETTINGS = (
    "default_transaction_read_only = on",
    "TimeZone = 'UTC'",
    "DateStyle = 'ISO, YMD'",
    "IntervalStyle = 'postgres'",
    "bytea_output = 'hex'",
    "extra_float_digits = 1",
    "standard_conforming_strings = on",
    "client_encoding = 'UTF8'",
    "client_min_messages = error",
    "max_parallel_workers_per_gather = 0",
    "cursor_tuple_fraction = 1.0",
    "jit = off",
    "idle_in_transaction_session_timeout = '60s'",
)
#: What an old server does not know, or a role may not set.
WISHES = ("client_connection_check_interval = '100ms'",)
FUNCTIONS = """
    SELECT DISTINCT proname FROM pg_catalog.pg_proc p WHERE (provolatile = 'v' OR proname LIKE '%\\_to\\_xml%')
    AND prorettype <> ALL ('{trigger,event_trigger,tsm_handler,index_am_handler,table_am_handler}'::regtype[])
    AND (pronamespace = 'pg_catalog'::regnamespace OR EXISTS (SELECT FROM pg_catalog.pg_depend d
         WHERE d.objid = p.oid AND d.classid = 'pg_catalog.pg_proc'::regclass AND d.deptype = 'e'))
"""
#: Volatile functions that do no more than return a value.
HARMLESS = re.compile(
    r"clock_timestamp|timeofday|random|random_normal|gen_random_uuid|uuidv[47]|uuid_generate_\w+"
)
#: Of a number; a longer one is left as text, for no float is as large, nor may an `int` of any size be printed.
MOST_DIGITS = 300
WORD = re.compile(r"[a-z_\x80-\uffff][\w$]*")
ESCAPED_NAME = re.compile(r"u&\"", re.IGNORECASE)
RANDOM = re.compile(
    r"\b(?:random|random_normal|gen_random_uuid|uuidv[47]|uuid_generate_\w+)\s*\(|\btablesample\b(?!.*\brepeatable\b)",
    re.IGNORECASE | re.DOTALL,
)
CLOCK = re.compile(
    r"\b(?:current_date|current_time|current_timestamp|localtime|localtimestamp)\b"
    r"|\b(?:now|transaction_timestamp|statement_timestamp|clock_timestamp|timeofday)\s*\(\s*\)"
    r"|\bage\s*\([^(),]*\)|'(?:now|today|tomorrow|yesterday)'",
    re.IGNORECASE,
)
#: What was read: locks are held on every table and view that the query names, until the transaction ends.
READ = """
    SELECT c.relkind, c.relname, CASE WHEN c.relkind = 'v' THEN pg_catalog.pg_get_viewdef(c.oid) END
    FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
    WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND c.relkind IN ('r', 'p', 'm', 'f', 'v')
    AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
"""
SCHEMA = """
    SELECT c.oid, CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname
                  ELSE n.nspname || '.' || c.relname END, c.relkind = 'v',
        (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(a.attname,
            pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull) ORDER BY a.attnum)
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
        (SELECT pg_catalog.json_agg(pg_catalog.json_build_array(k.contype,
            (SELECT pg_catalog.json_agg(a.attname ORDER BY u.place) FROM pg_catalog.unnest(k.conkey)
             WITH ORDINALITY u(number, place) JOIN pg_catalog.pg_attribute a
             ON a.attrelid = k.conrelid AND a.attnum = u.number),
            (SELECT r.relname FROM pg_catalog.pg_class r WHERE r.oid = k.confrelid),
            (SELECT pg_catalog.json_agg(a.attname ORDER BY u.place) FROM pg_catalog.unnest(k.confkey)
             WITH ORDINALITY u(number, place) JOIN pg_catalog.pg_attribute a
             ON a.attrelid = k.confrelid AND a.attnum = u.number)) ORDER BY k.oid)
         FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'f'))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v') AND NOT c.relispartition
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%'
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') ORDER BY c.oid
"""
RIGHTS = """
    SELECT CASE WHEN (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN 'superuser'
    WHEN EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p'
        AND c.relnamespace <> ALL ('{pg_catalog,information_schema}'::regnamespace[])
        AND pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) THEN 'write' ELSE 'read' END
"""


class Failed(Exception):  # noqa: N818
    """The server refused a command."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Connection:
    """One session, in which each statement has a read-only transaction of its own."""

    def __init__(self, conninfo: str, settings: dict[str, Any], pq: Any) -> None:
        self.settings = settings
        self.pq = pq
        self.raw = pq.PGconn.connect(conninfo.encode())
        if self.raw.status != pq.ConnStatus.OK:
            raise Failed("08006", self.raw.error_message.decode("utf-8", "replace").strip())
        for setting in (*SETTINGS, *settings["session"]):
            self.ask(f"SET {setting}")
        for wish in (*WISHES, *settings["wishes"]):
            try:
                self.ask(f"SET {wish}")
            except Failed:
                continue
        self.rights = self.rows(RIGHTS)[0][0]
        if self.rights == "superuser" and not settings["superuser"]:
            raise Failed(
                "28000",
                "the role is a superuser, for whom nothing is forbidden: pass one that may only read (CREATE ROLE "
                "reader LOGIN; GRANT pg_read_all_data TO reader), or superuser=True",
            )
        self.forbidden = {name for (name,) in self.rows(FUNCTIONS) if not HARMLESS.fullmatch(name)}

    def ask(self, sql: str, alone: bool = False) -> Any:
        """Return the result of a command; `alone` takes one statement only."""
        text = sql.encode("utf-8")
        result = self.raw.exec_params(text, None) if alone else self.raw.exec_(text)
        status = self.pq.ExecStatus
        if result.status not in (status.COMMAND_OK, status.TUPLES_OK):
            field = self.pq.DiagnosticField
            code = (result.error_field(field.SQLSTATE) or b"").decode()
            message = (
                result.error_field(field.MESSAGE_PRIMARY) or result.error_message or self.raw.error_message
            )
            if result.status == status.EMPTY_QUERY:
                code, message = "42601", b"an empty statement is not a query"
            raise Failed(code, message.decode("utf-8", "replace").strip())
        return result

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query of our own, as text."""
        return rows_of(self.ask(sql), [text] * 99)

    def run(self, sql: str, timeout: float) -> Any:
        """Run one statement and return its answer."""
        started = time.monotonic()
        tables, kind = None, ""
        try:
            outcome = self._attempt(sql, started + timeout)
            if outcome[0] == "ok":
                tables, kind = self._facts(sql)
        except (Failed, MemoryError, ValueError, OverflowError) as error:
            status, message = self._explain(error, timeout)
            outcome = (status, (), [], message, False)
        try:
            if self.raw.transaction_status != self.pq.TransactionStatus.IDLE:
                self.ask("ROLLBACK")
        except Failed as error:
            if outcome[0] != "timeout":
                outcome = ("unavailable", (), [], str(error), False)
        status, columns, chunks, message, truncated = outcome
        return status, columns, chunks, time.monotonic() - started, message, truncated, tables, kind, None

    def _attempt(self, sql: str, deadline: float) -> Any:
        if len(sql) > self.settings["max_sql"]:
            return (
                "too_large",
                (),
                [],
                f"the statement has more than {self.settings['max_sql']} characters",
                False,
            )
        if "\0" in sql:
            return "failed", (), [], "the statement holds a NUL character", False
        word = worker.first_word(sql)
        if word in ("", "explain", "show", "analyze"):
            return "not_a_query", (), [], f"{word.upper() or 'an empty statement'} is not a query", False
        if word not in ("select", "with", "values", "table", "?"):
            return self._judge(sql, word)
        found = sorted(self.forbidden.intersection(WORD.findall(sql.lower())))
        if found or ESCAPED_NAME.search(sql):
            return "refused", (), [], f"{found[0] if found else 'a name with escapes'} is not allowed", False
        self.ask(f"BEGIN READ ONLY; {until(deadline)}")
        self.ask(f"DECLARE answer NO SCROLL CURSOR FOR {sql}", alone=True)
        columns: list[str] = []
        converters: list[Callable[[bytes], Any]] = []

        def fetch(count: int) -> list[Any]:
            result = self.ask(f"{until(deadline)}; FETCH {count} FROM answer")
            if not columns:
                columns.extend((result.fname(place) or b"").decode() for place in range(result.nfields))
                converters.extend(
                    CONVERTERS.get(result.ftype(place), text) for place in range(result.nfields)
                )
            return rows_of(result, converters)

        max_bytes = self.settings["max_bytes"]
        chunks, truncated = worker.collect(fetch, self.settings["max_rows"], max_bytes)
        if chunks is None:
            return "too_large", (), [], f"the result is larger than {max_bytes} bytes", False
        return "ok", tuple(columns), chunks, "", truncated

    def _judge(self, sql: str, word: str) -> Any:
        """Compile what is no query: either it is no SQL, or it is SQL that does not read."""
        self.ask("BEGIN READ ONLY")
        result = self.raw.prepare(b"", sql.encode())
        if result.status != self.pq.ExecStatus.COMMAND_OK:
            field = self.pq.DiagnosticField
            code = (result.error_field(field.SQLSTATE) or b"").decode()
            message = (result.error_field(field.MESSAGE_PRIMARY) or b"").decode("utf-8", "replace")
            if code.startswith("42") and code != "42501":
                raise Failed(code, message)
        return "refused", (), [], f"{word.upper()} is not allowed", False

    def _facts(self, sql: str) -> tuple[list[str], str]:
        """Return the tables read, and whether the query or a view it reads is random or reads the clock."""
        tables, texts = [], [sql]
        for kind, name, definition in self.rows(READ):
            if kind == "v":
                texts.append(definition or "")
            else:
                tables.append(name.lower())
        whole = "\n".join(texts)
        return tables, "random" if RANDOM.search(whole) else "clock" if CLOCK.search(whole) else ""

    def _explain(self, error: BaseException, timeout: float) -> tuple[str, str]:
        message = str(error) or type(error).__name__
        code = error.code if isinstance(error, Failed) else ""
        if isinstance(error, MemoryError) or (not code and "out of memory" in message):
            return "too_large", message
        if code == "57014":
            if "statement timeout" in message:
                return "timeout", f"cancelled after {timeout:g} s"
            return "unavailable", message
        if code == "42601" and "multiple commands" in message:
            return "several_statements", "there are several statements"
        if (
            code in ("25006", "42P11", "42501")
            or (code == "0A000" and "data-modifying" in message)
            or ("INTO is not allowed" in message)
        ):
            return "refused", message
        if code in ("53200", "53400") or code.startswith("54"):
            return "too_large", message
        lost = not code or code[:2] in ("08", "40", "53", "55", "58") or code[:3] in ("57P", "XX1", "XX2")
        if isinstance(error, Failed) and (lost or self.raw.status != self.pq.ConnStatus.OK):
            return "unavailable", message or "the server closed the connection"
        return "failed", message

    def schema(self) -> list[Any]:
        """Return (name, columns, keys, view) of tables and views."""
        import json

        names = {"p": "PRIMARY KEY", "u": "UNIQUE", "f": "FOREIGN KEY"}
        return [
            (
                name,
                json.loads(columns or "[]"),
                [(names[kind], *rest) for kind, *rest in json.loads(keys or "[]")],
                view == "t",
            )
            for _, name, view, columns, keys in self.rows(SCHEMA)
        ]

    def about(self) -> list[Any]:
        """Return the server's version and what the role may do."""
        return [self.rows("SHOW server_version")[0][0], self.rights]


def until(deadline: float) -> str:
    """Return the command by which the server keeps the deadline."""
    left = max(1, round(1000 * (deadline - time.monotonic())))
    return f"SET LOCAL statement_timeout = {left}"


def rows_of(result: Any, converters: list[Callable[[bytes], Any]]) -> list[tuple[Any, ...]]:
    """Return the rows of a result, each column through its converter."""
    value, width = result.get_value, range(result.nfields)
    return [
        tuple([None if (cell := value(row, place)) is None else converters[place](cell) for place in width])
        for row in range(result.ntuples)
    ]


def text(cell: bytes) -> str:
    """Return a value as the server writes it."""
    return cell.decode("utf-8", "replace")


def truth(cell: bytes) -> int:
    """Return a boolean as SQLite has it."""
    return int(cell == b"t")


def number(cell: bytes) -> Any:
    """Return a decimal number as SQLite keeps it: whole numbers whole, others as floats."""
    if len(cell) > MOST_DIGITS:
        return text(cell)
    whole, _, part = cell.partition(b".")
    if part.strip(b"0") or not whole.lstrip(b"-").isdigit():
        return float(cell)
    return int(whole)


def padded(cell: bytes) -> str:
    """Return CHAR(n) without the spaces that fill it up, which mean nothing."""
    return text(cell).rstrip(" ")


def binary(cell: bytes) -> bytes:
    """Return bytes that were written as hexadecimal digits."""
    return bytes.fromhex(cell[2:].decode())


#: By the number that the server gives a type; all others are text as the server writes it.
CONVERTERS: dict[int, Callable[[bytes], Any]] = {
    16: truth,
    17: binary,
    20: int,
    21: int,
    23: int,
    26: int,
    700: float,
    701: float,
    1042: padded,
    1700: number,
}


class Databases:
    """The open sessions, the most recently used ones."""

    def __init__(self, settings: dict[str, Any]) -> None:
        sys.path += settings["packages"]
        from psycopg import OperationalError, pq

        self.pq = pq
        self.lost = OperationalError
        self.settings = settings
        self.connections: OrderedDict[Any, Connection] = OrderedDict()

    def answer(self, kind: str, database: tuple[Any, str], sql: str, timeout: float) -> Any:
        """Return the answer to one request."""
        key, conninfo = database
        connection = self.connections.pop(key, None)
        if connection is not None and not self._alive(connection):
            connection = None
        if connection is None:
            while len(self.connections) >= self.settings["max_connections"]:
                self.connections.popitem(last=False)[1].raw.finish()
            try:
                connection = Connection(conninfo, self.settings, self.pq)
            except (Failed, MemoryError, UnicodeError) as error:
                return worker.lost(error)
        signal.setitimer(signal.ITIMER_REAL, timeout + MARGIN)
        if kind == "run":
            answer = connection.run(sql, timeout)
        else:
            try:
                found = connection.schema() if kind == "schema" else connection.about()
                answer = ("ok", (), [marshal.dumps(found)], 0.0, "", False, None, "", None)
            except Failed as error:
                answer = worker.lost(error)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if answer[0] == "unavailable" or connection.raw.status != self.pq.ConnStatus.OK:
            connection.raw.finish()
        else:
            self.connections[key] = connection
        return answer

    def _alive(self, connection: Connection) -> bool:
        """Whether the server has not closed a session that was kept; asked of the socket, not of the server."""
        import select

        try:
            if select.select([connection.raw.socket], [], [], 0)[0]:
                connection.raw.consume_input()
        except (self.lost, OSError):
            connection.raw.finish()
            return False
        return bool(connection.raw.status == self.pq.ConnStatus.OK)


if __name__ == "__main__":
    worker.main(Databases)
