"""How a SQLite database is found, recognised by its first bytes, and opened without leaving a trace."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from finer_rewards.errors import ConfigError
from finer_rewards.executing.databases import DatabaseFile, find_database
from finer_rewards.executing.siblings import sibling_path

SUFFIXES = (".sqlite", ".sqlite3", ".db")
MAGIC = b"SQLite format 3\x00"


class SQLiteFile(DatabaseFile):
    """A SQLite file and its state; without a journal or log that has content, it may be read without locks."""

    logs: ClassVar[tuple[str, ...]] = ("-wal", "-journal")

    @cached_property
    def request(self) -> tuple[tuple[str, tuple[int, ...]] | None, str]:
        """The message to a worker: the key under which it keeps the connection (or `None`), and the URI to open.

        Opening it never creates or writes a file. A connection that takes locks is not kept open, so that another
        process that writes the database can finish.
        """
        uri = f"file:{quote(os.fsencode(self.path))}?mode=ro"
        return (self.identity, uri + "&immutable=1") if self.immutable else (None, uri + "&readonly_shm=1")


def resolve_database(db: str, root: str | os.PathLike[str] = ".", called: str = "db") -> Path:
    """Find the file of a database.

    Args:
        db: a path, an id under `root`: `ID/ID.sqlite`, or `ID.sqlite` (also `.sqlite3` and `.db`), or that of a
            sibling in the cache folder.
        root: the folder that holds the databases.
        called: what messages call the argument.

    Returns:
        The path of a file that begins as a SQLite database does.

    Raises:
        ConfigError: there is no such file, it is a folder, or it is not a SQLite database. An empty file is refused
            too: SQLite would open it as a database without tables, but it comes from a failed download or a mistyped
            path, and the model is not to blame for it.
    """
    path = sibling_path(db) or find_database(db, root, SUFFIXES, called=called)
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise ConfigError(
            f"`{called}` should be a readable file, but {path} is not: {error.strerror}."
        ) from error
    if not start:
        raise ConfigError(
            f"`{called}` should be a SQLite database, but {path} is empty (0 bytes). Copy it again."
        )
    if start != MAGIC:
        raise ConfigError(
            f"`{called}` should be a SQLite database, but {path} begins with {start!r}. "
            "Pass the database file itself (an encrypted one must be decrypted first)."
        )
    return path
