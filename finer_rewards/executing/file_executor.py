"""The base class of executors whose databases are files (SQLite, DuckDB): finding them, and looking at them again."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from finer_rewards.executing.databases import checked_root, is_database_text
from finer_rewards.executing.limits import Check
from finer_rewards.executing.pooled import DatabaseState, PooledExecutor

__all__ = ["FileExecutor"]

_MOST_NAMES = 4096


def folder(default: str | None, check: Check = lambda name, value: os.fspath(value)) -> Any:
    """Return a dataclass field that names a folder.

    A pickled executor holds the absolute path, since the reader may run in another working folder.
    """
    return field(default=default, metadata={"check": check, "folder": True})


@dataclass(frozen=True, eq=False, repr=False)
class FileExecutor(PooledExecutor):
    """An executor whose databases are files under a folder.

    Args:
        root: the folder in which database ids are looked up.
        cache: a folder in which results of gold queries are kept from run to run, as JSON; `None` keeps them in
            memory only, for as long as this object lives.
    """

    root: str | os.PathLike[str] = folder(".", checked_root)
    _: KW_ONLY
    cache: str | os.PathLike[str] | None = folder(None)
    _paths: dict[str, Path] = field(init=False, default_factory=dict)

    @abstractmethod
    def _find(self, db: str, called: str) -> Path:
        """Return the path of a database; raises `ConfigError` (naming the argument as `called`) if there is none."""

    @abstractmethod
    def _look_at(self, path: Path) -> DatabaseState:
        """Return the database at a path with its present state; raises `ConfigError` or `OSError` if it is none."""

    def find(self, db: str, called: str = "db") -> Path:
        """Return the path of the file that a sample's `db` means.

        Args:
            db: the database, as the sample names it.
            called: what messages call the argument.

        Raises:
            ConfigError: there is none.
        """
        if is_database_text(db):
            # Its file stays only as long as it is asked for.
            return self._find(db, called)
        path = self._paths.get(db)
        if path is None:
            if len(self._paths) >= _MOST_NAMES:
                # One file can be named in any number of ways, so the table has to be bounded.
                self._paths.clear()
            path = self._paths[db] = self._find(db, called)
        return path

    def _look(self, db: str) -> DatabaseState:
        try:
            return self._look_at(self.find(db))
        except OSError:
            # The remembered path no longer works: search again, which finds a moved file or says what is wrong.
            self._paths.pop(db, None)
            return self._look_at(self.find(db))

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders whose databases it is meant to open."""
        return (os.fspath(self.root),)

    def _kept_in(self) -> Path | None:
        return None if self.cache is None else Path(self.cache)
