"""PostgreSQL, asked read-only by worker processes that can be killed."""

from __future__ import annotations

import marshal
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from finer_rewards.engines.postgres.dsn import is_dsn, without_password
from finer_rewards.errors import ConfigError
from finer_rewards.executing.limits import one_of, positive, size_in_bytes
from finer_rewards.executing.pooled import PooledExecutor
from finer_rewards.executing.process import Program, Task
from finer_rewards.extras import package_folder
from finer_rewards.schema import Schema, table_of

__all__ = ["Postgres"]

_PATIENCE = 5.0  # seconds in which a server answers what takes it no time


@dataclass(frozen=True)
class _Server:
    """A database of a server. Nothing tells whether its content has changed."""

    conninfo: str

    @property
    def place(self) -> str:
        """What stays when the content changes: that it did is not seen."""
        return self.identity

    @property
    def identity(self) -> str:
        """What tells it from others; a digest, for it may hold a password."""
        return self.digest()

    @property
    def request(self) -> tuple[Any, str]:
        """What a worker is told."""
        return self.identity, self.conninfo

    def digest(self) -> str:
        """Return a digest of how it is reached."""
        return blake2b(self.conninfo.encode(), digest_size=20).hexdigest()


class Postgres(PooledExecutor):
    """Runs SQL on a PostgreSQL server: read-only, one query. Needs `pip install 'finer-rewards[postgres]'`.

    Every query runs in a read-only transaction of its own, as the query of a cursor, and is rolled back. The
    role should have no right but to read: `CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader`. A
    superuser is turned away. Functions that act on the server (`pg_sleep`, `pg_read_file`,
    `pg_terminate_backend`, advisory locks, `set_config`, `query_to_xml`, ...) and catalogues with passwords are
    refused by name, wherever the name stands.

    A server that is gone or silent gives `Status.unavailable`, never a zero: a session that does not even answer
    that it cancelled a query is given up, and the query runs once more in a new one. Only one that silences that
    one too is a `timeout`.

    Results of gold queries are kept as long as this object lives: make a new one when data change.

    Cells come as SQLite would have them, so that results compare alike: BOOLEAN as 0 and 1; NUMERIC as an
    integer when it is whole and as a float when not; dates, times and timestamps as ISO text (with a zone: in
    UTC, ending in `+00`); CHAR(n) without its padding; intervals, UUIDs, JSON, arrays and all else as the
    server writes them.

    Args:
        dsn: the server, as libpq takes it: `postgresql://reader@host/name`, or `host=... user=...`; what it
            leaves out comes from the `PG...` variables.
        timeout: seconds a query may take; the server cancels it then.
        max_rows: rows fetched; a longer result is cut and marked `truncated`.
        workers: processes, each with a session for each of its last databases; `None` means one a core, at most 8.
        db_means: what a sample's `db` names: a `database` of the server, a `schema` of the database in the
            dsn, or `nothing`: every query runs in the database of the dsn (as BIRD mini-dev's dump has it).
            A `db` that is itself a dsn is always taken for one.
        work_mem: memory that the server may take for each step of a query.
        temp_file_limit: disk that a query may take on the server, where the role may set it.
        memory_limit: address space of each worker.
        max_bytes: size of a result; a larger one is `Status.too_large`.
        superuser: true to take a superuser all the same.

    Raises:
        MissingExtraError: psycopg is not installed.
        ConfigError: the dsn or a limit cannot be used.

    Example:
        >>> Postgres("postgresql://reader@localhost", timeout=10, workers=2).dialect
        'postgres'
    """

    dialect = "postgres"
    program = Program(str(Path(__file__).with_name("worker.py")), grace=10.0, computes=False)
    max_connections = 4
    least_memory = 256 << 20

    def __init__(
        self,
        dsn: str = "",
        *,
        timeout: float = 30.0,
        max_rows: int = 10_000,
        workers: int | None = None,
        db_means: Literal["database", "schema", "nothing"] = "database",
        work_mem: str | int = "64MiB",
        temp_file_limit: str | int = "1GiB",
        memory_limit: str | int = "1GiB",
        max_bytes: str | int = "32MiB",
        superuser: bool = False,
    ) -> None:
        package_folder("postgres", "Postgres", "psycopg")
        super().__init__(
            ".",
            timeout=timeout,
            max_rows=max_rows,
            workers=workers,
            memory_limit=memory_limit,
            max_bytes=max_bytes,
            cache=None,
        )
        self.dsn = _checked(dsn, "dsn")
        self.db_means = one_of("db_means", db_means, ("database", "schema", "nothing"))
        self.work_mem = size_in_bytes("work_mem", work_mem, least=64 << 10, most=1 << 40)
        self.temp_file_limit = size_in_bytes("temp_file_limit", temp_file_limit)
        self.superuser = bool(superuser)
        self._about: tuple[str, str] | None = ("unknown", "unknown")
        # A session that falls silent is replaced once by another.
        self.program = replace(self.program, grace=self.timeout + 5 * _PATIENCE)
        lock_timeout = round(1000 * min(1.0, positive("timeout", timeout) / 4))
        self._start(
            {
                "packages": _packages(),
                "network": True,
                "patience": _PATIENCE,
                "superuser": self.superuser,
                "session": [f"work_mem = {self.work_mem >> 10}", f"lock_timeout = {max(1, lock_timeout)}"],
                "wishes": [f"temp_file_limit = {self.temp_file_limit >> 10}"],
            }
        )
        self._about = None

    def describe(self) -> Mapping[str, object]:
        """Return what decides the results: engine, version and limits; asks the server when it is first called.

        `rights` is what the role may do: `read`, `write` or `superuser`.
        """
        version, rights = self.about()
        return {
            "engine": "postgres",
            "version": version,
            "rights": rights,
            "timeout": self.timeout,
            "max_rows": self.max_rows,
            "memory_limit": self.memory_limit,
            "max_bytes": self.max_bytes,
            "work_mem": self.work_mem,
            "temp_file_limit": self.temp_file_limit,
        }

    def about(self) -> tuple[str, str]:
        """Return the server's version and what the role may do; `unknown` when it cannot be asked."""
        if self._about is None:
            task = Task("about", _Server(_with(self.dsn)).request, "", self.timeout)
            self._pool.run([task])
            assert task.answer is not None
            if task.answer[0] != "ok":
                return "unknown", "unknown"
            version, rights = marshal.loads(task.answer[2][0])
            self._about = (version, rights)
        return self._about

    @property
    def folders(self) -> tuple[str, ...]:
        """None: the role it connects as says what may be read."""
        return ()

    def __repr__(self) -> str:
        shown = {**self._parameters(), "dsn": without_password(self.dsn)}
        return f"Postgres({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def _look(self, db: str) -> _Server:
        if is_dsn(db):
            return _Server(_with(_checked(db, "db")))
        if not db or "\x00" in db:
            raise ConfigError(f"`db` should name a {self.db_means}, but got {db!r}. Pass its name.")
        if self.db_means == "database":
            return _Server(_with(self.dsn, dbname=db))
        if self.db_means == "nothing":
            return _Server(_with(self.dsn))
        name = re.sub(r"([\s\\])", r"\\\1", '"' + db.replace('"', '""') + '"')
        return _Server(_with(self.dsn, options=f"-csearch_path={name}"))

    def _read_schema(self, found: Any) -> Schema:
        return Schema(tuple(table_of(*table) for table in found))


def _with(dsn: str, **changes: str) -> str:
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    known = conninfo_to_dict(dsn)
    if "options" in changes and known.get("options"):
        changes["options"] = f"{known['options']} {changes['options']}"
    defaults = {"connect_timeout": "5", "application_name": "finer-rewards"}
    return make_conninfo("", **{**defaults, **known, **changes})


def _checked(dsn: str, name: str) -> str:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(dsn)
    except (psycopg.ProgrammingError, TypeError) as error:
        raise ConfigError(
            f"`{name}` should be a connection string, but got {without_password(str(dsn))!r:.80}: "
            f"{without_password(str(error).strip())}. Write for example 'postgresql://reader@localhost/name'."
        ) from None
    return dsn


def _packages() -> list[str]:
    """Return the folders that psycopg is imported from; workers see no other packages."""
    names = ("psycopg", "psycopg_binary", "psycopg_c", "typing_extensions")
    found = [spec for name in names if (spec := find_spec(name)) is not None and spec.origin]
    folders = [
        Path(str(spec.origin)).parent.parent
        if spec.submodule_search_locations
        else Path(str(spec.origin)).parent
        for spec in found
    ]
    return list(dict.fromkeys(map(str, folders)))
