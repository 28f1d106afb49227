"""Running SQL, whatever the engine: the executor protocol, worker processes, the cache, what ORDER BY means."""

from finer_rewards.executing.protocol import Executor, Query

__all__ = ["Executor", "Query"]
