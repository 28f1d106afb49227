"""The worker program that runs SQL on DuckDB; protocol and loop are those of `executing/worker.py`.

DuckDB has no authorizer, so a statement is judged by its parse tree before it runs: it must be one SELECT, call no
table function but the few that only make rows, and read no view of the engine's own state. As a second line of
defence, files, settings and extensions are out of reach: the configuration is set once and locked, the database is
opened read-only, and the process can neither write files nor take more memory.
"""

from __future__ import annotations

import marshal
import resource
import sys
import threading
import time
from collections import OrderedDict

from finer_rewards.engines.duckdb.cells import (
    EndOfTimeError,
    asking_for_endless,
    at_an_end,
    converted,
    converter_of,
    may_be_endless,
    utc_module,
    with_endless,
)
from finer_rewards.executing import worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


#: In this order: the last one locks the others.
SETTINGS = (
    "TimeZone = 'UTC'",
    "temp_directory = ''",
    "max_temp_directory_size = '0KB'",
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "allow_community_extensions = false",
    "python_enable_replacements = false",
    "enable_external_access = false",
    "lock_configuration = true",
)
#: Table functions that only make rows out of their arguments; all others read files or settings, or run text as SQL.
ROW_MAKERS = frozenset(
    ("generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest")
)
#: Functions that read or change state outside their arguments, or wait.
FORBIDDEN_FUNCTIONS = frozenset(
    ("current_query", "currval", "getvariable", "nextval", "setseed", "setval", "sleep_ms", "write_log")
)
CLOCK_WORDS = frozenset(("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"))
#: How the names of views of the engine's own state begin.
ENGINE_STATE = ("duckdb_", "pragma_")


def _literal(text: str) -> str:
    """Return a text as SQL writes it.

    Parameters are not used: before DuckDB 2 the first one imports numpy and pandas, which takes seconds.
    """
    return "'" + text.replace("'", "''") + "'"


