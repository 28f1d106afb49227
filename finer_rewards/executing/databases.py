"""Finding the file that a sample's `db` means, and telling whether its content has changed since the last look."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from finer_rewards.errors import ConfigError, DataError, suggest

__all__ = ["DatabaseFile", "database_names", "find_database"]

# CREATE TABLE at the start of the text, or of a line, or after a `;` or a comment: not within a path or a sentence.
_MAKES_TABLE = re.compile(r"(?:\A\s*|(?:[;\n]|\*/)[ \t\r]*)CREATE\s+TABLE\b", re.IGNORECASE)

Self = TypeVar("Self", bound="DatabaseFile")


@dataclass(frozen=True)
class DatabaseFile:
    """A database file and its state at the moment it was looked at.

    Args:
        path: absolute path.
        state: device, inode, size and times of the file and of its logs; changes whenever one is written or replaced.
        immutable: true when no journal or log beside it holds content, so that it may be read without locks.
    """

    path: str
    state: tuple[int, ...]
    immutable: bool
    #: Suffixes of the files beside a database that may hold part of its content, such as `-wal`; set by each engine.
    logs: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def look(cls: type[Self], path: Path) -> Self:
        """Return the file with its present state; raises `OSError`, which says why, when it cannot be a database."""
        path = path.absolute()
        seen = path.stat()
        if stat.S_ISDIR(seen.st_mode):
            raise IsADirectoryError(f"{path} is a folder, not a database file")
        if not stat.S_ISREG(seen.st_mode):
            raise OSError(f"{path} is not a regular file")
        if not seen.st_size:
            # An engine would open it as a database without tables, and every query would seem to be wrong.
            raise OSError(f"{path} is empty (0 bytes)")
        state = (seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
        beside: tuple[int, ...] = ()
        for suffix in cls.logs:
            try:
                other = os.stat(f"{path}{suffix}")  # noqa: PTH116  # every query looks: a Path takes four times as long
            except FileNotFoundError:
                continue
            if other.st_size:
                beside += (other.st_ino, other.st_size, other.st_mtime_ns)
        return cls(str(path), state + beside, not beside)

    @property
    def place(self) -> str:
        """A name that stays the same when the content changes: the path."""
        return self.path

    @property
    def identity(self) -> tuple[str, tuple[int, ...]]:
        """A key that changes when the content does: path and state."""
        return self.path, self.state

    @property
    def request(self) -> tuple[Any, str]:
        """The message to a worker: the key under which it keeps the connection open, and the path to open."""
        return self.identity, self.path

    def digest(self) -> str:
        """Return a digest of the bytes of the file and of the logs beside it."""
        content = blake2b(digest_size=20)
        for path in (self.path, *(f"{self.path}{suffix}" for suffix in self.logs)):
            if path == self.path or (not self.immutable and Path(path).exists()):
                with Path(path).open("rb") as file:
                    while block := file.read(1 << 20):
                        content.update(block)
        return content.hexdigest()


def is_database_text(db: str) -> bool:
    """Return whether a sample's `db` is the SQL that makes its database, rather than a name.

    Example:
        >>> is_database_text("CREATE TABLE singer (id INT); INSERT INTO singer VALUES (1)")
        True
        >>> is_database_text("databases/create table/singer.sqlite")
        False
    """
    return _MAKES_TABLE.search(db) is not None


def checked_root(name: str, root: str | os.PathLike[str]) -> str:
    """Return the folder that holds the databases, as text.

    Raises:
        DataError: it is no folder. Without this check every sample would end up unscored, one by one.
    """
    path = Path(root)
    if path.is_dir():
        return os.fspath(root)
    if path.is_file():
        problem = f"is a file. Pass its folder, {str(path.parent)!r}, and the database as `db`"
    else:
        try:
            names = [entry.name for entry in os.scandir(path.parent) if entry.is_dir()]
        except OSError:
            names = []
        problem = f"is not there. {suggest(path.name, names)}Check the path"
    raise DataError(f"`{name}` should be the folder that holds the databases, but {str(root)!r} {problem}.")


def find_database(
    db: str,
    root: str | os.PathLike[str],
    suffixes: tuple[str, ...],
    accepts: Callable[[Path], bool] = Path.is_file,
    called: str = "db",
) -> Path:
    """Return the path that a sample's `db` means: itself, or `ID/ID.SUFFIX`, `ID.SUFFIX` or `ID` under the root.

    Args:
        db: a path, absolute or under the root, or an id.
        root: the folder in which ids are looked up.
        suffixes: what the names of database files end in, the likeliest first.
        accepts: says whether a path is a database; by default every file is one.
        called: what messages call the argument.

    Raises:
        ConfigError: there is none.
    """
    root = Path(root)
    if not db or "\x00" in db or not _encodes(db):
        raise ConfigError(
            f"`{called}` should name a database, but got {db!r}. Pass a path or an id under {root}."
        )
    named = Path(db)
    if named.is_absolute():
        candidates = [named]
    elif ".." in named.parts:
        raise ConfigError(
            f"`{called}` should lie under {root}, but got {db!r}. Pass an absolute path to a database elsewhere."
        )
    else:
        places = [root / named / f"{named.name}{suffix}" for suffix in suffixes]
        places += [root / f"{db}{suffix}" for suffix in suffixes]
        candidates = [root / named, *places, named]
    try:
        for candidate in candidates:
            if accepts(candidate):
                return candidate
    except OSError as error:
        raise ConfigError(
            f"`{called}` should name a database, but got {db!r:.80}: {error.strerror}."
        ) from error
    if named.is_absolute():
        what = "which is a folder" if named.is_dir() else "and there is no such file"
        # Compare names without their suffix: the shared suffix alone would make every name seem near.
        stems = {Path(name).stem: name for name in _names_in(named.parent, suffixes, files_only=True)}
        near = suggest(named.stem, stems)
        raise ConfigError(
            f"`{called}` should be a database file, but got {db!r}, {what}. {near}Check the path."
        )
    if not root.is_dir():
        raise ConfigError(
            f"`root` should be the folder that holds the databases, but got {str(root)!r}, "
            "which is not a folder. Check the path."
        )
    first, *others = suffixes
    raise ConfigError(
        f"`{called}` should be a database under {root}, but got {db!r}: looked for {str(named)!r}, "
        f"{str(named / named.name) + first!r} and {str(named) + first!r} (also {', '.join(others)}). "
        f"{suggest(db, database_names(root, suffixes))}Check the id and the folder."
    )


def _encodes(name: str) -> bool:
    """Return whether a name can be that of a file; half a surrogate pair cannot."""
    try:
        os.fsencode(name)
    except UnicodeError:
        return False
    return True


def database_names(root: str | os.PathLike[str], suffixes: tuple[str, ...]) -> list[str]:
    """Return the ids of the databases under a folder, sorted."""
    return sorted(_names_in(Path(root), suffixes, files_only=False))


def _names_in(folder: Path, suffixes: tuple[str, ...], files_only: bool) -> set[str]:
    names: set[str] = set()
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return names
    for entry in entries:
        path = Path(entry.path)
        if path.suffix in suffixes and path.is_file():
            names.add(path.name if files_only else path.stem)
        elif not files_only and any((path / (path.name + end)).is_file() for end in suffixes):
            names.add(path.name)
    return names
