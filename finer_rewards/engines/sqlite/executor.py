"""SQLite, run read-only in worker processes that can be killed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from finer_rewards.engines.sqlite.files import SQLiteFile, resolve_database
from finer_rewards.executing.databases import checked_root
from finer_rewards.executing.limits import LARGEST, one_of, positive, size_in_bytes
from finer_rewards.executing.pooled import Deadline, PooledExecutor, normalise
from finer_rewards.executing.process import Program
from finer_rewards.extras import extra
from finer_rewards.schema import Column, ForeignKey, Schema, Table
from finer_rewards.types import Sample

__all__ = ["SQLite", "normalise"]

_MOST_NAMES = 4096
_DEFAULTS = {"clock": "wall", "engine": "sqlite3"}
_LENGTH, _SQL_LENGTH, _ATTACHED, _LIKE_PATTERN = 0, 1, 7, 8


class SQLite(PooledExecutor):
    """Runs SQL on SQLite databases: read-only, one statement, within limits.

    Args:
        root: the folder in which database ids are looked up (`ID/ID.sqlite` or `ID.sqlite`).
        timeout: seconds a query may take.
        max_rows: rows fetched; a longer result is cut and marked `truncated`.
        workers: processes; `None` means one a core, at most 8.
        memory_limit: address space of each worker, as bytes or as text such as `"1GiB"`. SQLite itself may
            use half of it.
        max_bytes: size of a result; a larger one is `Status.too_large`.
        max_length: longest text or blob SQLite may make, in bytes (Python 3.11 and later).
        cache: a folder in which results of gold queries are kept from run to run, as JSON; `None` keeps
            them in memory only, for as long as this object lives.
        neighbours: how many neighbours of a sample's database a match must hold on too, at most; build them
            with `finer-rewards testsuite build`.
        neighbours_from: the folder they were put in (`ID/neighbours`), if not beside the databases.
        deadline: `absolute`, every query may take `timeout` seconds; `relative`, a prediction may take
            `deadline_factor` times what the slowest of its golds took, but never less than `deadline_floor`
            seconds nor more than `timeout`. That saves most of the time that hopeless queries cost.
        deadline_factor: see there.
        deadline_floor: see there, in seconds.
        clock: what counts against a deadline: `wall` time, or the `cpu` time of the query alone, so that a
            verdict does not hang on what else the machine does.
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
    program = Program(str(Path(__file__).with_name("worker.py")))
    remembers = True
    neighbours = 0

    def __init__(
        self,
        root: str | os.PathLike[str] = ".",
        *,
        timeout: float = 30.0,
        max_rows: int = 10_000,
        workers: int | None = None,
        memory_limit: str | int = "1GiB",
        max_bytes: str | int = "32MiB",
        max_length: str | int = "8MiB",
        cache: str | os.PathLike[str] | None = None,
        neighbours: int = 0,
        neighbours_from: str | os.PathLike[str] | None = None,
        deadline: Deadline = "absolute",
        deadline_factor: float = 100.0,
        deadline_floor: float = 0.25,
        clock: Literal["wall", "cpu"] = "wall",
        engine: Literal["sqlite3", "apsw"] = "sqlite3",
    ) -> None:
        super().__init__(
            checked_root(root),
            timeout=timeout,
            max_rows=max_rows,
            workers=workers,
            memory_limit=memory_limit,
            max_bytes=max_bytes,
            cache=cache,
            deadline=deadline,
            deadline_factor=deadline_factor,
            deadline_floor=deadline_floor,
        )
        self.clock: Literal["wall", "cpu"] = one_of("clock", clock, ("wall", "cpu"))
        self.engine: Literal["sqlite3", "apsw"] = one_of("engine", engine, ("sqlite3", "apsw"))
        self.version, packages = _engine(self.engine)
        if self.engine == "apsw":
            self.program = Program(str(Path(__file__).with_name("apsw_worker.py")))
        self.max_length = size_in_bytes("max_length", max_length, most=LARGEST)
        self._paths: dict[str, Path] = {}
        self._start(
            {
                "clock": self.clock,
                "packages": packages,
                "heap": self.memory_limit // 2,
                "busy_timeout": min(1.0, self.timeout / 4),
                "limits": [
                    (_LENGTH, self.max_length),
                    (_SQL_LENGTH, 4 * self.max_sql),
                    (_ATTACHED, 0),
                    (_LIKE_PATTERN, 5000),
                ],
            }
        )
        # Set last: what the cache keeps of a gold does not hang on neighbours.
        self.neighbours = int(positive("neighbours", neighbours)) if neighbours else 0
        self.neighbours_from = None if neighbours_from is None else os.fspath(neighbours_from)
        self._homes: set[Path] = set()  # where neighbours used so far lie
        self._with_neighbours: set[str] = set()  # databases whose neighbours were used

    def describe(self) -> Mapping[str, object]:
        """Return what decides the results: engine, version, limits and neighbours (not where and how wide it runs).

        `suites` tells the neighbours there are under the root, and those used elsewhere, from any others.
        """
        return {
            "engine": "sqlite",
            "version": self.version,
            "timeout": self.timeout,
            "max_rows": self.max_rows,
            "memory_limit": self.memory_limit,
            "max_bytes": self.max_bytes,
            "max_length": self.max_length,
            **self._deadline_described(),
            **({"clock": self.clock} if self.clock != "wall" else {}),
            **({"neighbours": self.neighbours, "suites": self._suites()} if self.neighbours else {}),
        }

    def _suites(self) -> str:
        from finer_rewards.neighbours import suites_digest

        return suites_digest(self.neighbours_from or self.root, self._homes.copy())

    @property
    def folders(self) -> tuple[str, ...]:
        """Where the databases lie that it is meant to open."""
        return (self.root,) if self.neighbours_from is None else (self.root, self.neighbours_from)

    def with_neighbours(self, samples: list[Sample]) -> list[Sample]:
        """Return the samples, each on its database and the neighbours that serve its gold."""
        if not self.neighbours:
            return samples
        from finer_rewards.neighbours import with_neighbours

        extended = with_neighbours(
            samples,
            self,
            root=self.root,
            most=self.neighbours,
            folder=self.neighbours_from,
            used=self._with_neighbours,
        )
        self._homes.update(Path(path).parent for sample in extended for path in sample.dbs[1:])
        return extended

    def _parameters(self) -> dict[str, Any]:
        names = ("root", "timeout", "max_rows", "workers", "memory_limit", "max_bytes", "max_length", "cache")
        used = ("neighbours", "neighbours_from") if self.neighbours else ()
        more = [name for name in ("clock", "engine") if getattr(self, name) != _DEFAULTS[name]]
        return {
            **{name: getattr(self, name) for name in (*names, *used, *more)},
            **self._deadline_described(),
        }

    def _look(self, db: str) -> SQLiteFile:
        try:
            return SQLiteFile.look(self._resolve(db))
        except OSError:
            # It was there before: look again, and say what is wrong.
            self._paths.pop(db, None)
            return SQLiteFile.look(self._resolve(db))

    def _resolve(self, db: str) -> Path:
        path = self._paths.get(db)
        if path is None:
            if len(self._paths) >= _MOST_NAMES:
                self._paths.clear()  # one file has any number of names
            path = self._paths[db] = resolve_database(db, self.root)
        return path

    def _read_schema(self, found: Any) -> Schema:
        return _schema(found)


