"""Running SQL, whatever the engine: a batch of `Query` goes in, one `Execution` each comes out.

Here are the executor protocol, the pool of worker processes, the result cache, and the code that finds out what a gold
query leaves open (ties, ORDER BY). What is special to one engine stands in `engines/`. The modules inside
are private, but for those that an engine of your own needs: `databases`, `file_executor` and `process`.
"""

from finer_rewards.executing.protocol import Executor, Query

__all__ = ["Executor", "Query"]
