"""Score what a model wrote against gold SQL, and see why each completion got what it got.

pip install .
python examples/quickstart.py
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import finer_rewards as fr

SCHEMA = """
    CREATE TABLE singer (name TEXT, age INTEGER);
    INSERT INTO singer VALUES ('Ana', 41), ('Bo', 29), ('Cy', 35), ('Di', 29);
"""
GOLD = "SELECT name FROM singer WHERE age < 40 ORDER BY name"
COMPLETIONS = [
    "<think>Singers under forty, by name.</think>SELECT name FROM singer WHERE age < 40 ORDER BY name",
    "<think>Another way to say it.</think>SELECT name FROM singer WHERE NOT age >= 40 ORDER BY 1",
    "<think>Close, but one row too many.</think>SELECT name FROM singer ORDER BY name",
    "<think>A column that is not there.</think>SELECT title FROM singer",
    "I am not sure what you mean.",
]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "concert.sqlite")
        connection.executescript(SCHEMA)
        connection.close()

        samples = [fr.Sample(completion, gold=GOLD, db="concert") for completion in COMPLETIONS]
        reward = "2 * execution_match() + 0.2 * executable()"
        with fr.Scorer(reward, fr.SQLite(folder)) as scorer:
            for sample, score in zip(samples, scorer.score(samples), strict=True):
                print(sample.completion)
                print(score.explain(indent=1))
            print(scorer.signature)


if __name__ == "__main__":
    main()
