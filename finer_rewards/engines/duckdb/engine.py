"""DuckDB's record for the registry: which places are its own, and what `doctor` checks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from finer_rewards.engines.duckdb.executor import DuckDB
from finer_rewards.engines.duckdb.files import OWN_SUFFIXES, SUFFIXES, is_duckdb_place
from finer_rewards.engines.engine import Check, Engine, Fact, changes_fact, files_at, package_fact
from finer_rewards.engines.sqlite.files import SUFFIXES as SQLITE_SUFFIXES
from finer_rewards.executing.databases import database_names

# `doctor` runs it to see that the time limit ends it.
_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def _owns(place: str) -> bool:
    """Whether a place is a DuckDB or Parquet file, a folder of Parquet files, or a folder that holds such databases.

    A folder that also holds SQLite files is left to SQLite.
    """
    path = Path(place)
    if path.suffix in (*OWN_SUFFIXES, ".parquet"):
        return True
    if not path.is_dir() or database_names(path, SQLITE_SUFFIXES):
        return False
    folders = [path, *(child for child in path.iterdir() if child.is_dir())]
    return bool(database_names(path, OWN_SUFFIXES)) or any(map(is_duckdb_place, folders))


# What older versions do, by the first version that no longer does it. The page docs/engines/differences.md has them
# all, and names the command that runs the versions.
_CHANGES = {"2.0": "5 % 0 is NULL, and IN () is refused"}


def _facts() -> tuple[Fact, ...]:
    installed = package_fact("DuckDB", "duckdb", "duckdb")
    return (installed, changes_fact("DuckDB", installed.found, _CHANGES)) if installed.ok else (installed,)


DUCKDB = Engine(
    "duckdb",
    DuckDB,
    owns=_owns,
    look=partial(files_at, suffixes=SUFFIXES, is_database=is_duckdb_place),
    suffixes=(*OWN_SUFFIXES, ".parquet"),
    extra="duckdb",
    packages=("duckdb",),
    facts=_facts,
    checks=(
        Check("DuckDB: a query runs", "SELECT sum(x) FROM t", "ok"),
        Check("DuckDB: an endless query ends", _ENDLESS, "timeout"),
        Check("DuckDB: reading files is refused", "SELECT * FROM read_text('/etc/passwd')", "refused"),
        Check("DuckDB: writing is refused", "COPY t TO 'copy.csv'", "refused"),
    ),
)
