"""`PooledExecutor`, the base of every executor that runs SQL in worker processes.

A batch of queries goes through these steps: look at the databases, drop duplicates, ask the cache, run what is left in
the pool, find out which results of golds are right (`right_results.py`), fill the cache, return one execution a query.
"""

from __future__ import annotations

import marshal
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Protocol, TypeVar

from finer_rewards._util.lru import LRU
from finer_rewards._util.sql_text import normalise
from finer_rewards.comparing.partial_results import ResultPair
from finer_rewards.comparing.result import Settled
from finer_rewards.errors import ConfigError, DataError
from finer_rewards.executing.cache import ResultCache
from finer_rewards.executing.decoding import DECODED, SHIP, Decoded
from finer_rewards.executing.limits import ROOM, Limits
from finer_rewards.executing.order_probe import Sorting, probes
from finer_rewards.executing.pool import Pool
from finer_rewards.executing.process import Program, Task
from finer_rewards.executing.protocol import Query
from finer_rewards.executing.right_results import Steps, right_results
from finer_rewards.executing.settling import Settler
from finer_rewards.schema import Schema
from finer_rewards.types import Execution, Status

Self = TypeVar("Self", bound="PooledExecutor")
_Key = tuple[str, str]  # (database, statement)

# Bytes of memory for results of predictions, and for comparisons made by workers, that are kept across batches.
_PREDICTED_BYTES = 32 << 20
_SETTLED_BYTES = 16 << 20
_MOST_SCHEMAS = 4096


class DatabaseState(Protocol):
    """A database and its state at the moment it was looked at; `DatabaseFile` is the one for files."""

    @property
    def place(self) -> str:
        """A name that stays the same when the content changes."""

    @property
    def identity(self) -> Hashable:
        """A key that changes when the content does; `marshal` can write it."""

    @property
    def request(self) -> tuple[Any, str]:
        """The message to a worker: the key under which it keeps the connection (or `None`), and how to open it."""

    def digest(self) -> str:
        """Return a digest of the content, the same in every run."""


