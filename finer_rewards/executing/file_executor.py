"""What executors share whose databases are files."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from finer_rewards.executing.databases import checked_root
from finer_rewards.executing.limits import Check
from finer_rewards.executing.pooled import Database, PooledExecutor

__all__ = ["FileExecutor", "folder"]

_MOST_NAMES = 4096


def folder(default: str | None, check: Check = lambda name, value: os.fspath(value)) -> Any:
    """Return a field that names a folder; a pickle of it holds its absolute path."""
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
        """Return where a database is; raises `ConfigError`, in which it is `called` so, when there is none."""

    @abstractmethod
    def _look_at(self, path: Path) -> Database:
        """Look at a database that is there; raises `ConfigError` or `OSError` when it is none."""

    def find(self, db: str, called: str = "db") -> Path:
        """Return where the database lies that a sample means.

        Args:
            db: its name.
            called: what messages call the argument.

        Raises:
            ConfigError: there is none.
        """
        path = self._paths.get(db)
        if path is None:
            if len(self._paths) >= _MOST_NAMES:
                self._paths.clear()  # one file has any number of names
            path = self._paths[db] = self._find(db, called)
        return path

    def _look(self, db: str) -> Database:
        try:
            return self._look_at(self.find(db))
        except OSError:
            # It was there before: look again, and say what is wrong.
            self._paths.pop(db, None)
            return self._look_at(self.find(db))

    @property
    def folders(self) -> tuple[str, ...]:
        """Where the databases lie that it is meant to open."""
        return (os.fspath(self.root),)

    def _kept_in(self) -> Path | None:
        return None if self.cache is None else Path(self.cache)
