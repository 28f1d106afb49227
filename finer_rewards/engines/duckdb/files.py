"""How a database of DuckDB's is recognised."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from finer_rewards.engines.sqlite.files import SUFFIXES as SQLITE_SUFFIXES
from finer_rewards.executing.databases import DatabaseFile

OWN_SUFFIXES = (".duckdb", ".ddb")
PARQUET = b"PAR1"  # how a file of it begins
SUFFIXES = (*OWN_SUFFIXES, *SQLITE_SUFFIXES)


class DuckDBFile(DatabaseFile):
    """A DuckDB file."""

    logs: ClassVar[tuple[str, ...]] = (".wal",)


def is_duckdb_place(path: Path) -> bool:
    """Whether a path may be a database of DuckDB's: a file, or a folder of Parquet files."""
    return path.is_file() or (path.is_dir() and next(path.glob("*.parquet"), None) is not None)