@dataclass(slots=True)
class _Wish:
    """What all want who ask one query; where they differ, the most demanding one counts."""

    #: A gold: its execution goes into the lasting cache.
    keep: bool = False
    #: A glance will not do.
    all_rows: bool = False
    #: A gold of which a glance will do; it is read on, past the row limit, for the fingerprint of all rows.
    read_on: bool = False
    #: The golds that a prediction will be compared with.
    golds: set[str] = field(default_factory=set)
    allowance: float = -1.0

    def add(self, query: Query, allowance: float) -> None:
        """Add what one more wants."""
        self.keep |= query.keep
        self.all_rows |= query.keep or not query.glance
        self.read_on |= query.keep and query.glance
        if query.glance and not query.keep:
            self.golds.update(query.golds)
        self.allowance = max(self.allowance, allowance)

    @property
    def kind(self) -> str:
        """The kind of task that gives all that is wanted."""
        return "whole" if self.read_on else "run" if self.all_rows else "glance"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PooledExecutor(Limits, ABC):
    """An executor with a pool of worker processes. Its parameters are the fields of `Limits` and those of its engine.

    An engine's subclass says how a database is found (`_look`), which program its workers run and with which settings
    (`program`, `_settings`), how a worker's description of a database becomes a `Schema` (`_read_schema`), and how it
    sorts (`sorting`).
    """

    dialect: ClassVar[str]
    sorting: ClassVar[Sorting] = Sorting()
    # A query for the views: names in lower case, and the statements that made them. Empty if the engine cannot tell.
    views_sql: ClassVar[str] = ""
    max_sql: ClassVar[int] = 200_000
    max_connections: ClassVar[int] = 4
    #: Cache results of predictions across batches. Safe only if a file's state reveals every change.
    remembers: ClassVar[bool] = False

    _pool: Pool = field(init=False)
    _golds: ResultCache = field(init=False)
    _predicted: ResultCache = field(init=False)
    _settled: LRU[Any] = field(init=False, default_factory=partial(LRU[Any], _SETTLED_BYTES))
    _schemas: dict[str, tuple[Hashable, Schema]] = field(init=False, default_factory=dict)
    _views: dict[Hashable, dict[str, str]] = field(init=False, default_factory=dict)

    # Compared by identity, unlike other dataclasses: two executors with equal limits still have different workers.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __post_init__(self) -> None:
        super().__post_init__()
        settings = {
            "max_rows": self.max_rows,
            "max_bytes": self.max_bytes,
            "max_sql": self.max_sql,
            "max_connections": self.max_connections,
            "memory": self.memory_limit,
            "ship": SHIP,
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
        """The program that its workers run."""

    @abstractmethod
    def _settings(self) -> Mapping[str, Any]:
        """Return the settings of the engine's own for its workers, besides the limits that all engines have."""

    def _kept_in(self) -> Path | None:
        """Return the folder in which results of gold queries are kept on disk, if any."""
        return None

    @abstractmethod
    def _look(self, db: str) -> DatabaseState:
        """Return a database with its present state; raises `ConfigError` or `OSError` when there is none."""

    @abstractmethod
    def _read_schema(self, found: Any) -> Schema:
        """Return the schema that a worker's answer to a request of the kind `schema` describes."""

    def execute(self, sql: str, db: str) -> Execution:
        """Run one query."""
        return self.execute_many([Query(sql, db)])[0]

    def execute_many(self, queries: Sequence[Query]) -> list[Execution]:
        """Run queries and return one execution each, in order.

        Pairs of database and SQL that are equal up to white space run once and share one object; results with
        equal rows share the rows. Under a relative deadline all predictions first run with the least allowance, and
        only those that used it up run again, with what their golds' time allows.
        """
        least = self.deadline_floor
        relative = self.deadline == "relative" and least < self.timeout
        limited = [relative and bool(one.golds) and not one.keep for one in queries]
        allowed = [least if cut else math.inf for cut in limited]
        runs = self._execute(list(zip(queries, allowed, strict=True)))
        late = [place for place, cut in enumerate(limited) if cut and _used_up(runs[place], least)]
        if late:
            # The golds' times are looked up only now, because the least allowance is enough for nearly all queries.
            golds = {(one.sql, one.db): run for one, run in zip(queries, runs, strict=True) if one.keep}
            allowances = self._allowances([queries[place] for place in late], golds)
            more = [
                (place, seconds) for place, seconds in zip(late, allowances, strict=True) if seconds > least
            ]
            again = self._execute([(queries[place], seconds) for place, seconds in more])
            for (place, _), run in zip(more, again, strict=True):
                runs[place] = run
            for place, seconds in zip(late, allowances, strict=True):
                runs[place] = self._with_reason(runs[place], max(seconds, least))
        return runs

    def _allowances(self, queries: Sequence[Query], golds: dict[tuple[str, str], Execution]) -> list[float]:
        """Return the CPU seconds that each query may take: a multiple of what the slowest of its golds took.

        Args:
            queries: the queries.
            golds: the executions of golds that ran in the same batch; golds that did not are run and added.
        """
        asked = dict.fromkeys((gold, one.db) for one in queries for gold in one.golds)
        others = [key for key in asked if key not in golds]
        golds.update(
            zip(others, self._execute([(Query(*key, True), math.inf) for key in others]), strict=True)
        )
        slowest = (
            max((run.cpu_seconds for gold in one.golds if (run := golds[gold, one.db]).ok), default=0.0)
            for one in queries
        )
        return [min(self.timeout, self.deadline_factor * seconds) for seconds in slowest]

    def _with_reason(self, run: Execution, allowance: float) -> Execution:
        """Return the execution; if it used up its allowance, its error also says which parameter set that allowance."""
        if not _used_up(run, allowance):
            return run
        came = (
            "the least that `deadline_floor` allows"
            if allowance <= self.deadline_floor
            else f"{self.deadline_factor:g} times its gold's (`deadline_factor`)"
            if allowance < self.timeout
            else "its `timeout`"
        )
        return replace(run, error=f"{run.error}, {came}")

    def _execute(self, queries: Sequence[tuple[Query, float]]) -> list[Execution]:
        """Run queries, each with the CPU seconds that it may take; equal ones run once."""
        # SQL as written -> with its white space normalised.
        normal: dict[str, str] = {}
        # The key of each query, in order.
        keys: list[_Key] = []
        wishes: dict[_Key, _Wish] = {}
        for query, allowance in queries:
            text = normal.get(query.sql)
            if text is None:
                text = normal[query.sql] = normalise(query.sql)
            key = (query.db, text)
            keys.append(key)
            if key not in wishes:
                wishes[key] = _Wish()
            wishes[key].add(query, allowance)
        databases = {db: self._look_or_say_why(db) for db in dict.fromkeys(db for db, _ in wishes)}
        results = self._recalled(wishes, databases)
        tasks = {
            key: Task(wish.kind, database.request, key[1], self.timeout, wish.allowance)
            for key, wish in wishes.items()
            if key not in results and not isinstance(database := databases[key[0]], Execution)
        }
        for key, task in tasks.items():
            if task.kind == "glance":
                golds = [(key[0], normal.get(gold, gold)) for gold in wishes[key].golds]
                _hold_against(task, golds, tasks, results)
        if tasks:
            executions = self._run_with_order(tasks, {key for key, wish in wishes.items() if wish.keep})
            self._remember(executions, tasks, wishes, databases)
            results.update(executions)
        return [results[key] for key in keys]

    def _recalled(
        self, wishes: Mapping[_Key, _Wish], databases: Mapping[str, DatabaseState | Execution]
    ) -> dict[_Key, Execution]:
        """Return what is known without running anything: from a cache, or as the database cannot be used."""
        results: dict[_Key, Execution] = {}
        for (db, text), wish in wishes.items():
            database = databases[db]
            if isinstance(database, Execution):
                results[db, text] = database
                continue
            known = self._golds.get(database, text)
            if known is None and not wish.keep:
                known = self._predicted.get(database, text, wish.allowance)
                if known is not None and known.fingerprint is not None and wish.kind != "glance":
                    # Only a glance was kept, and now all rows are wanted.
                    known = None
            if known is not None:
                results[db, text] = known
        return results

    def _remember(
        self,
        executions: Mapping[_Key, Execution],
        tasks: Mapping[_Key, Task],
        wishes: Mapping[_Key, _Wish],
        databases: Mapping[str, DatabaseState | Execution],
    ) -> None:
        """Put into the caches what ran."""
        for key, execution in executions.items():
            database, task = databases[key[0]], tasks[key]
            if isinstance(database, Execution) or task.answer is None or task.deaths:
                # If a worker was lost while it ran this, the outcome says nothing about the next time.
                continue
            size = sum(map(len, task.answer[2])) + len(execution.rows) * (60 + 40 * len(execution.columns))
            if wishes[key].keep:
                self._golds.put(database, key[1], execution, size)
            elif self.remembers and database.request[0] is not None:
                self._predicted.put(database, key[1], execution, size, task.allowance)

    def _run_with_order(self, tasks: Mapping[_Key, Task], kept: set[_Key]) -> dict[_Key, Execution]:
        """Run the tasks; of golds also find out which other results are right, as far as that can be known.

        Each gold has a generator (`right_results`) that asks for further statements; the statements of all golds run
        together, round by round, until every generator has returned.
        """
        golds = {key: task for key, task in tasks.items() if key in kept}
        views = self._views_tasks(golds.values())
        # Sorted by database: tasks side by side in the queue go to the same worker, which then has the database open.
        # Golds come first, so that the glance at a prediction knows how many rows its gold has.
        room = min(int(self.max_batch_bytes), ROOM.get()) // DECODED
        first_of_all = sorted(
            [*tasks.values(), *views.values()], key=lambda task: (task.database[1], bool(task.golds))
        )
        self._pool.run(first_of_all, room)
        decoded = Decoded()
        executions = {
            key: decoded.execution(task.answer, task.kind == "glance") for key, task in tasks.items()
        }
        for database, task in views.items():
            self._views[database] = {
                str(name): str(made) for name, made in decoded.execution(task.answer).rows
            }
        steps: dict[_Key, Steps] = {}
        asked: dict[_Key, list[Task]] = {}
        for key, task in golds.items():
            known = self._views.get(task.database, {})
            steps[key] = right_results(key[1], executions[key], self.dialect, self.sorting, known)
            asked[key] = []
        first = True
        while asked:
            going: dict[_Key, list[Task]] = {}
            for key, some in asked.items():
                runs = [decoded.execution(task.answer) for task in some]
                try:
                    statements = next(steps[key]) if first else steps[key].send(runs)
                except StopIteration as done:
                    executions[key] = done.value
                else:
                    task = tasks[key]
                    going[key] = [Task("run", task.database, sql, task.timeout) for sql in statements]
            more = (task for some in going.values() for task in some)
            self._pool.run(sorted(more, key=lambda task: task.database[1]))
            asked, first = going, False
        return executions

    def _views_tasks(self, golds: Iterable[Task]) -> dict[Hashable, Task]:
        """Return tasks that read the definitions of views, for databases where they are unknown or may have changed."""
        if not self.views_sql:
            return {}
        if len(self._views) > _MOST_SCHEMAS:
            self._views.clear()
        unknown = {
            task.database: task
            for task in golds
            if task.database not in self._views or task.database[0] is None
        }
        return {
            database: Task("run", database, self.views_sql, task.timeout)
            for database, task in unknown.items()
        }

    def settle(self, pairs: Sequence[ResultPair]) -> list[Settled]:
        """Compare results of which this process has only the first rows; see `settling.py`."""
        return Settler(
            self._pool.run,
            self._look_or_say_why,
            partial(probes, dialect=self.dialect, sorting=self.sorting),
            lambda task: Decoded().execution(task.answer),
            self.timeout,
            self._settled if self.remembers else LRU(0),
        ).settle(pairs)

    def _look_or_say_why(self, db: str) -> DatabaseState | Execution:
        try:
            return self._look(db)
        except DataError as error:
            return Execution(Status.database_failed, error=str(error))
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
                # The process that unpickles this may have another working folder.
                value = os.path.abspath(value)  # noqa: PTH100
            parameters[one.name] = value
        return partial(type(self), **parameters), ()


def _used_up(run: Execution, allowance: float) -> bool:
    """Whether a query ended because it used up this many CPU seconds; unlike a timeout by the clock, it would again."""
    return run.status is Status.timeout and run.cpu_seconds >= allowance


def _hold_against(
    task: Task, golds: Sequence[_Key], tasks: Mapping[_Key, Task], results: Mapping[_Key, Execution]
) -> None:
    """Tell a glancing task about its golds: those that run in the same batch, and the row count of known large ones.

    The worker then reads as many rows of the prediction as can matter for the comparison.
    """
    task.golds = [tasks[gold] for gold in golds if gold in tasks]
    for gold in golds:
        if gold in results and (known := results[gold].fingerprint) is not None:
            task.gold_rows = max(task.gold_rows, known.length)


def _unreadable(db: str, why: object) -> ConfigError:
    return ConfigError(f"`db` should be a readable database, but {db!r} is not: {why}. Check it.")
