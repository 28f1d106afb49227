"""What an executor is: it runs SQL read-only, within limits, and never raises for what the SQL did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from finer_rewards.schema import Schema
from finer_rewards.types import Execution

__all__ = ["Executor", "Query"]

Self = TypeVar("Self", bound="Executor")


class Query(NamedTuple):
    """One statement to run on one database.

    Args:
        sql: the statement.
        db: the database, as the sample names it.
        keep: true for a gold query: its result is kept across batches, and its sort keys and ties are found out.
        golds: the gold queries that the result will be compared with; a relative deadline depends on their time.
        glance: true when a large result may come as its first rows and a fingerprint (of a gold, its first `max_rows`
            rows).
    """

    sql: str
    db: str
    keep: bool = False
    golds: tuple[str, ...] = ()
    glance: bool = False


@runtime_checkable
class Executor(Protocol):
    """Runs queries. Every method may be called from several threads at once.

    Optional abilities are in `abilities.py`.
    """

    @property
    def dialect(self) -> str:
        """The sqlglot dialect of the SQL it runs."""
        ...

    def execute(self, sql: str, db: str) -> Execution:
        """Run one query."""
        ...

    def execute_many(self, queries: Sequence[Query]) -> list[Execution]:
        """Run queries and return one execution each, in order; equal (db, sql) pairs run once."""
        ...

    def schema(self, db: str) -> Schema:
        """Return the schema of a database; raises `ConfigError` when there is none to read."""
        ...

    def describe(self) -> Mapping[str, object]:
        """Return what decides the results: the engine, its version and every limit."""
        ...

    def close(self) -> None:
        """Release processes and files; the executor starts again when it is used again."""
        ...

    def __enter__(self: Self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