def _engine(name: str) -> tuple[str, str]:
    """Return the version of SQLite that an engine brings, and the folder that its package lies in."""
    if name == "sqlite3":
        return sqlite3.sqlite_version, ""
    with extra("fast", "`SQLite(engine='apsw')`", "apsw"):
        import apsw
    return apsw.sqlite_lib_version(), str(Path(apsw.__file__).parent.parent)


def _schema(found: list[tuple[Any, ...]]) -> Schema:
    tables = []
    for name, kind, columns, unique, foreign in found:
        keys = sorted((column[5], column[1]) for column in columns if column[5])
        references: dict[int, tuple[str, list[str], list[str]]] = {}
        for number, _, to_table, column, to_column, *_ in sorted(foreign, key=lambda part: part[:2]):
            reference = references.setdefault(number, (to_table, [], []))
            reference[1].append(column)
            if to_column is not None:
                reference[2].append(to_column)
        tables.append(
            Table(
                name,
                tuple(Column(c[1], c[2] or "", bool(c[3])) for c in columns if c[6] != 1),
                tuple(column for _, column in keys),
                tuple(tuple(part) for part in unique if None not in part),
                tuple(
                    ForeignKey(tuple(ours), to_table, tuple(theirs))
                    for to_table, ours, theirs in references.values()
                ),
                kind == "view",
            )
        )
    # A reference that names no column means the primary key of the table it refers to.
    primary = {table.name.lower(): table.primary_key for table in tables}
    return Schema(
        tuple(
            Table(
                table.name,
                table.columns,
                table.primary_key,
                table.unique,
                tuple(
                    key
                    if key.to_columns
                    else ForeignKey(key.columns, key.to_table, primary.get(key.to_table.lower(), ()))
                    for key in table.foreign_keys
                ),
                table.view,
            )
            for table in tables
        )
    )
