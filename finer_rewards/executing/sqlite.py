"""SQLite, run read-only in worker processes that can be killed."""

from __future__ import annotations

import marshal
import os
import re
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from finer_rewards.errors import ConfigError
from finer_rewards.executing.cache import GoldCache
from finer_rewards.executing.databases import DatabaseFile, resolve_database
from finer_rewards.executing.golds import probes, with_order
from finer_rewards.executing.pool import Pool
from finer_rewards.executing.process import Answer, Task
from finer_rewards.executing.protocol import Query
from finer_rewards.schema import Column, ForeignKey, Schema, Table
from finer_rewards.types import Execution, Row, Sample, Status, Volatility

__all__ = ["SQLite", "normalise"]

_Key = tuple[str, str]  # (database, statement)

_UNITS = {
    "": 1,
    "b": 1,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
}
_LENGTH, _SQL_LENGTH, _ATTACHED, _LIKE_PATTERN = 0, 1, 7, 8
_LARGEST = 2**31 - 1  # what SQLite, and the frames between the processes, can count
_LONGEST = 1_000_000.0  # seconds; the system's timers end soon after
_MAX_SQL = 200_000
_MAX_CONNECTIONS = 16
_ENDS = " \t\n\f\r;"
# A quote that is never closed reaches to the end, so that hostile text is read only once.
_SPACE = re.compile(
    r"""('[^']*(?:'|\Z)|"[^"]*(?:"|\Z)|`[^`]*(?:`|\Z)|\[[^\]]*(?:\]|\Z))|[ \t\n\f\r]{2,}|[\t\n\f\r]"""
)


