"""Compose the reward of a paper from public parts, read it back from its text, and compare two of them.

python examples/composing.py
"""

from __future__ import annotations

from pathlib import Path

import finer_rewards as fr
from finer_rewards import rewards as r

# A ladder: a malformed completion gets 0, SQL that runs gets partial credit, a match gets the most. The weight of the
# F1 keeps every wrong answer below every right one.
PARTIAL = r.gate(condition=r.executable(), then=r.constant() + 0.8 * r.atomic_f1())
LADDER = r.gate(
    condition=r.well_formed(policy="plain"),
    then=r.gate(condition=r.execution_match(), then=r.constant(4.0), otherwise=r.constant() + PARTIAL),
)
GOLD = "SELECT name FROM ferry WHERE seats > 100 ORDER BY name"
TRIES = (
    GOLD,
    "SELECT name FROM ferry WHERE seats > 100 ORDER BY name DESC",
    "SELECT name FROM ferry",
    "SELECT nam FROM ferry",
    "I do not know.",
)


def main() -> None:
    text = repr(LADDER)
    assert fr.parse_reward(text) == LADDER  # what stands in a config file is the reward
    print(text, "looks at", ", ".join(sorted(LADDER.needs)))
    with fr.SQLite(Path(__file__).parent / "ferries") as executor:
        for reward in (LADDER, fr.presets.sql_r1(), fr.preset("execution_only", mode="bird")):
            scorer = fr.Scorer(reward, executor)
            values = [
                score.value for score in scorer.score([fr.Sample(sql, GOLD, "ferries") for sql in TRIES])
            ]
            print(*(f"{value:6.2f}" for value in values), "", repr(reward)[:70])


if __name__ == "__main__":
    main()
