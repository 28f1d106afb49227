"""All that is known of DuckDB: its executor, its worker program, and how a DuckDB database is recognised."""

from finer_rewards.engines.duckdb.executor import DuckDB

__all__ = ["DuckDB"]
