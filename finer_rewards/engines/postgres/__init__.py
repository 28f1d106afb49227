"""All that is known of Postgres: its executor, its worker, its catalogue, and how a database of its is recognised."""

from finer_rewards.engines.postgres.executor import Postgres

__all__ = ["Postgres"]