class Watch:
    """Interrupts a query that runs past its deadline; one thread for all queries."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.interrupt: Callable[[], None] | None = None
        self.budget = worker.Budget(worker.INFINITY)
        threading.Thread(target=self._watch, daemon=True).start()

    def start(self, interrupt: Callable[[], None], budget: worker.Budget) -> None:
        """Begin to watch a query."""
        with self.changed:
            self.interrupt, self.budget = interrupt, budget
            self.changed.notify()

    def stop(self) -> None:
        """Stop watching: the query has ended."""
        with self.changed:
            self.interrupt = None

    def _watch(self) -> None:
        with self.changed:
            while True:
                left = None if self.interrupt is None else self.budget.left()
                if left is not None and left <= 0 and self.interrupt is not None:
                    # Repeat until the query ends, because an interrupt between two of its steps may be lost.
                    self.interrupt()
                    left = 0.01
                self.changed.wait(left)


class Connection:
    """An open read-only database, with what is known of its views, macros and functions."""

    def __init__(self, path: str, settings: dict[str, Any], duckdb: Any, watch: Watch) -> None:
        self.settings = settings
        self.duckdb = duckdb
        self.watch = watch
        self.path = path
        self.exhausted = False
        self.raw = duckdb.connect(path, read_only=True, config={"threads": "1"})
        self.raw.execute(f"SET memory_limit = '{settings['data'] // 2}B'")
        for setting in SETTINGS:
            self.raw.execute(f"SET {setting}")
        self.functions: dict[str, str] = {}
        # A function counts as random or reading the clock only if none of its overloads is consistent: DuckDB 2 calls
        # even `+` inconsistent for times with a zone, whose result depends on a setting.
        for name, volatile in self.raw.execute(
            "SELECT lower(function_name), bool_or(stability = 'VOLATILE') FROM duckdb_functions()"
            " GROUP BY ALL HAVING bool_and(stability <> 'CONSISTENT')"
        ).fetchall():
            self.functions[name] = "random" if volatile else "clock"
        for name in (
            "current_database",
            "current_schema",
            "current_schemas",
            "current_setting",
            "error",
            "in_search_path",
        ):
            self.functions.pop(name, None)
        self.own_macros = self._names("SELECT function_name FROM duckdb_functions() WHERE NOT internal")
        self.own_tables = self._names(
            "SELECT table_name FROM duckdb_tables() UNION SELECT view_name FROM duckdb_views() WHERE NOT internal"
        )
        self.views = self._names("SELECT view_name FROM duckdb_views() WHERE NOT internal")
        self.kinds_of_views: dict[str, str] = {}
        self.macros: dict[str, list[str]] = {}
        for name, text in self.raw.execute(
            "SELECT lower(function_name), CASE function_type WHEN 'macro' THEN 'SELECT ' ELSE '' END"
            " || macro_definition FROM duckdb_functions() WHERE macro_definition IS NOT NULL"
        ).fetchall():
            self.macros.setdefault(name, []).append(text)
        self.of_macros: dict[str, tuple[str, str]] = {}

    def _names(self, sql: str) -> set[str]:
        return {name.lower() for (name,) in self.raw.execute(sql).fetchall()}

    def _kind_of_view(self, name: str) -> str:
        """Return `clock` or `random` if a view is that, else an empty text."""
        if name in self.kinds_of_views or name not in self.views:
            return self.kinds_of_views.get(name, "")
        self.kinds_of_views[name] = ""
        for (text,) in self.raw.execute(
            f"SELECT sql FROM duckdb_views() WHERE lower(view_name) = {_literal(name)} AND NOT internal"
        ).fetchall():
            # The query of the view stands behind the first AS after which the text can be parsed.
            at = text.upper().find(" AS ")
            while at >= 0:
                tree = self._tree(self.raw, text[at + 4 :].rstrip().rstrip(";"))
                if tree is not None:
                    self.kinds_of_views[name] = self._look_through(tree)[1]
                    break
                at = text.upper().find(" AS ", at + 1)
        return self.kinds_of_views[name]

    def _of_macro(self, name: str) -> tuple[str, str]:
        """Return what a macro does that is not allowed (or ""), and `random`, `clock` or ""."""
        if name not in self.of_macros:
            # Set first, because a macro may call a function of the same name.
            self.of_macros[name] = ("", "")
            trees = [self._tree(self.raw, text) for text in self.macros.get(name, ())]
            self.of_macros[name] = self._look_through([tree for tree in trees if tree is not None])
        return self.of_macros[name]

    def _tree(self, session: Any, sql: str) -> Any:
        """Return DuckDB's parse tree of a statement; `None` when it cannot give one."""
        import json

        (text,) = session.execute(f"SELECT json_serialize_sql({_literal(sql)})").fetchone()
        found = json.loads(text)
        return None if found["error"] else found["statements"]

    def run(self, sql: str, timeout: float, allowance: float) -> Any:
        """Run one statement and return its answer."""
        started = time.monotonic()
        # A cursor is a session: temporary tables and variables end with it.
        cursor = self.raw.cursor()
        self.watch.start(cursor.interrupt, worker.Budget(timeout, allowance))
        tables, kind = None, ""
        try:
            outcome, kind = self._attempt(cursor, sql)
            if outcome[0] == "ok":
                tables = sorted(name.lower() for name in cursor.get_table_names(sql))
        except (
            self.duckdb.Error,
            MemoryError,
            RecursionError,
            UnicodeError,
            ValueError,
            OverflowError,
        ) as error:
            outcome = (*self._explain(error), False)
        finally:
            self.watch.stop()
            cursor.close()
        status, columns, chunks, message, truncated = outcome
        return status, columns, chunks, time.monotonic() - started, message, truncated, tables, kind, None

    def _attempt(self, cursor: Any, sql: str) -> tuple[Any, str]:
        def end(status: str, why: str) -> tuple[Any, str]:
            return (status, (), [], why, False), ""

        if len(sql) > self.settings["max_sql"]:
            return end("too_large", f"the statement has more than {self.settings['max_sql']} characters")
        # Raises for half a surrogate pair, which would crash the engine.
        sql.encode()
        statements = cursor.extract_statements(sql)
        if not statements:
            return end("not_a_query", "an empty statement is not a query")
        if len(statements) > 1:
            return end("several_statements", f"there are {len(statements)} statements")
        word = str(statements[0].type).rpartition(".")[2]
        if word in ("EXPLAIN", "PRAGMA"):
            return end("not_a_query", f"{word} is not a query")
        if word == "MULTI":
            return end("refused", "PIVOT without IN is several statements, which is not allowed")
        if word != "SELECT":
            return end("refused", f"{word.replace('_', ' ')} is not allowed")
        tree = self._tree(cursor, sql)
        if tree is None:
            return end("refused", "the statement cannot be judged, so it is not allowed")
        refused, kind = self._look_through(tree)
        if refused:
            return end("not_a_query" if refused == "SHOW" else "refused", f"{refused} is not allowed")
        cursor.execute(sql)
        columns = tuple([column[0] for column in cursor.description])
        kinds = [str(column[1]) for column in cursor.description]
        converters = [
            (place, converter)
            for place, one in enumerate(kinds)
            if (converter := converter_of(one)) is not None
        ]
        moments = [place for place, one in enumerate(kinds) if may_be_endless(one)]

        def fetch(count: int) -> list[Any]:
            rows = cursor.fetchmany(count)
            if any(row[place] is not None and at_an_end(row[place]) for place in moments for row in rows):
                raise EndOfTimeError
            return [converted(row, converters) for row in rows] if converters else rows

        def fetch_told(count: int) -> list[Any]:
            # Rows of the second query, which says beside each date whether it is infinite: Python's dates cannot.
            return [
                with_endless(converted(row, converters), moments, len(kinds))
                for row in cursor.fetchmany(count)
            ]

        max_bytes = self.settings["max_bytes"]
        try:
            chunks, truncated = worker.collect(fetch, self.settings["max_rows"], max_bytes)
        except EndOfTimeError:
            cursor.execute(asking_for_endless(sql, moments, len(kinds)))
            chunks, truncated = worker.collect(fetch_told, self.settings["max_rows"], max_bytes)
        if chunks is None:
            return end("too_large", f"the result is larger than {max_bytes} bytes")
        return ("ok", columns, chunks, "", truncated), kind

    def _look_through(self, tree: Any) -> tuple[str, str]:
        """Return what a parse tree holds that is not allowed (or ""), and `random`, `clock` or ""."""
        kinds = set()
        waiting = [tree]
        while waiting:
            node = waiting.pop()
            if isinstance(node, list):
                waiting += node
                continue
            if not isinstance(node, dict):
                continue
            kind = node.get("type")
            if kind == "SHOW_REF":
                return "SHOW", ""
            if kind == "TABLE_FUNCTION":
                name = str(node["function"].get("function_name", "?")).lower()
                if name not in ROW_MAKERS and name not in self.own_macros:
                    return f"the table function {name}", ""
                refused, of_macro = self._of_macro(name)
                if refused:
                    return refused, ""
                kinds.add(of_macro)
            elif kind == "BASE_TABLE":
                name = str(node.get("table_name", "")).lower()
                if name.startswith(ENGINE_STATE) and name not in self.own_tables:
                    return f"reading {name}", ""
                kinds.add(self._kind_of_view(name))
            elif "function_name" in node:
                name = str(node["function_name"]).lower()
                if name in FORBIDDEN_FUNCTIONS:
                    return f"the function {name}", ""
                refused, of_macro = self._of_macro(name)
                if refused:
                    return refused, ""
                kinds |= {self.functions.get(name, ""), of_macro}
                # With one argument, age() counts to today. DuckDB 2 calls the list of arguments otherwise.
                if name == "age" and len(node.get("children") or node.get("arguments") or ()) == 1:
                    kinds.add("clock")
            elif kind == "COLUMN_REF":
                # `current_date` and the like are written without parentheses, so they look like columns.
                names = node.get("column_names") or []
                if len(names) == 1 and str(names[0]).lower() in CLOCK_WORDS:
                    kinds.add("clock")
            sample = node.get("sample")
            if isinstance(sample, dict) and sample.get("seed") in (None, -1):
                kinds.add("random")
            waiting += node.values()
        return "", "random" if "random" in kinds else "clock" if "clock" in kinds else ""

    def _explain(self, error: BaseException) -> tuple[str, tuple[str, ...], list[bytes], str]:
        message = str(error).strip() or type(error).__name__
        if self.watch.budget.over:
            status, message = "timeout", f"interrupted after {self.watch.budget.over}"
        elif isinstance(error, (self.duckdb.OutOfMemoryException, MemoryError)) or "bad_alloc" in message:
            status = "too_large"
            self.exhausted = True
        elif isinstance(error, RecursionError):
            status, message = "too_large", "the statement is nested too deeply"
        elif isinstance(error, self.duckdb.PermissionException):
            status = "refused"
        elif isinstance(error, self.duckdb.IOException):
            status = "unavailable"
        else:
            status = "failed"
        return status, (), [], message

    def schema(self) -> list[Any]:
        """Return (name, columns, keys, view) of tables and views."""
        found = []
        for schema, table, view in self.raw.execute(
            "SELECT schema_name, table_name, false FROM duckdb_tables() WHERE NOT internal"
            " AND database_name = current_database() UNION ALL"
            " SELECT schema_name, view_name, true FROM duckdb_views() WHERE NOT internal"
            " AND database_name = current_database() ORDER BY 3, 1, 2"
        ).fetchall():
            where = (
                f"database_name = current_database() AND schema_name = {_literal(schema)}"
                f" AND table_name = {_literal(table)}"
            )
            columns = self.raw.execute(
                f"SELECT column_name, data_type, NOT is_nullable FROM duckdb_columns() WHERE {where}"
                " ORDER BY column_index"
            ).fetchall()
            keys = self.raw.execute(
                "SELECT constraint_type, constraint_column_names, referenced_table, referenced_column_names"
                f" FROM duckdb_constraints() WHERE {where}"
                " AND constraint_type IN ('PRIMARY KEY', 'UNIQUE', 'FOREIGN KEY') ORDER BY constraint_index"
            ).fetchall()
            found.append((table if schema == "main" else f"{schema}.{table}", columns, keys, view))
        return found


