"""A comparison mode of your own, with a rule of your own: one file, no change to the package.

python examples/extending/mode.py
finer-rewards score pred.sql gold.sql --db shop.sqlite --import examples/extending/mode.py --mode money
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import finer_rewards as fr
from finer_rewards.comparing import Comparison, Sides, rule


@rule(reads={"absolute_tolerance"})
def amounts(sides: Sides, mode: fr.Mode) -> Comparison:
    """The first columns, sorted, agree within the tolerance; what else a query shows does not count."""
    gold, predicted = (
        sorted(float(row[0] or 0) for row in side.rows) for side in (sides.gold, sides.predicted)
    )
    far = [
        pair
        for pair in zip(gold, predicted, strict=False)
        if abs(pair[0] - pair[1]) > mode.absolute_tolerance
    ]
    if len(gold) != len(predicted):
        return Comparison(False, 0.0, f"{len(predicted)} amounts, but gold has {len(gold)}")
    if far:
        return Comparison(False, 0.0, f"{far[0][1]} is not {far[0][0]}")
    return Comparison(True, 1.0, f"{len(gold)} amounts agree")


MONEY = fr.register_mode(
    fr.Mode("money", rule="amounts", absolute_tolerance=0.005, description="Amounts to half a cent.")
)


def main() -> None:
    reward = fr.rewards.execution_match(mode=MONEY)
    assert fr.parse_reward(repr(reward)) == reward == fr.rewards.execution_match(mode="money")
    print(reward)

    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "shop.sqlite")
        connection.executescript(
            "CREATE TABLE item (price REAL); INSERT INTO item VALUES (3.1), (5.2), (8.333);"
        )
        connection.close()
        gold = "SELECT round(avg(price), 2) FROM item"
        completions = [
            "SELECT avg(price), count(*) FROM item",
            "SELECT max(price) FROM item",
            "SELECT 5.54",  # the guards of `execution_match` hold for every mode: this reads no table
        ]
        with fr.Scorer(reward, fr.SQLite(folder)) as scorer:
            for score in scorer.score([fr.Sample(text, gold, "shop") for text in completions]):
                print(score.explain())


if __name__ == "__main__":
    main()
