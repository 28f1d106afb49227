"""What an executor may know besides what every executor does: all of it optional, and asked for here alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from finer_rewards.comparing.result import Settled
from finer_rewards.comparing.whole import Pair
from finer_rewards.executing.siblings import Siblings

__all__ = ["FindsSiblings", "Settles", "deadline_of", "folders_of", "path_of", "workers_of"]


@runtime_checkable
class FindsSiblings(Protocol):
    """Runs SQL where the files are, and asks there for the neighbours of a database."""

    def siblings(
        self, asked: Sequence[tuple[str, str]], *, most: int, folder: str | None = None
    ) -> Sequence[Siblings]:
        """Return the siblings for each database and gold; see `finer_rewards.neighbours.find_siblings`."""

    def siblings_digest(self, folder: str | None = None) -> str:
        """Return what tells the neighbours in use there from others."""


@runtime_checkable
class Settles(Protocol):
    """Compares results of which it has sent no more than the first rows."""

    def settle(self, pairs: Sequence[Pair]) -> list[Settled]:
        """Return what came of each pair, in order."""


@runtime_checkable
class _HasDeadline(Protocol):
    """Has time limits that may hang on the golds."""

    @property
    def deadline(self) -> str:
        """`relative` where queries are to come with their golds; else `absolute`."""


@runtime_checkable
class _ReadsFolders(Protocol):
    """Opens files."""

    @property
    def folders(self) -> tuple[str, ...]:
        """Where the databases lie that it is meant to open."""


@runtime_checkable
class _FindsFiles(Protocol):
    """Knows the file of a database."""

    def find(self, db: str, called: str = "db") -> Path | None:
        """Return where it lies, `None` where only a server knows; raises `ConfigError` when it is not there."""


@runtime_checkable
class _HasWorkers(Protocol):
    """Runs SQL in processes of its own."""

    @property
    def process_ids(self) -> list[int]:
        """Those that run now."""

    @property
    def restarts(self) -> int:
        """How many were lost."""


def deadline_of(executor: object) -> str:
    """Return what an executor's time limits hang on: `absolute`, or `relative` to the golds' time."""
    return executor.deadline if isinstance(executor, _HasDeadline) else "absolute"


def folders_of(executor: object) -> tuple[str, ...]:
    """Return the folders whose databases an executor is meant to open; none where a server keeps them."""
    return executor.folders if isinstance(executor, _ReadsFolders) else ()


def path_of(executor: object, db: str, called: str = "db") -> Path | None:
    """Return where a database lies that an executor would open, if it says so.

    Args:
        executor: the executor.
        db: the database, as a sample names it.
        called: what messages call the argument.

    Raises:
        ConfigError: it is not there.
    """
    return executor.find(db, called) if isinstance(executor, _FindsFiles) else None


def workers_of(executor: object) -> tuple[list[int], int]:
    """Return the process ids of an executor's workers here, and how many were lost."""
    return (executor.process_ids, executor.restarts) if isinstance(executor, _HasWorkers) else ([], 0)