class Databases:
    """The databases that this worker has open: the ones used last, up to `max_connections`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        # DuckDB reserves far more address space than it uses, so the limit is on memory that it can write to.
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        limit = settings["data"] if hard == resource.RLIM_INFINITY else min(settings["data"], hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        sys.path += settings["packages"]
        import duckdb

        sys.modules["pytz"] = utc_module()
        self.duckdb = duckdb
        self.settings = settings
        self.watch = Watch()
        self.connections: OrderedDict[Any, Connection] = OrderedDict()
        self.spent = False

    def answer(self, kind: str, database: tuple[Any, str], sql: str, timeout: float, allowance: float) -> Any:
        """Return the answer to one request."""
        key, path = database
        connection = self.connections.pop(key, None)
        if connection is None:
            self._make_room(path)
            try:
                connection = Connection(path, self.settings, self.duckdb, self.watch)
            except (self.duckdb.Error, MemoryError, UnicodeError, OSError) as error:
                self.spent = True
                return worker.lost(error)
        worker.ALARMS.set(timeout + self.settings["margin"], allowance)
        if kind == "schema":
            try:
                answer: Any = ("ok", (), [marshal.dumps(connection.schema())], 0.0, "", False, None, "", None)
            except self.duckdb.Error as error:
                answer = worker.lost(error)
        else:
            answer = connection.run(sql, timeout, allowance)
        worker.ALARMS.off()
        self.connections[key] = connection
        # A new process takes over after a query that ran out of memory, which the allocator does not give back, and
        # after an error that leaves the engine in an unknown state.
        broken = answer[0] == "unavailable" or answer[4].startswith(("INTERNAL Error", "FATAL Error"))
        self.spent = connection.exhausted or broken
        return answer

    def _make_room(self, path: str) -> None:
        # DuckDB has one instance for each path: if the file was replaced, the open instance of the old file would be
        # used again.
        for key in [key for key, known in self.connections.items() if known.path == path]:
            self.connections.pop(key).raw.close()
        while len(self.connections) >= self.settings["max_connections"]:
            self.connections.popitem(last=False)[1].raw.close()


open_databases = Databases
