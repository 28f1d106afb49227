"""Running SQL: the executor protocol, SQLite behind it, and other engines, loaded when they are used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from finer_rewards.executing.databases import database_names, resolve_database
from finer_rewards.executing.protocol import Executor, Query
from finer_rewards.executing.sqlite import SQLite

if TYPE_CHECKING:
    from finer_rewards.executing.duckdb import DuckDB
    from finer_rewards.executing.postgres import Postgres

__all__ = [
    "DuckDB",
    "Executor",
    "Postgres",
    "Query",
    "SQLite",
    "database_names",
    "resolve_database",
]

_LATER = {"DuckDB": "duckdb", "Postgres": "postgres"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
