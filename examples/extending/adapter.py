"""An adapter for a trainer of your own: one file, no change to the package.

`RowScorer` reads a row, scores a completion and gives numbers; the adapter only says where the trainer keeps what.

python examples/extending/adapter.py
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from finer_rewards.adapters.scorers import RowScorer

# What the trainer calls: (task, response) -> (reward, metrics), in its event loop.
Grade = Callable[[Mapping[str, Any], str], Awaitable[tuple[float, dict[str, float]]]]


def grade_sql(**options: Any) -> Grade:
    """Return what the trainer calls.

    Args:
        options: plain values, as a configuration has them: those of `RowScorer`, and further ones of the executor.
    """
    scorer = RowScorer.of({"gold": "sql", "db": "database", **options})

    async def grade(task: Mapping[str, Any], response: str) -> tuple[float, dict[str, float]]:
        judged = await asyncio.to_thread(scorer.judge, task, response, where="A task", caller="grade_sql")
        numbers = scorer.record(judged)  # what cannot be scored is `fallback`, with `unscorable` 1
        return numbers.pop("score"), numbers

    return grade


async def train(grade: Grade, tasks: list[dict[str, Any]], policy: Mapping[str, str]) -> None:
    """The trainer, as far as it concerns rewards."""
    for task in tasks:
        reward, metrics = await grade(task, policy[task["prompt"]])
        print(f"{task['prompt']:<20} {reward:.2f}  {metrics}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "shop.sqlite")
        connection.executescript("CREATE TABLE item (price INTEGER); INSERT INTO item VALUES (3), (5), (8);")
        connection.close()
        tasks = [
            {"prompt": "The dearest?", "sql": "SELECT max(price) FROM item", "database": "shop"},
            {"prompt": "How many?", "sql": "SELECT count(*) FROM item", "database": "shop"},
            {"prompt": "The mean?", "sql": "SELECT avg(cost) FROM item", "database": "shop"},  # a broken gold
        ]
        policy = {
            "The dearest?": "<think>The largest price.</think>SELECT price FROM item ORDER BY price DESC LIMIT 1",
            "How many?": "<think>Add them up.</think>SELECT sum(price) FROM item",
            "The mean?": "<think>The average.</think>SELECT avg(price) FROM item",
        }
        grade = grade_sql(spec="execution_match() + 0.5 * executable()", root=folder, fallback=-1.0)
        asyncio.run(train(grade, tasks, policy))


if __name__ == "__main__":
    main()
