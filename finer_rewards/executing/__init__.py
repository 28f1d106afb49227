"""Running SQL: the executor protocol, and SQLite behind it."""

from finer_rewards.executing.databases import database_names, resolve_database
from finer_rewards.executing.protocol import Executor, Query
from finer_rewards.executing.sqlite import SQLite

__all__ = ["Executor", "Query", "SQLite", "database_names", "resolve_database"]
