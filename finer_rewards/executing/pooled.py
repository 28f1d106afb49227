"""What all executors with worker processes share: batches in, each distinct query once, executions out."""

from __future__ import annotations

import marshal
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, TypeVar

from finer_rewards.errors import ConfigError
from finer_rewards.executing.cache import ResultCache
from finer_rewards.executing.limits import Limits
from finer_rewards.executing.order_probe import Probe, Sorting, probes, with_order
from finer_rewards.executing.pool import Pool
from finer_rewards.executing.process import Answer, Program, Task
from finer_rewards.executing.protocol import Query
from finer_rewards.schema import Schema
from finer_rewards.sql_text import normalise
from finer_rewards.types import Execution, Row, Status, Volatility

__all__ = ["Database", "PooledExecutor"]

Self = TypeVar("Self", bound="PooledExecutor")
_Key = tuple[str, str, float]  # (database, statement, seconds it may take)

_PREDICTED_BYTES = 32 << 20
_MOST_SCHEMAS = 4096
_NAN = (b"\xf8\x7f", b"\xf8\xff")  # the last bytes of one


class Database(Protocol):
    """A database as it was when it was looked at; `DatabaseFile` is one."""

    @property
    def place(self) -> str:
        """What stays when the content changes."""

    @property
    def identity(self) -> Hashable:
        """What changes when the content does; it marshals."""

    @property
    def request(self) -> tuple[Any, str]:
        """What a worker is told: the key by which it keeps the connection, if any, and how to open it."""

    def digest(self) -> str:
        """Return what identifies the content from run to run."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PooledExecutor(Limits, ABC):
    """An executor behind a pool of worker processes: its limits are its fields, and those of its engine.

    An engine says how a database is found (`_look`), what its worker is and is told (`program`, `_settings`), how
    the worker's description of a database becomes a `Schema` (`_read_schema`), and how it sorts.
    """

    dialect: ClassVar[str]
    sorting: ClassVar[Sorting] = Sorting()
    max_sql: ClassVar[int] = 200_000
    max_connections: ClassVar[int] = 16
    #: Whether what predictions did is kept for the next batch: where looking at a database tells every change.
    remembers: ClassVar[bool] = False

    _pool: Pool = field(init=False)
    _golds: ResultCache = field(init=False)
    _predicted: ResultCache = field(init=False)
    _schemas: dict[str, tuple[Hashable, Schema]] = field(init=False, default_factory=dict)

    __eq__ = object.__eq__  # what runs workers is nobody else's equal
    __hash__ = object.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        settings = {
            "max_rows": self.max_rows,
            "max_bytes": self.max_bytes,
            "max_sql": self.max_sql,
            "max_connections": self.max_connections,
            "memory": self.memory_limit,
            **self._settings(),
        }
        size = self.workers or max(1, min(os.cpu_count() or 1, 8))
        folder = self._kept_in()
        for name, value in (
            ("_pool", Pool(size, settings, self.program)),
            ("_golds", ResultCache(folder, self.describe() if folder else {})),
            ("_predicted", ResultCache(None, {}, max_bytes=_PREDICTED_BYTES)),
        ):
            object.__setattr__(self, name, value)

    @property
    @abstractmethod
    def program(self) -> Program:
        """What its workers run."""

    @abstractmethod
    def _settings(self) -> Mapping[str, Any]:
        """Return what its workers are told besides the limits of all engines."""

    def _kept_in(self) -> Path | None:
        """Return the folder in which results of gold queries are kept, if any."""
        return None

    @abstractmethod
    def _look(self, db: str) -> Database:
        """Look at a database; raises `ConfigError` or `OSError` when there is none."""

    @abstractmethod
    def _read_schema(self, found: Any) -> Schema:
        """Make a schema of what the worker answered to a request of the kind `schema`."""

    def execute(self, sql: str, db: str) -> Execution:
        """Run one query."""
        return self.execute_many([Query(sql, db)])[0]

    def execute_many(self, queries: Sequence[Query]) -> list[Execution]:
        """Run queries and return one execution each, in order.

        Pairs of database and SQL that are equal up to white space run once and share one object; results with
        equal rows share the rows.
        """
        if self.deadline != "relative" or not any(query.golds for query in queries):
            return self._execute([(query, self.timeout) for query in queries])
        # The golds run first: their time decides how long the others may take.
        golds = list(dict.fromkeys(Query(gold, one.db, True) for one in queries for gold in one.golds))
        runs = dict(zip(golds, self._execute([(gold, self.timeout) for gold in golds]), strict=True))
        rest = [query for query in dict.fromkeys(queries) if query not in runs]
        timed = [(query, self._time_for(query, runs)) for query in rest]
        runs.update(zip(rest, self._execute(timed), strict=True))
        return [runs[query] for query in queries]

    def _time_for(self, query: Query, runs: Mapping[Query, Execution]) -> float:
        """Return how long a query may take, by how long the slowest of its golds took."""
        known = [run.seconds for gold in query.golds if (run := runs[Query(gold, query.db, True)]).ok]
        if not known:
            return self.timeout
        return min(self.timeout, max(self.deadline_floor, self.deadline_factor * max(known)))

    def _execute(self, queries: Sequence[tuple[Query, float]]) -> list[Execution]:
        databases: dict[str, Database | Execution] = {}
        normal: dict[str, str] = {}
        keys: list[_Key] = []
        kept: set[_Key] = set()
        for (sql, db, keep, _), timeout in queries:
            text = normal.get(sql)
            if text is None:
                text = normal[sql] = normalise(sql)
            key = (db, text, timeout)
            keys.append(key)
            if keep:
                kept.add(key)
        results: dict[_Key, Execution] = {}
        tasks: dict[_Key, Task] = {}
        for key in dict.fromkeys(keys):
            db, text, timeout = key
            database = databases.get(db)
            if database is None:
                database = databases[db] = self._look_or_say_why(db)
            if isinstance(database, Execution):
                results[key] = database
                continue
            known = self._golds.get(database, text) if timeout == self.timeout else None
            if known is None and key not in kept:
                known = self._predicted.get(database, text, timeout)
            if known is not None:
                results[key] = known
            else:
                tasks[key] = Task("run", database.request, text, timeout)
        executions = self._run_with_order(tasks, kept) if tasks else {}
        for key, execution in executions.items():
            results[key] = execution
            database = databases[key[0]]
            task = tasks[key]
            if isinstance(database, Execution) or task.answer is None or task.deaths:
                continue  # what a lost worker left says nothing of the next time
            size = sum(map(len, task.answer[2])) + len(execution.rows) * (60 + 40 * len(execution.columns))
            if key in kept:
                self._golds.put(database, key[1], execution, size)
            elif self.remembers and database.request[0] is not None:
                self._predicted.put(database, key[1], execution, size, key[2])
        return [results[key] for key in keys]

    def _run_with_order(self, tasks: Mapping[_Key, Task], kept: set[_Key]) -> dict[_Key, Execution]:
        """Run the tasks; of gold queries find out what their ORDER BY means, where that can be."""
        waiting = {
            key: found
            for key in tasks
            if key in kept and (found := probes(key[1], self.dialect, self.sorting))
        }
        asked = {key: self._probe(tasks[key], found[0]) for key, found in waiting.items()}
        # Neighbours in the queue go to the same worker, which then has the database open.
        self._pool.run(sorted([*tasks.values(), *asked.values()], key=lambda task: task.database[1]))
        decoded = _Decoded()
        executions = {key: decoded.execution(task.answer) for key, task in tasks.items()}
        while waiting:
            for key, task in asked.items():
                probe, *others = waiting.pop(key)
                gold = executions[key]
                shown = with_order(gold, decoded.execution(task.answer), probe) if gold.ok else gold
                if shown is not None:
                    executions[key] = shown
                elif others:
                    waiting[key] = others
            asked = {key: self._probe(tasks[key], found[0]) for key, found in waiting.items()}
            self._pool.run(list(asked.values()))
        return executions

    def _probe(self, task: Task, probe: Probe) -> Task:
        return Task("run", task.database, probe.sql, task.timeout)

    def _look_or_say_why(self, db: str) -> Database | Execution:
        try:
            return self._look(db)
        except (ConfigError, OSError) as error:
            return Execution(Status.unavailable, error=str(error))

    def _look_for_schema(self, db: str) -> Any:
        try:
            return self._look(db)
        except OSError as error:
            raise _unreadable(db, error) from error

    def schema(self, db: str) -> Schema:
        """Return the schema of a database.

        Raises:
            ConfigError: there is no such database, or it cannot be read.
        """
        database = self._look_for_schema(db)
        known = self._schemas.get(db)
        if known is None or known[0] != database.identity:
            task = Task("schema", database.request, "", self.timeout)
            self._pool.run([task])
            assert task.answer is not None
            status, _, chunks, _, error, *_ = task.answer
            if status != "ok":
                raise _unreadable(db, error)
            known = self._schemas[db] = (database.identity, self._read_schema(marshal.loads(chunks[0])))
            while len(self._schemas) > _MOST_SCHEMAS:
                self._schemas.pop(next(iter(self._schemas)), None)
        return known[1]

    def close(self) -> None:
        """End the workers; they start again when the executor is used again."""
        self._pool.close()

    @property
    def process_ids(self) -> list[int]:
        """The process ids of the workers that run now."""
        return self._pool.process_ids

    @property
    def restarts(self) -> int:
        """How many workers ended in their work, by themselves or killed, since this was made."""
        return self._pool.restarts

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[partial[PooledExecutor], tuple[()]]:
        parameters = {}
        for one in self._parameters():
            value = getattr(self, one.name)
            if one.metadata.get("folder") and value is not None:
                value = os.path.abspath(value)  # noqa: PTH100  # where it is read, the working folder may be another
            parameters[one.name] = value
        return partial(type(self), **parameters), ()


def _unreadable(db: str, why: object) -> ConfigError:
    return ConfigError(f"`db` should be a readable database, but {db!r} is not: {why}. Check it.")


def _rows(chunks: Sequence[bytes]) -> tuple[Row, ...]:
    rows = tuple(row for chunk in chunks for row in marshal.loads(chunk))
    if any(ending in chunk for chunk in chunks for ending in _NAN):
        rows = with_one_nan(rows)
    return rows


def with_one_nan(rows: Iterable[Row]) -> tuple[Row, ...]:
    """Return rows that compare alike whenever they came: Python tells NaNs apart by identity, so there is one."""
    return tuple(tuple(math.nan if cell != cell else cell for cell in row) for row in rows)


class _Decoded:
    """Turns the answers of one batch into executions; rows that came as equal bytes become one object.

    Most predictions of a group return what another returns, if not what the gold does.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[bytes, ...], tuple[Row, ...]] = {}

    def execution(self, answer: Answer | None) -> Execution:
        assert answer is not None
        status, columns, chunks, seconds, error, truncated, tables, volatile, steps = answer
        rows: tuple[Row, ...] = ()
        if chunks:
            found = self._rows.get(key := tuple(chunks))
            if found is None:
                found = self._rows[key] = _rows(chunks)
            rows = found
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
            steps=None if steps is None else 1000 * steps,
        )
