"""All that is known of PostgreSQL: its executor, its worker program, its catalogues and its connection strings."""

from finer_rewards.engines.postgres.executor import Postgres

__all__ = ["Postgres"]