class SQLite:
    """Runs SQL on SQLite databases: read-only, one statement, within limits.

    Args:
        root: the folder in which database ids are looked up (`ID/ID.sqlite` or `ID.sqlite`).
        timeout: seconds a query may take.
        max_rows: rows fetched; a longer result is cut and marked `truncated`.
        workers: processes; `None` means one a core, at most 8.
        memory_limit: address space of each worker, as bytes or as text such as `"1GiB"`. SQLite itself may
            use half of it.
        max_bytes: size of a result; a larger one is `Status.too_large`.
        max_length: longest text or blob SQLite may make, in bytes (Python 3.11 and later).
        cache: a folder in which results of gold queries are kept from run to run, as JSON; `None` keeps
            them in memory only, for as long as this object lives.
        neighbours: how many neighbours of a sample's database a match must hold on too, at most; build them
            with `finer-rewards testsuite build`.
        neighbours_from: the folder they were put in (`ID/neighbours`), if not beside the databases.

    Example:
        >>> import sqlite3, tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> connection = sqlite3.connect(folder / "concert.sqlite")
        >>> _ = connection.executescript("CREATE TABLE singer (name); INSERT INTO singer VALUES ('Joe')")
        >>> connection.close()
        >>> with SQLite(folder) as executor:
        ...     executor.execute("SELECT name FROM singer", "concert").rows
        ...     executor.execute("DROP TABLE singer", "concert").status.name
        (('Joe',),)
        'refused'
    """

    dialect = "sqlite"

    def __init__(
        self,
        root: str | os.PathLike[str] = ".",
        *,
        timeout: float = 30.0,
        max_rows: int = 10_000,
        workers: int | None = None,
        memory_limit: str | int = "1GiB",
        max_bytes: str | int = "32MiB",
        max_length: str | int = "8MiB",
        cache: str | os.PathLike[str] | None = None,
        neighbours: int = 0,
        neighbours_from: str | os.PathLike[str] | None = None,
    ) -> None:
        self.root = os.fspath(root)
        self.timeout = _positive("timeout", timeout)
        self.max_rows = _count("max_rows", max_rows)
        self.workers = None if workers is None else _count("workers", workers)
        self.memory_limit = _size("memory_limit", memory_limit, least=128 << 20)
        self.max_bytes = _size("max_bytes", max_bytes, most=_LARGEST)
        self.max_length = _size("max_length", max_length, most=_LARGEST)
        self._pool = Pool(
            self.workers or max(1, min(os.cpu_count() or 1, 8)),
            {
                "timeout": self.timeout,
                "max_rows": self.max_rows,
                "max_bytes": self.max_bytes,
                "max_sql": _MAX_SQL,
                "max_connections": _MAX_CONNECTIONS,
                "memory": self.memory_limit,
                "heap": self.memory_limit // 2,
                "limits": [
                    (_LENGTH, self.max_length),
                    (_SQL_LENGTH, 4 * _MAX_SQL),
                    (_ATTACHED, 0),
                    (_LIKE_PATTERN, 5000),
                ],
            },
        )
        self.neighbours = int(_positive("neighbours", neighbours)) if neighbours else 0
        self.neighbours_from = None if neighbours_from is None else os.fspath(neighbours_from)
        self.cache = None if cache is None else os.fspath(cache)
        self._golds = GoldCache(None if cache is None else Path(cache), self.describe())
        self._paths: dict[str, Path] = {}
        self._schemas: dict[Any, Schema] = {}

    def execute(self, sql: str, db: str) -> Execution:
        """Run one query."""
        return self.execute_many([Query(sql, db)])[0]

    def execute_many(self, queries: Sequence[Query]) -> list[Execution]:
        """Run queries and return one execution each, in order.

        Pairs of database and SQL that are equal up to white space run once and share one object.
        """
        files: dict[str, DatabaseFile | Execution] = {}
        normal: dict[tuple[str, str], _Key] = {}
        results: dict[_Key, Execution] = {}
        tasks: dict[_Key, Task] = {}
        kept: set[_Key] = set()
        for sql, db, keep in queries:
            if (db, sql) not in normal:
                normal[db, sql] = (db, normalise(sql))
            key = normal[db, sql]
            if keep:
                kept.add(key)
            if key in tasks or key in results:
                continue
            if db not in files:
                files[db] = self._look(db)
            file = files[db]
            known = file if isinstance(file, Execution) else self._golds.get(file, key[1])
            if known is not None:
                results[key] = known
            elif isinstance(file, DatabaseFile):
                tasks[key] = Task("run", file.request, key[1])
        explained = self._run_with_order(tasks, [key for key in tasks if key in kept])
        for key, task in tasks.items():
            file = files[key[0]]
            results[key] = explained.get(key) or _execution(task.answer)
            if key in kept and isinstance(file, DatabaseFile):
                self._golds.put(file, key[1], results[key])
        return [results[normal[query.db, query.sql]] for query in queries]

    def _run_with_order(self, tasks: Mapping[_Key, Task], golds: Sequence[_Key]) -> dict[_Key, Execution]:
        """Run the tasks; return what those of gold queries did whose ORDER BY could be found out."""
        explained: dict[_Key, Execution] = {}
        waiting = {key: found for key in golds if (found := probes(key[1]))}
        due = list(tasks.values())
        while due or waiting:
            asked = {key: Task("run", tasks[key].database, found[0].sql) for key, found in waiting.items()}
            # Neighbours in the queue go to the same worker, which then has the database open.
            self._pool.run(sorted([*due, *asked.values()], key=lambda task: task.database[1]))
            due = []
            for key, task in asked.items():
                probe, *others = waiting.pop(key)
                gold = _execution(tasks[key].answer)
                shown = with_order(gold, _execution(task.answer), probe) if gold.ok else gold
                if shown is not None:
                    explained[key] = shown
                elif others:
                    waiting[key] = others
        return explained

    def schema(self, db: str) -> Schema:
        """Return the schema of a database.

        Raises:
            ConfigError: there is no such database, or it cannot be read.
        """
        self._paths.pop(db, None)
        file = DatabaseFile.look(self._resolve(db))
        key = file.identity
        if key not in self._schemas:
            task = Task("schema", file.request, "")
            self._pool.run([task])
            assert task.answer is not None
            status, _, chunks, _, error, *_ = task.answer
            if status != "ok":
                raise ConfigError(
                    f"`db` should be a readable database, but {file.path} is not: {error}. Check the file."
                )
            for known in [known for known in self._schemas if known[0] == file.path]:
                del self._schemas[known]
            self._schemas[key] = _schema(marshal.loads(chunks[0]))
        return self._schemas[key]

    def describe(self) -> Mapping[str, object]:
        """Return what decides the results: engine, version and limits (not where and how wide it runs)."""
        return {
            "engine": "sqlite",
            "version": sqlite3.sqlite_version,
            "timeout": self.timeout,
            "max_rows": self.max_rows,
            "memory_limit": self.memory_limit,
            "max_bytes": self.max_bytes,
            "max_length": self.max_length,
            **({"neighbours": self.neighbours} if self.neighbours else {}),
        }

    def with_neighbours(self, samples: list[Sample]) -> list[Sample]:
        """Return the samples, each on its database and the neighbours that serve its gold."""
        if not self.neighbours:
            return samples
        from finer_rewards.testsuite import with_neighbours

        return with_neighbours(
            samples, self, root=self.root, most=self.neighbours, folder=self.neighbours_from
        )

    def close(self) -> None:
        """End the workers; they start again when the executor is used again."""
        self._pool.close()

    @property
    def process_ids(self) -> list[int]:
        """The process ids of the workers that run now."""
        return self._pool.process_ids

    def __enter__(self) -> SQLite:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[partial[SQLite], tuple[()]]:
        return partial(type(self), **self._parameters()), ()

    def __repr__(self) -> str:
        return f"SQLite({', '.join(f'{name}={value!r}' for name, value in self._parameters().items())})"

    def _parameters(self) -> dict[str, Any]:
        names = ("root", "timeout", "max_rows", "workers", "memory_limit", "max_bytes", "max_length", "cache")
        used = ("neighbours", "neighbours_from") if self.neighbours else ()
        return {name: getattr(self, name) for name in (*names, *used)}

    def _resolve(self, db: str) -> Path:
        if db not in self._paths:
            self._paths[db] = resolve_database(db, self.root)
        return self._paths[db]

    def _look(self, db: str) -> DatabaseFile | Execution:
        try:
            try:
                return DatabaseFile.look(self._resolve(db))
            except OSError:
                # It was there before: look again, and say what is wrong.
                self._paths.pop(db, None)
                return DatabaseFile.look(self._resolve(db))
        except (ConfigError, OSError) as error:
            return Execution(Status.unavailable, error=str(error))


