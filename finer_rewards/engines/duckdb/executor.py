"""`DuckDB`, the executor that runs SQL on DuckDB in worker processes; it copies SQLite and Parquet files first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from finer_rewards._util.extras import package_folder
from finer_rewards._util.locks import ForkSafeLock
from finer_rewards.engines.duckdb.files import PARQUET, SUFFIXES, DuckDBFile, is_duckdb_place
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.engines.sqlite.files import MAGIC, SQLiteFile, resolve_database
from finer_rewards.errors import ConfigError
from finer_rewards.executing.databases import DatabaseFile, find_database, is_database_text
from finer_rewards.executing.file_executor import FileExecutor
from finer_rewards.executing.limits import limit, size_in_bytes
from finer_rewards.executing.order_probe import Sorting
from finer_rewards.executing.process import Program
from finer_rewards.schema import Schema, table_of

# DuckDB reserves this much address space without using it.
_RESERVED = 2 << 30


@dataclass(frozen=True)
class _OwnOrCopied:
    """A database as the user has it, and the DuckDB file that is opened for it: the file itself, or a copy.

    Args:
        identity: changes when the content of the user's files does.
        files: the user's files.
        path: the DuckDB file to open.
        kind: `duckdb`, `sqlite` or `parquet`.
    """

    identity: tuple[str, tuple[int, ...]]
    files: tuple[DatabaseFile, ...]
    path: str
    kind: str

    @property
    def place(self) -> str:
        """A name that stays the same when the content changes: the path."""
        return self.identity[0]

    @property
    def request(self) -> tuple[Any, str]:
        """The message to a worker: the key under which it keeps the connection, and the path to open."""
        return self.identity, self.path

    def digest(self) -> str:
        """Return a digest of the user's files."""
        content = blake2b(digest_size=20)
        for file in self.files:
            content.update(f"{Path(file.path).name} {file.digest()}\n".encode("utf-8", "surrogateescape"))
        return content.hexdigest()


