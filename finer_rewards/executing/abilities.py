"""Optional abilities of an executor, beyond the `Executor` protocol; callers ask for them through these functions only.

Each ability is a small protocol. An executor that lacks one gets the default that its function here returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from finer_rewards.comparing.partial_results import ResultPair
from finer_rewards.comparing.result import Settled
from finer_rewards.executing.siblings import Siblings


@runtime_checkable
class FindsSiblings(Protocol):
    """Finds the neighbours of a database on the machine that holds its file, which may be another one than this."""

    def siblings(
        self, asked: Sequence[tuple[str, str]], *, most: int, folder: str | None = None
    ) -> Sequence[Siblings]:
        """Return the siblings for each database and gold; see `finer_rewards._neighbours.find_siblings`."""

    def siblings_digest(self, folder: str | None = None) -> str:
        """Return what tells the neighbours in use there from others."""


@runtime_checkable
class Settles(Protocol):
    """Compares results that are too large to send: the scorer holds only their first rows."""

    def settle(self, pairs: Sequence[ResultPair]) -> list[Settled]:
        """Return the outcome of comparing each pair, in order."""


@runtime_checkable
class _HasDeadline(Protocol):
    """Has a time limit that may depend on how long the golds took."""

    @property
    def deadline(self) -> str:
        """`relative` when each query has to name its golds, `absolute` when it need not."""


@runtime_checkable
class _ReadsFolders(Protocol):
    """Opens database files in folders of this machine."""

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders whose databases it is meant to open."""


@runtime_checkable
class _FindsFiles(Protocol):
    """Can say which file a database name means."""

    def find(self, db: str, called: str = "db") -> Path | None:
        """Return the path, `None` when only a server knows it; raises `ConfigError` when there is no such file."""


@runtime_checkable
class _HasWorkers(Protocol):
    """Runs SQL in worker processes of its own."""

    @property
    def process_ids(self) -> list[int]:
        """The process ids of the workers that run now."""

    @property
    def restarts(self) -> int:
        """How many workers ended while they worked, by themselves or killed."""


def deadline_of(executor: object) -> str:
    """Return whether an executor's time limits are `absolute`, or `relative` to the time that the golds took."""
    return executor.deadline if isinstance(executor, _HasDeadline) else "absolute"


def folders_of(executor: object) -> tuple[str, ...]:
    """Return the folders whose databases an executor is meant to open; none where a server keeps them."""
    return executor.folders if isinstance(executor, _ReadsFolders) else ()


def path_of(executor: object, db: str, called: str = "db") -> Path | None:
    """Return the path of the file that an executor would open for a database; `None` if it cannot say.

    Args:
        executor: the executor.
        db: the database, as a sample names it.
        called: what messages call the argument.

    Raises:
        ConfigError: there is no such file.
    """
    return executor.find(db, called) if isinstance(executor, _FindsFiles) else None


def workers_of(executor: object) -> tuple[list[int], int]:
    """Return the process ids of an executor's workers here, and how many were lost."""
    return (executor.process_ids, executor.restarts) if isinstance(executor, _HasWorkers) else ([], 0)
