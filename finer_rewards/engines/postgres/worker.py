"""The worker program that runs SQL on PostgreSQL; protocol and loop are those of `executing/worker.py`.

A statement runs as `DECLARE ... CURSOR FOR statement` in a read-only transaction that is rolled back; in that place
the server itself accepts one query and nothing else. A read-only transaction still allows sleeping, reading the
server's files, stopping other sessions, taking locks that outlive it and running text as SQL. All of that is done by
volatile functions of the server and its extensions: a text with the name of one, even in a literal, is refused.

The server cancels a query that runs past its time. When it does not even report that, the session is given up and the
query runs once more in a new session. Only a query that silences two sessions, each of which had answered just before,
is itself to blame. A server that does not answer the worker's own commands counts as lost. When a client is gone, the
server ends its session.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]
import marshal
import select
import sys
import time
from collections import OrderedDict

from finer_rewards.engines.postgres.catalog import (
    CALL,
    CLOCK,
    ESCAPED_NAME,
    FUNCTIONS,
    HARMLESS,
    MADE_TIME,
    MOMENT,
    MOMENT_IN_TEXT,
    MOVING,
    RANDOM,
    READ,
    RIGHTS,
    SCHEMA,
    SECRET,
    STATE,
    TEXT,
    WORD,
)
from finer_rewards.engines.postgres.cells import CONVERTERS, rows_of, text
from finer_rewards.executing import worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


#: The server cancels a query at its deadline; this many seconds later its session is given up, as answers need time to
#: arrive.
MARGIN = 1.0
#: A server that could not be reached is not tried again for this many seconds, so that a whole batch waits only once.
PAUSE = 10.0
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
#: Settings that may fail: an old server does not know them, or the role may not set them.
WISHES = ("client_connection_check_interval = '100ms'",)


class Failed(Exception):  # noqa: N818
    """The server refused a command."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Silent(Exception):  # noqa: N818
    """The server does not answer.

    Args:
        query: true when it was running a user's query, false when it was asked something by the worker itself.
        seconds: how long it did not answer.
    """

    def __init__(self, query: bool, seconds: float) -> None:
        super().__init__(f"the server did not answer for {seconds:.1f} s")
        self.query = query


