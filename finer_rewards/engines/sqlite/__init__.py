"""All that is known of SQLite: its executor, its worker, its catalogue, and how a database of its is recognised."""

from finer_rewards.engines.sqlite.executor import SQLite

__all__ = ["SQLite"]
