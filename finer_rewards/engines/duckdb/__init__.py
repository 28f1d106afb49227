"""All that is known of DuckDB: its executor, its worker, its catalogue, and how a database of its is recognised."""

from finer_rewards.engines.duckdb.executor import DuckDB

__all__ = ["DuckDB"]