class Connection:
    """One session, in which each statement has a read-only transaction of its own."""

    def __init__(self, conninfo: str, settings: dict[str, Any], pq: Any, lost: type[Exception]) -> None:
        self.settings = settings
        self.pq = pq
        self.lost = lost
        self.good = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)
        self.raw = pq.PGconn.connect(conninfo.encode())
        if self.raw.status != pq.ConnStatus.OK:
            raise Failed("08006", self.raw.error_message.decode("utf-8", "replace").strip())
        self.raw.nonblocking = 1
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
        self.state = {name for (name,) in self.rows(STATE)}
        self.forbidden = {name for (name,) in self.rows(FUNCTIONS) if not HARMLESS.fullmatch(name)} | SECRET

    def ask(self, sql: str, deadline: float | None = None, *, alone: bool = False) -> Any:
        """Return the result of a command.

        Args:
            sql: the command.
            deadline: when the server cancels it, for a user's query; `None` for the worker's own commands, which take
                no time.
            alone: whether the server has to refuse more than one statement.
        """
        send = (lambda text: self.raw.send_query_params(text, None)) if alone else self.raw.send_query
        result = self._hear(send, sql.encode(), deadline)
        if result.status not in self.good:
            raise self._failed(result)
        return result

    def _hear(self, send: Callable[[bytes], None], sql: bytes, deadline: float | None) -> Any:
        """Send a command, wait for all its results, and return the first failure, or the last result if none failed."""
        began = time.monotonic()
        until = began + self.settings["patience"] if deadline is None else max(began, deadline) + MARGIN
        found = None
        try:
            send(sql)
            while True:
                self._wait(until)
                result = self.raw.get_result()
                if result is None:
                    return found
                if found is None or found.status in self.good:
                    found = result
        except TimeoutError:
            raise Silent(deadline is not None, time.monotonic() - began) from None
        except self.lost as error:
            raise Failed("", str(error)) from None

    def _wait(self, until: float) -> None:
        """Wait until a result has arrived; raises `TimeoutError` when that takes too long."""
        unsent = self.raw.flush()
        while self.raw.is_busy():
            poll = select.poll()
            poll.register(self.raw.socket, select.POLLIN | (select.POLLOUT if unsent else 0))
            if not poll.poll(max(0.0, 1000 * (until - time.monotonic()))):
                raise TimeoutError
            self.raw.consume_input()
            unsent = unsent and self.raw.flush()

    def _failed(self, result: Any) -> Failed:
        field = self.pq.DiagnosticField
        code = (result.error_field(field.SQLSTATE) or b"").decode()
        message = result.error_field(field.MESSAGE_PRIMARY) or result.error_message or self.raw.error_message
        if result.status == self.pq.ExecStatus.EMPTY_QUERY:
            code, message = "42601", b"an empty statement is not a query"
        return Failed(code, message.decode("utf-8", "replace").strip())

    def rows(self, sql: str, deadline: float | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query of the worker's own, as text."""
        found: list[tuple[Any, ...]] = rows_of(self.ask(sql, deadline), [text] * 99)
        return found

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
            return self._judge(sql, word, deadline)
        found = sorted(self.forbidden.intersection(WORD.findall(sql.lower())))
        if found or ESCAPED_NAME.search(sql):
            return "refused", (), [], f"{found[0] if found else 'a name with escapes'} is not allowed", False
        self.ask(f"BEGIN READ ONLY; {until(deadline)}")
        self.ask(f"DECLARE answer NO SCROLL CURSOR FOR {sql}", deadline, alone=True)
        columns: list[str] = []
        converters: list[Callable[[bytes], Any]] = []

        def fetch(count: int) -> list[Any]:
            result = self.ask(f"{until(deadline)}; FETCH {count} FROM answer", deadline)
            if not columns:
                columns.extend((result.fname(place) or b"").decode() for place in range(result.nfields))
                converters.extend(
                    CONVERTERS.get(result.ftype(place), text) for place in range(result.nfields)
                )
            rows: list[Any] = rows_of(result, converters)
            return rows

        max_bytes = self.settings["max_bytes"]
        chunks, truncated = worker.collect(fetch, self.settings["max_rows"], max_bytes)
        if chunks is None:
            return "too_large", (), [], f"the result is larger than {max_bytes} bytes", False
        return "ok", tuple(columns), chunks, "", truncated

    def _judge(self, sql: str, word: str, deadline: float) -> Any:
        """Return the outcome of a statement that is no query: a syntax error if it does not compile, else a refusal."""
        self.ask(f"BEGIN READ ONLY; {until(deadline)}")
        result = self._hear(lambda text: self.raw.send_prepare(b"", text), sql.encode(), deadline)
        if result.status not in self.good:
            failed = self._failed(result)
            if failed.code.startswith("42") and failed.code != "42501":
                raise failed
        return "refused", (), [], f"{word.upper()} is not allowed", False

    def _facts(self, sql: str) -> tuple[list[str], str]:
        """Return the tables read, and `random` or `clock` if the query or a view that it reads is that, else ""."""
        tables, texts = [], [sql]
        for kind, name, definition in self.rows(READ):
            if kind == "v":
                texts.append(definition or "")
            else:
                tables.append(name.lower())
        whole = "\n".join(texts)
        moves = MOVING.search(whole) or self.state.intersection(CALL.findall(whole.lower()))
        if moves or RANDOM.search(whole):
            return tables, "random"
        reads = CLOCK.search(whole) or any(map(MOMENT.search, texts[1:])) or self._names_a_moment(sql)
        return tables, "clock" if reads else ""

    def _names_a_moment(self, sql: str) -> bool:
        """Whether literals such as `'now'` mean times in a query: the plan shows which of them stayed text."""
        words = MOMENT.findall(sql)
        if not words:
            return False
        result = self.ask(f"EXPLAIN (VERBOSE, COSTS OFF) {sql}", alone=True)
        plan = "\n".join(row[0] for row in rows_of(result, [text]))
        kept = sum(len(MOMENT_IN_TEXT.findall(part)) for part in TEXT.findall(plan))
        return kept < len(words) or MADE_TIME.search(plan) is not None

    def _explain(self, error: BaseException, timeout: float) -> tuple[str, str]:
        """Return the status and message of an error, by its SQLSTATE code (PostgreSQL's manual, appendix A)."""
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

    def schema(self, deadline: float) -> list[Any]:
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
            for _, name, view, columns, keys in self.rows(SCHEMA, deadline)
        ]

    def about(self) -> list[Any]:
        """Return the server's version and what the role may do."""
        return [self.rows("SHOW server_version")[0][0], self.rights]


