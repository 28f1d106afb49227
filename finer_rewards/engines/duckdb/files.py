"""How a database that DuckDB can open is recognised on disk."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from finer_rewards.engines.sqlite.files import SUFFIXES as SQLITE_SUFFIXES
from finer_rewards.executing.databases import DatabaseFile

OWN_SUFFIXES = (".duckdb", ".ddb")
# The first bytes of a Parquet file.
PARQUET = b"PAR1"
SUFFIXES = (*OWN_SUFFIXES, *SQLITE_SUFFIXES)


class DuckDBFile(DatabaseFile):
    """A DuckDB file and its state, its write-ahead log included."""

    logs: ClassVar[tuple[str, ...]] = (".wal",)


def is_duckdb_place(path: Path) -> bool:
    """Whether a path may be a database for DuckDB: any file, or a folder of Parquet files."""
    return path.is_file() or (path.is_dir() and next(path.glob("*.parquet"), None) is not None)
