"""All that is known of SQLite: its executor, its worker programs, and how a SQLite database is recognised."""

from finer_rewards.engines.sqlite.executor import SQLite

__all__ = ["SQLite"]
