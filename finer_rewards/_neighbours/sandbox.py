"""`SandboxExecutor`, the executor whose workers make neighbours; `building.py` and `check` send it their requests."""

from __future__ import annotations

import marshal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from finer_rewards.engines.sqlite import SQLite
from finer_rewards.executing.process import Program, Task
from finer_rewards.types import Execution, Row, Status


class Finished(NamedTuple):
    """The outcome of a request.

    Args:
        value: the worker's result; `None` when it failed.
        error: why it failed.
    """

    value: Any = None
    error: str = ""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SandboxExecutor(SQLite):
    """An executor of SQLite whose workers also answer the requests of `worker.py`, under the same limits."""

    @property
    def program(self) -> Program:
        """The program that its workers run."""
        return Program(str(Path(__file__).with_name("worker.py")))

    def _settings(self) -> Mapping[str, Any]:
        return {**super()._settings(), "packages": "", "timeout": self.timeout}

    def ask(self, kind: str, requests: Sequence[tuple[str, Any]], seconds: float) -> list[Finished]:
        """Return the outcome of each request.

        Args:
            kind: a kind of request that the worker knows.
            requests: pairs of a database and a value that `marshal` can write.
            seconds: how long each may take.
        """
        tasks = [Task(kind, self._look(db).request, marshal.dumps(value), seconds) for db, value in requests]
        self._pool.run(tasks)
        found = []
        for task in tasks:
            assert task.answer is not None
            status, _, chunks, _, error, *_ = task.answer
            found.append(Finished(marshal.loads(chunks[0])) if status == "ok" else Finished(error=error))
        return found

    def in_other_order(self, kind: str, db: str, statements: Sequence[str]) -> list[Execution] | None:
        """Return the executions of statements when rows are read in another order; `None` when that is not possible.

        Args:
            kind: `reversed`, scans that no ORDER BY governs go backwards; `permuted`, the rows are stored backwards.
            db: the database.
            statements: the queries.
        """
        if not statements:
            return []
        (found,) = self.ask(kind, [(db, list(statements))], self.timeout * (1 + len(statements)))
        return None if found.value is None else [_execution(answer) for answer in found.value]


def _execution(answer: tuple[Any, ...]) -> Execution:
    status, columns, chunks, seconds, error, truncated, *_ = answer
    rows: list[Row] = [row for chunk in chunks for row in marshal.loads(chunk)]
    return Execution(Status[status], columns, tuple(rows), seconds, error, truncated)