def normalise(sql: str) -> str:
    """Return the statement without white space around it, the `;` at its end, and runs of spaces.

    Text in quotes is left alone, and so is everything when there may be a comment.

    Example:
        >>> normalise("  SELECT 'a  b',\\n   x FROM t ; ")
        "SELECT 'a  b', x FROM t"
    """
    sql = sql.strip(_ENDS)
    if "--" in sql or "/*" in sql or not ("  " in sql or "\n" in sql or "\t" in sql):
        return sql
    return _SPACE.sub(lambda found: found.group(1) or " ", sql)


def _execution(answer: Answer | None) -> Execution:
    assert answer is not None
    status, columns, chunks, seconds, error, truncated, tables, volatile, steps = answer
    rows: tuple[Row, ...] = ()
    for chunk in chunks:
        rows += tuple(marshal.loads(chunk))
    kind: Volatility = "random" if volatile == "random" else "clock" if volatile == "clock" else ""
    return Execution(
        Status[status],
        columns,
        rows,
        seconds,
        error,
        truncated,
        None if tables is None else frozenset(tables),
        kind,
        steps=1000 * steps,
    )


def _schema(found: list[tuple[Any, ...]]) -> Schema:
    tables = []
    for name, kind, columns, unique, foreign in found:
        keys = sorted((column[5], column[1]) for column in columns if column[5])
        references: dict[int, tuple[str, list[str], list[str]]] = {}
        for number, _, to_table, column, to_column, *_ in sorted(foreign, key=lambda part: part[:2]):
            reference = references.setdefault(number, (to_table, [], []))
            reference[1].append(column)
            if to_column is not None:
                reference[2].append(to_column)
        tables.append(
            Table(
                name,
                tuple(Column(c[1], c[2] or "", bool(c[3])) for c in columns if c[6] != 1),
                tuple(column for _, column in keys),
                tuple(tuple(part) for part in unique if None not in part),
                tuple(
                    ForeignKey(tuple(ours), to_table, tuple(theirs))
                    for to_table, ours, theirs in references.values()
                ),
                kind == "view",
            )
        )
    # A reference that names no column means the primary key of the table it refers to.
    primary = {table.name.lower(): table.primary_key for table in tables}
    return Schema(
        tuple(
            Table(
                table.name,
                table.columns,
                table.primary_key,
                table.unique,
                tuple(
                    key
                    if key.to_columns
                    else ForeignKey(key.columns, key.to_table, primary.get(key.to_table.lower(), ()))
                    for key in table.foreign_keys
                ),
                table.view,
            )
            for table in tables
        )
    )


def _positive(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _LONGEST:
        raise ConfigError(
            f"`{name}` should be a positive number up to {_LONGEST:g}, but got {value!r}. "
            f"Pass for example `{name}=10`."
        )
    return float(value)


def _count(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _LARGEST:
        raise ConfigError(
            f"`{name}` should be a positive whole number, but got {value!r}. Pass for example `{name}=10`."
        )
    return value


def _size(name: str, value: str | int, least: int = 1024, most: int = 1 << 50) -> int:
    size: float | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and (found := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)):
        unit = _UNITS.get(found.group(2).lower())
        size = None if unit is None else float(found.group(1)) * unit
    if size is None or not least <= size <= most:
        raise ConfigError(
            f"`{name}` should be a size from {least} to {most} bytes, but got {value!r}. "
            f'Pass bytes or text such as `{name}="512MiB"`.'
        )
    return int(size)