def until(deadline: float) -> str:
    """Return the command that makes the server cancel a query at the deadline."""
    left = max(1, round(1000 * (deadline - time.monotonic())))
    return f"SET LOCAL statement_timeout = {left}"


class Databases:
    """The sessions that this worker has open: the ones used last, up to `max_connections`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        sys.path += settings["packages"]
        from psycopg import OperationalError, pq

        self.pq = pq
        self.lost = OperationalError
        self.settings = settings
        self.connections: OrderedDict[Any, Connection] = OrderedDict()
        self.unreachable: dict[str, tuple[float, str]] = {}

    def answer(self, kind: str, database: tuple[Any, str], sql: str, timeout: float, allowance: float) -> Any:
        """Return the answer to one request; a session that falls silent, or ends, is replaced once."""
        key, conninfo = database
        # The server's CPU time cannot be seen from here, so an allowance counts as seconds by the clock.
        timeout = min(timeout, allowance)
        for again in (False, True):
            connection = self.connections.pop(key, None)
            kept = connection is not None and self._alive(connection)
            try:
                if connection is None or not kept:
                    connection = self._connect(conninfo)
                answer = self._ask(connection, kind, sql, timeout)
            except Silent as silence:
                if connection is not None:
                    connection.raw.finish()
                if again and silence.query:
                    why = f"twice the server said nothing for {MARGIN:g} s after the limit of {timeout:g} s"
                    return "timeout", (), [], timeout, why, False, None, "", None
                failure: Exception = silence
                continue
            except (Failed, MemoryError, UnicodeError) as error:
                return worker.lost(error)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            ended = connection.raw.status != self.pq.ConnStatus.OK
            if answer[0] == "unavailable" or ended:
                connection.raw.finish()
                # The server ended a session kept from before. That says nothing about the query, which only reads, so
                # it can run again in a new session.
                if ended and kept and not again:
                    failure = Failed("08006", answer[3])
                    continue
            else:
                self.connections[key] = connection
            return answer
        return worker.lost(failure)

    def _ask(self, connection: Connection, kind: str, sql: str, timeout: float) -> Any:
        """Ask a session and return its answer."""
        # Waiting for the server always ends by itself; the kernel's timer is for a result that takes too long to read.
        signal.setitimer(signal.ITIMER_REAL, timeout + MARGIN + 2 * self.settings["patience"])
        if kind == "run":
            return connection.run(sql, timeout)
        found = connection.about() if kind == "about" else connection.schema(time.monotonic() + timeout)
        return "ok", (), [marshal.dumps(found)], 0.0, "", False, None, "", None

    def _connect(self, conninfo: str) -> Connection:
        """Open a session; if there are too many, close the one that was used longest ago."""
        while len(self.connections) >= self.settings["max_connections"]:
            self.connections.popitem(last=False)[1].raw.finish()
        since, why = self.unreachable.get(conninfo, (-PAUSE, ""))
        began = time.monotonic()
        if began - since < PAUSE:
            raise Failed("08006", why)
        try:
            return Connection(conninfo, self.settings, self.pq, self.lost)
        except (Failed, Silent) as error:
            if time.monotonic() - began > 1.0:
                self.unreachable = {conninfo: (time.monotonic(), str(error))}
            raise

    def _alive(self, connection: Connection) -> bool:
        """Whether a kept session is still open. It should be silent: what a server sends unasked is that it ends."""
        if select.select([connection.raw.socket], [], [], 0)[0]:
            connection.raw.finish()
            return False
        return bool(connection.raw.status == self.pq.ConnStatus.OK)


open_databases = Databases
