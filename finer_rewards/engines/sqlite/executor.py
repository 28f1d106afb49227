"""`SQLite`, the executor that runs SQL on SQLite files in worker processes, and makes databases given as text."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from finer_rewards._util.extras import extra
from finer_rewards._util.sql_text import one_line
from finer_rewards.engines.sqlite.files import SQLiteFile, resolve_database
from finer_rewards.engines.sqlite.text_files import is_kept, keep_text_file, text_file
from finer_rewards.errors import ConfigError, DataError
from finer_rewards.executing.databases import is_database_text
from finer_rewards.executing.file_executor import FileExecutor
from finer_rewards.executing.limits import LARGEST, limit, one_of, size_in_bytes
from finer_rewards.executing.order_probe import Sorting
from finer_rewards.executing.process import Program, Task
from finer_rewards.executing.siblings import sibling_path
from finer_rewards.schema import Schema, schema_from_catalog

#: Characters that a database given as text may have.
LONGEST_TEXT = 16 << 20
_MOST_UNMADE = 4096
# Making a database from text may take at least this many seconds of CPU time, and so many times as long in all.
_BUILDING, _LATEST = 30.0, 4.0
# Limits of SQLite, by their numbers in its C interface.
_LENGTH, _SQL_LENGTH, _ATTACHED, _LIKE_PATTERN = 0, 1, 7, 8


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SQLite(FileExecutor):
    """Runs SQL on SQLite databases: read-only, one statement, within limits.

    A database may also be given as text: CREATE and INSERT statements in place of a path. A worker runs them once,
    under the limits of a query, and the resulting file is kept in the cache folder (`$FINER_REWARDS_CACHE`) under a
    digest of the text. If the statements fail, the data is at fault.

    Args:
        root: the folder in which database ids are looked up (`ID/ID.sqlite` or `ID.sqlite`).
        timeout: seconds a query may take. This, `max_rows`, `max_bytes`, `memory_limit`, `workers`,
            `deadline`, `deadline_factor` and `deadline_floor` are explained in `Limits`.
            SQLite itself may use half of `memory_limit`.
        cache: a folder in which results of gold queries are kept from run to run, as JSON; `None` keeps
            them in memory only, for as long as this object lives.
        max_length: longest text or blob SQLite may make, in bytes (Python 3.11 and later).
        clock: what counts against a deadline: `wall` time, or the `cpu` time of the query alone, so that a
            verdict does not depend on what else the machine does.
        engine: `sqlite3`, the SQLite that Python was built with, or `apsw`, the newer one that the package
            apsw brings (`pip install 'finer-rewards[fast]'`). The version is part of the signature.

    Example:
        >>> import sqlite3, tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> connection = sqlite3.connect(folder / "concert.sqlite")
        >>> _ = connection.executescript("CREATE TABLE singer (name); INSERT INTO singer VALUES ('Joe')")
        >>> connection.close()
        >>> with SQLite(folder) as executor:
        ...     executor.execute("SELECT name FROM singer", "concert").rows
        ...     executor.execute("DROP TABLE singer", "concert").status.name
        (('Joe',),)
        'refused'
    """

    dialect = "sqlite"
    sorting = Sorting(bare_columns=True)
    views_sql = "SELECT lower(name), sql FROM sqlite_master WHERE type = 'view'"
    remembers = True

    max_length: str | int = limit("8MiB", partial(size_in_bytes, most=LARGEST))
    clock: Literal["wall", "cpu"] = limit("wall", partial(one_of, choices=("wall", "cpu")))
    engine: Literal["sqlite3", "apsw"] = limit(
        "sqlite3", partial(one_of, choices=("sqlite3", "apsw")), decides=False
    )

    #: Name of the file of a text -> why it makes no database, so that it is not tried again.
    _unmade: dict[str, str] = field(init=False, default_factory=dict)

    @property
    def program(self) -> Program:
        """The program that its workers run."""
        return Program(
            str(Path(__file__).with_name("apsw_worker.py" if self.engine == "apsw" else "worker.py"))
        )

    @property
    def version(self) -> str:
        """The version of the SQLite that runs the queries."""
        return _engine(self.engine)[0]

    def _settings(self) -> Mapping[str, Any]:
        return {
            "clock": self.clock,
            "packages": _engine(self.engine)[1],
            "heap": int(self.memory_limit) // 2,
            "busy_timeout": min(1.0, self.timeout / 4),
            "limits": [
                (_LENGTH, self.max_length),
                (_SQL_LENGTH, 4 * self.max_sql),
                (_ATTACHED, 0),
                (_LIKE_PATTERN, 5000),
            ],
        }

    def describe(self) -> Mapping[str, object]:
        """Return what decides the results: engine, version and limits (not paths or the number of workers)."""
        return {
            "engine": "sqlite",
            "version": self.version,
            **super().describe(),
        }

    def _find(self, db: str, called: str) -> Path:
        if is_database_text(db) and sibling_path(db) is None:
            return self._made_of(db)
        return resolve_database(db, self.root, called)

    def _made_of(self, text: str) -> Path:
        """Return the path of the database that the statements of a text make; the first call makes it.

        Raises:
            DataError: the statements fail.
            ConfigError: the worker was lost or got no CPU time, or the cache folder cannot be written.
        """
        path = text_file(text)
        if is_kept(path):
            return path
        if path.name in self._unmade:
            raise DataError(self._unmade[path.name])
        what = one_line(text[:200])
        if len(text) > LONGEST_TEXT:
            raise DataError(
                f"A database given as text should have at most {LONGEST_TEXT:,} characters, but {what!r:.60} has "
                f"{len(text):,}. Make a file of it."
            )
        # What counts is the time of a processor, which the machine's other work does not use up.
        seconds = max(self.timeout, _BUILDING)
        task = Task("build", (None, ""), text, _LATEST * seconds, seconds)
        self._pool.run([task])
        assert task.answer is not None
        status, _, chunks, _, error, *_, used = task.answer
        if status == "unavailable" or (status == "timeout" and used < seconds):
            raise ConfigError(
                f"The database given as text, {what!r:.60}, could not be made: {error}. Try again."
            )
        if status != "ok":
            if len(self._unmade) >= _MOST_UNMADE:
                self._unmade.clear()
            self._unmade[path.name] = (
                f"A database given as text should be CREATE and INSERT statements that SQLite runs, but {what!r:.60} "
                f"ends with: {error}. Correct it, or leave the row out."
            )
            raise DataError(self._unmade[path.name])
        try:
            keep_text_file(path, chunks[0])
        except OSError as problem:
            raise ConfigError(
                f"The cache folder should be one that can be written, but {path.parent} is not: {problem.strerror}. "
                "Set $FINER_REWARDS_CACHE to another."
            ) from None
        return path

    def _look_at(self, path: Path) -> SQLiteFile:
        return SQLiteFile.look(path)

    def _read_schema(self, found: Any) -> Schema:
        return schema_from_catalog(found)


def _engine(name: str) -> tuple[str, str]:
    """Return the version of SQLite behind `sqlite3` or `apsw`, and the folder of the package (empty for `sqlite3`)."""
    if name == "sqlite3":
        return sqlite3.sqlite_version, ""
    with extra("fast", "`SQLite(engine='apsw')`", "apsw"):
        import apsw
    return apsw.sqlite_lib_version(), str(Path(apsw.__file__).parent.parent)
