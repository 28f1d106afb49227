"""PostgreSQL's record for the registry: its places are connection strings."""

from __future__ import annotations

from finer_rewards.engines.engine import Engine, Place, package_fact
from finer_rewards.engines.postgres.dsn import database_in, is_dsn
from finer_rewards.engines.postgres.executor import Postgres
from finer_rewards.executing.pooled import PooledExecutor


def _look(dsn: str) -> Place:
    """Return the place of a connection string.

    If it names a database, that serves every statement, like a database file; if not, each statement names a
    database of the server, as in a folder of files.
    """
    own = database_in(dsn)
    return Place(dsn, own, options={"db_means": "nothing"} if own else {})


def _warn(executor: PooledExecutor) -> str:
    if executor.describe().get("rights") != "write":
        return ""
    return (
        "the role of this connection may write. Statements run in read-only transactions all the same; a role that "
        "may only read is safer: GRANT pg_read_all_data TO reader."
    )


POSTGRES = Engine(
    "postgres",
    Postgres,
    owns=is_dsn,
    look=_look,
    addresses=is_dsn,
    extra="postgres",
    packages=("psycopg",),
    facts=lambda: (package_fact("PostgreSQL", "psycopg", "postgres"),),
    warn=_warn,
)