class _Copies:
    """The copies of SQLite and Parquet databases as DuckDB files, in a temporary folder that goes with the executor."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._made: dict[Hashable, str] = {}
        self._folder = ""

    def get(self, kind: str, path: str, source: str, identity: Hashable, memory: int) -> str:
        """Return the path of the copy of a database; the first call makes it.

        Args:
            kind: `sqlite` or `parquet`.
            path: the user's database, for messages.
            source: the URI or path that the copying program opens.
            identity: changes when the content does; another content is copied anew.
            memory: bytes that the copying program may use.
        """
        with self._lock:
            if identity not in self._made:
                if not self._folder:
                    self._folder = tempfile.mkdtemp(prefix="finer-rewards-")
                    weakref.finalize(self, _remove, self._folder, os.getpid())
                target = str(Path(self._folder, f"{len(self._made)}-{os.getpid()}.duckdb"))
                program = str(Path(__file__).with_name("copying.py"))
                command = [sys.executable, "-I", "-S", program, os.pathsep.join(_packages())]
                run = subprocess.run(
                    [*command, kind, source, target, str(memory)], capture_output=True, text=True, check=False
                )
                if run.returncode:
                    Path(target).unlink(missing_ok=True)
                    why = run.stderr.strip().splitlines() or [f"the process ended with {run.returncode}"]
                    raise ConfigError(
                        f"`db` should be a database that DuckDB can hold, but {path} could not be copied: "
                        f"{why[-1]}. Check the file."
                    )
                self._made[identity] = target
            return self._made[identity]


def _remove(folder: str, process: int) -> None:
    """Remove the folder of copies, unless this is a fork of the process that made it."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DuckDB(FileExecutor):
    """Runs SQL on DuckDB: read-only, one SELECT, within limits. Needs `pip install 'finer-rewards[duckdb]'`.

    A database is a DuckDB file, a Parquet file or a folder of them (each a table of its name), or a SQLite file.
    A database given as text, CREATE and INSERT statements, is made by SQLite (see `SQLite`) and copied like a SQLite
    file. SQLite and Parquet files are copied once into a temporary DuckDB file, with a type for each column that holds
    all its values.

    Cells come as SQLite would have them, so that results compare alike: BOOLEAN as 0 and 1; DECIMAL as an
    integer when it is whole and as a float when not; dates, times and timestamps as ISO text (with a zone: in
    UTC, ending in `+00`); UUID and ENUM as text; an INTERVAL as days and time, a month taken for 30 days; lists,
    structs and maps as JSON text. A query that reads files, settings or the engine's own state is refused.

    Args:
        root: the folder in which database ids are looked up (`ID/ID.duckdb`, `ID.duckdb`, the same with
            `.sqlite`, or a folder `ID` of Parquet files).
        timeout: seconds a query may take. This, `max_rows`, `max_bytes`, `memory_limit`, `workers`,
            `deadline`, `deadline_factor` and `deadline_floor` are explained in `Limits`. Here
            `memory_limit` bounds the memory that each worker may write to; DuckDB's own limit, which does not count
            what functions take, is half of it.
        max_copy: the largest size of SQLite or Parquet files that are copied; larger ones are not opened.
        cache: a folder in which results of gold queries are kept from run to run.

    Raises:
        MissingExtraError: DuckDB is not installed.

    Example:
        >>> import duckdb, tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with duckdb.connect(str(folder / "concert.duckdb")) as connection:
        ...     _ = connection.execute("CREATE TABLE singer AS SELECT 'Joe' AS name, DATE '1990-01-02' AS born")
        >>> with DuckDB(folder, workers=1) as executor:
        ...     executor.execute("SELECT * FROM singer", "concert").rows
        ...     executor.execute("SELECT * FROM read_csv('/etc/passwd')", "concert").status.name
        (('Joe', '1990-01-02'),)
        'refused'
    """

    dialect = "duckdb"
    sorting = Sorting(nulls="last")

    memory_limit: str | int = limit("1GiB", partial(size_in_bytes, least=256 << 20))
    max_copy: str | int = limit("2GiB", size_in_bytes, decides=False)
    _copies: _Copies = field(init=False, default_factory=_Copies)
    _declared: dict[str, tuple[Hashable, Schema]] = field(init=False, default_factory=dict)

    @cached_property
    def _sqlite(self) -> SQLite:
        """What makes databases of text, and knows which make none; its worker ends after each."""
        return SQLite(timeout=self.timeout, workers=1)

    @property
    def program(self) -> Program:
        """The program that its workers run."""
        return Program(str(Path(__file__).with_name("worker.py")), grace=5.0)

    def _settings(self) -> Mapping[str, Any]:
        memory = int(self.memory_limit)
        return {"packages": _packages(), "data": memory, "memory": memory + _RESERVED}

    def describe(self) -> Mapping[str, object]:
        """Return what decides the results: engine, version and limits (not paths or the number of workers)."""
        return {"engine": "duckdb", "version": duckdb_version(), **super().describe()}

    def schema(self, db: str) -> Schema:
        """Return the schema of a database; that of a SQLite file has the keys declared there, which a copy lacks.

        Raises:
            ConfigError: there is no such database, or it cannot be read.
        """
        source = self._look_for_schema(db)
        known = self._declared.get(db)
        if known is None or known[0] != source.identity:
            schema = super().schema(db)
            if source.kind == "sqlite":
                with self._sqlite as sqlite:
                    schema = _with_keys(schema, sqlite.schema(source.files[0].path))
            known = self._declared[db] = (source.identity, schema)
        return known[1]

    def _find(self, db: str, called: str) -> Path:
        if is_database_text(db):
            with self._sqlite as sqlite:
                return Path(sqlite._look(db).place)
        return find_database(db, self.root, SUFFIXES, is_duckdb_place, called=called)

    def _look_at(self, path: Path) -> _OwnOrCopied:
        if path.is_dir():
            files = tuple(DatabaseFile.look(one) for one in sorted(path.glob("*.parquet")))
            identity = (str(path.absolute()), sum((file.state for file in files), ()))
            copy = self._copy("parquet", str(path.absolute()), identity, files)
            return _OwnOrCopied(identity, files, copy, "parquet")
        with path.open("rb") as start:
            head = start.read(16)
        if head == MAGIC:
            file = SQLiteFile.look(resolve_database(str(path.absolute())))
            copy = self._copy("sqlite", file.path, file.identity, (file,))
            return _OwnOrCopied(file.identity, (file,), copy, "sqlite")
        if head[:4] == PARQUET:
            one = DatabaseFile.look(path)
            copy = self._copy("parquet", one.path, one.identity, (one,))
            return _OwnOrCopied(one.identity, (one,), copy, "parquet")
        if head[8:12] != b"DUCK":
            what = f"begins with {head!r}" if head else "is empty (0 bytes)"
            raise ConfigError(
                f"`db` should be a DuckDB file, a SQLite file, a Parquet file or a folder of them, but {path} {what}. "
                "Pass the database file itself."
            )
        own = DuckDBFile.look(path)
        return _OwnOrCopied(own.identity, (own,), own.path, "duckdb")

    def _copy(self, kind: str, path: str, identity: Hashable, files: tuple[DatabaseFile, ...]) -> str:
        size = sum(Path(file.path).stat().st_size for file in files)
        if size > int(self.max_copy):
            raise ConfigError(
                f"`db` should be at most {self.max_copy} bytes to be copied into DuckDB, but {path} has {size}. "
                "Pass a larger `max_copy`, or a DuckDB file."
            )
        source = files[0].request[1] if isinstance(files[0], SQLiteFile) else path
        return self._copies.get(kind, path, source, identity, int(self.memory_limit))

    def _read_schema(self, found: Any) -> Schema:
        return Schema(tuple(table_of(*table) for table in found))


def duckdb_version() -> str:
    """Return the version of DuckDB, without loading it."""
    try:
        return version("duckdb")
    except PackageNotFoundError:
        return "unknown"


def _packages() -> list[str]:
    """Return the folder that DuckDB is imported from; workers see no other packages."""
    return [package_folder("duckdb", "DuckDB", "duckdb")]


def _with_keys(copy: Schema, declared: Schema) -> Schema:
    """Return the schema of a copy with the keys and NOT NULLs of its original."""
    originals = {table.name.lower(): table for table in declared.tables}
    tables = []
    for table in copy.tables:
        original = originals.get(table.name.lower())
        if original is not None and not table.view:
            required = {column.name.lower() for column in original.columns if column.not_null}
            columns = (replace(one, not_null=one.name.lower() in required) for one in table.columns)
            table = replace(original, name=table.name, columns=tuple(columns))
        tables.append(table)
    return Schema(tuple(tables))
