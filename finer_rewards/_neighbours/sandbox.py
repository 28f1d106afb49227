"""Workers that do for neighbours, and for `check`, what strangers' golds and schemas take part in."""

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
    """What came of a request.

    Args:
        value: what was found; `None` where nothing was.
        error: why nothing was.
    """

    value: Any = None
    error: str = ""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SandboxExecutor(SQLite):
    """An executor whose workers know the requests of `worker.py` too: under the limits of predictions."""

    @property
    def program(self) -> Program:
        """What its workers run."""
        return Program(str(Path(__file__).with_name("worker.py")))

    def _settings(self) -> Mapping[str, Any]:
        return {**super()._settings(), "packages": "", "timeout": self.timeout}

    def ask(self, kind: str, requests: Sequence[tuple[str, Any]], seconds: float) -> list[Finished]:
        """Return what comes of requests, each a database and what is asked of it.

        Args:
            kind: one that the worker knows.
            requests: the databases, and values that marshal.
            seconds: that each may take.
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
        """Return what statements do when rows come in another order; `None` where that cannot be had.

        Args:
            kind: `reversed`, scans that no ORDER BY governs go backwards; `permuted`, the rows are stored backwards.
            db: the database.
            statements: queries.
        """
        if not statements:
            return []
        (found,) = self.ask(kind, [(db, list(statements))], self.timeout * (1 + len(statements)))
        return None if found.value is None else [_execution(answer) for answer in found.value]


def _execution(answer: tuple[Any, ...]) -> Execution:
    status, columns, chunks, seconds, error, truncated, *_ = answer
    rows: list[Row] = [row for chunk in chunks for row in marshal.loads(chunk)]
    return Execution(Status[status], columns, tuple(rows), seconds, error, truncated)
