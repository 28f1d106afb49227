"""Which engine serves a place: a file, a folder, or a server."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from finer_rewards.engines.duckdb.files import OWN_SUFFIXES
from finer_rewards.engines.postgres.dsn import is_dsn
from finer_rewards.engines.sqlite.files import SUFFIXES
from finer_rewards.errors import ConfigError, suggest
from finer_rewards.executing.databases import database_names

if TYPE_CHECKING:
    from finer_rewards.executing.pooled import PooledExecutor

__all__ = ["ENGINES", "engine_of", "executor_class"]

#: Name, and where its executor is; loaded when used.
ENGINES: Final = {
    "sqlite": ("finer_rewards.engines.sqlite", "SQLite"),
    "duckdb": ("finer_rewards.engines.duckdb", "DuckDB"),
    "postgres": ("finer_rewards.engines.postgres", "Postgres"),
}


def engine_of(place: str | os.PathLike[str]) -> str:
    """Return the engine that a place is for.

    A connection string is PostgreSQL's; a `.duckdb` file, a folder of Parquet files and a folder that holds
    DuckDB files and no SQLite ones are DuckDB's; all else is SQLite's.

    Example:
        >>> engine_of("postgresql://reader@localhost/concert"), engine_of("x.duckdb"), engine_of("x.sqlite")
        ('postgres', 'duckdb', 'sqlite')
    """
    text = os.fspath(place)
    if is_dsn(text):
        return "postgres"
    path = Path(text)
    if path.suffix in OWN_SUFFIXES:
        return "duckdb"
    if path.is_dir() and not database_names(path, SUFFIXES):
        folders = [path, *(child for child in path.iterdir() if child.is_dir())]
        if database_names(path, OWN_SUFFIXES) or any(next(one.glob("*.parquet"), None) for one in folders):
            return "duckdb"
    return "sqlite"


def executor_class(engine: str) -> Callable[..., PooledExecutor]:
    """Return the executor of an engine.

    Raises:
        ConfigError: there is no engine of that name.
    """
    if engine not in ENGINES:
        raise ConfigError(
            f"`engine` should be one of {', '.join(ENGINES)}, but got {engine!r}. "
            f"{suggest(engine, ENGINES)}".rstrip()
        )
    module, name = ENGINES[engine]
    found: Callable[..., PooledExecutor] = getattr(import_module(module), name)
    return found
