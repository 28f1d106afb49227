"""`Postgres`, the executor that sends SQL to a PostgreSQL server, read-only, through worker processes."""

from __future__ import annotations

import marshal
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from finer_rewards._util.extras import package_folder
from finer_rewards.engines.postgres.dsn import is_dsn, without_password
from finer_rewards.errors import ConfigError
from finer_rewards.executing.limits import limit, one_of, size_in_bytes
from finer_rewards.executing.order_probe import Sorting
from finer_rewards.executing.pooled import PooledExecutor
from finer_rewards.executing.process import Program, Task
from finer_rewards.schema import Schema, table_of

# Seconds within which a server that is well answers a command that takes no work.
_PATIENCE = 5.0


@dataclass(frozen=True)
class _ServerDatabase:
    """A database on a server. Whether its content has changed cannot be seen, so its identity never changes."""

    conninfo: str

    @property
    def place(self) -> str:
        """A name that stays the same when the content changes."""
        return self.identity

    @property
    def identity(self) -> str:
        """A key that differs between databases; a digest, because the connection string may hold a password."""
        return self.digest()

    @property
    def request(self) -> tuple[Any, str]:
        """The message to a worker: the key under which it keeps the session, and the connection string."""
        return self.identity, self.conninfo

    def digest(self) -> str:
        """Return a digest of the connection string."""
        return blake2b(self.conninfo.encode(), digest_size=20).hexdigest()


@dataclass(frozen=True, eq=False, repr=False)
class Postgres(PooledExecutor):
    """Runs SQL on a PostgreSQL server: read-only, one query. Needs `pip install 'finer-rewards[postgres]'`.

    Every query runs in a read-only transaction of its own, as the query of a cursor, and is rolled back. The
    role should have no right but to read: `CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader`. A
    superuser is turned away. Functions that act on the server (`pg_sleep`, `pg_read_file`,
    `pg_terminate_backend`, advisory locks, `set_config`, `query_to_xml`, ...) and catalogues with passwords are
    refused by name, wherever the name stands.

    A server that is gone or silent gives `Status.unavailable`, never a zero. When a session does not even answer that
    it cancelled a query, it is given up and the query runs once more in a new session. If that falls silent too, the
    query is a `timeout`.

    Results of gold queries are kept as long as this object lives: make a new object when data change.

    Cells come as SQLite would have them, so that results compare alike: BOOLEAN as 0 and 1; NUMERIC as an
    integer when it is whole and as a float when not; dates, times and timestamps as ISO text (with a zone: in
    UTC, ending in `+00`); CHAR(n) without its padding; intervals, UUIDs, JSON, arrays and all else as the
    server writes them.

    Args:
        dsn: the server, as libpq takes it: `postgresql://reader@host/name`, or `host=... user=...`; what it
            leaves out comes from the `PG...` variables.
        timeout: seconds a query may take; the server cancels it then. This, `max_rows`,
            `max_bytes`, `memory_limit`, `workers`, `deadline`, `deadline_factor` and `deadline_floor` are explained in
            `Limits`. Each worker keeps a session open for each of the databases it used last.
        db_means: what a sample's `db` names: a `database` of the server, a `schema` of the database in the
            dsn, or `nothing`: every query runs in the database of the dsn (as BIRD mini-dev's dump has it).
            A `db` that is itself a connection string is always used as such.
        work_mem: memory that the server may take for each step of a query.
        temp_file_limit: disk that a query may take on the server, where the role may set it.
        superuser: true to accept a superuser all the same.

    Raises:
        MissingExtraError: psycopg is not installed.
        ConfigError: the dsn or a limit cannot be used.

    Example:
        >>> Postgres("postgresql://reader@localhost", timeout=10, workers=2).dialect
        'postgres'
    """

    dialect = "postgres"
    sorting = Sorting(nulls="largest", text_by_bytes=False)

    dsn: str = field(default="", metadata={"check": lambda name, value: _checked(value, name)})
    _: KW_ONLY
    memory_limit: str | int = limit("1GiB", partial(size_in_bytes, least=256 << 20))
    db_means: Literal["database", "schema", "nothing"] = limit(
        "database", partial(one_of, choices=("database", "schema", "nothing")), decides=False
    )
    work_mem: str | int = limit("64MiB", partial(size_in_bytes, least=64 << 10, most=1 << 40))
    temp_file_limit: str | int = limit("1GiB", size_in_bytes)
    superuser: bool = False
    # The server's version and the role's rights, once it has been asked.
    _told: list[tuple[str, str]] = field(init=False, default_factory=list)

    @property
    def program(self) -> Program:
        """The program that its workers run."""
        # Long enough for a second attempt: a session that falls silent is replaced once.
        grace = self.timeout + 5 * _PATIENCE
        return Program(str(Path(__file__).with_name("worker.py")), grace=grace, computes=False)

    def _settings(self) -> Mapping[str, Any]:
        lock_timeout = round(1000 * min(1.0, self.timeout / 4))
        return {
            "packages": _packages(),
            "network": True,
            "patience": _PATIENCE,
            "superuser": self.superuser,
            "session": [f"work_mem = {int(self.work_mem) >> 10}", f"lock_timeout = {max(1, lock_timeout)}"],
            "wishes": [f"temp_file_limit = {int(self.temp_file_limit) >> 10}"],
        }

    def describe(self) -> Mapping[str, object]:
        """Return what decides the results: engine, version and limits; asks the server when it is first called.

        `rights` is what the role may do: `read`, `write` or `superuser`.
        """
        version, rights = self.about()
        return {"engine": "postgres", "version": version, "rights": rights, **super().describe()}

    def about(self) -> tuple[str, str]:
        """Return the server's version and what the role may do; `unknown` when it cannot be asked."""
        if not self._told:
            task = Task("about", _ServerDatabase(_with(self.dsn)).request, "", self.timeout)
            self._pool.run([task])
            assert task.answer is not None
            if task.answer[0] != "ok":
                return "unknown", "unknown"
            version, rights = marshal.loads(task.answer[2][0])
            self._told.append((version, rights))
        return self._told[0]

    def __repr__(self) -> str:
        return without_password(super().__repr__())

    def _look(self, db: str) -> _ServerDatabase:
        if is_dsn(db):
            return _ServerDatabase(_with(_checked(db, "db")))
        if not db or "\x00" in db:
            raise ConfigError(f"`db` should name a {self.db_means}, but got {db!r}. Pass its name.")
        if self.db_means == "database":
            return _ServerDatabase(_with(self.dsn, dbname=db))
        if self.db_means == "nothing":
            return _ServerDatabase(_with(self.dsn))
        name = re.sub(r"([\s\\])", r"\\\1", '"' + db.replace('"', '""') + '"')
        return _ServerDatabase(_with(self.dsn, options=f"-csearch_path={name}"))

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
    # Raises when psycopg is not installed, and says how to install it.
    package_folder("postgres", "Postgres", "psycopg")
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
