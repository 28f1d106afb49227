"""Write a reward of your own, compose it with those that are there, and use it by name.

python examples/extending/reward.py
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import finer_rewards as fr
from finer_rewards import rewards as r


@fr.reward()
def concise(evidence: fr.Evidence, *, budget: int = 60) -> float:
    """1 up to `budget` characters of thought, falling to 0 at twice that."""
    return max(0.0, min(1.0, 2 - len(evidence.answer.thought or "") / budget))


@fr.reward(needs={"execution"})
def right_size(evidence: fr.Evidence) -> float:
    """1 when as many rows come back as should, else 0. A broken gold never reaches this function."""
    predicted, gold = evidence.predicted, evidence.gold
    return float(predicted is not None and gold is not None and len(predicted.rows) == len(gold.rows))


def main() -> None:
    # Being brief pays only where the answer is right, so it can never buy a wrong one.
    reward = r.gate(condition=r.execution_match(), then=2 + concise(budget=40), otherwise=0.3 * right_size())
    assert fr.parse_reward(repr(reward)) == reward  # the text in a config file is the reward
    print(reward)

    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "shop.sqlite")
        connection.executescript("CREATE TABLE item (price INTEGER); INSERT INTO item VALUES (3), (5), (8);")
        connection.close()

        gold = "SELECT max(price) FROM item"
        completions = [
            "<think>The largest.</think>SELECT max(price) FROM item",
            "<think>" + "Let me think about this for a while. " * 3 + "</think>SELECT max(price) FROM item",
            "<think>The smallest?</think>SELECT min(price) FROM item",
            "<think>All of them.</think>SELECT price FROM item",
        ]
        with fr.Scorer(reward, fr.SQLite(folder)) as scorer:
            for score in scorer.score([fr.Sample(text, gold, "shop") for text in completions]):
                print(score.explain())


if __name__ == "__main__":
    main()
