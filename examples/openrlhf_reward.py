"""The file that OpenRLHF loads: `--reward.remote_url examples/openrlhf_reward.py --data.label_key label`.

Run as it stands, it calls the function as OpenRLHF does. `write_shim` of the adapter writes such files.

python examples/openrlhf_reward.py
"""

from __future__ import annotations

import json
from pathlib import Path

from finer_rewards.adapters.openrlhf import build

# `best` is the largest value, so that `scores` lies in [0, 1] for dynamic filtering.
reward_func = build(
    "2 * execution_match() + executable()", root=str(Path(__file__).parent / "ferries"), best=3
)


def label(gold: str, db: str) -> str:
    """Return the label of a row: OpenRLHF passes one text."""
    return json.dumps({"gold": gold, "db": db})


if __name__ == "__main__":
    prompt = "How many ferries are there? "
    for response in ("SELECT COUNT(*) FROM ferry", "SELECT 3"):
        print(reward_func([prompt + response], [prompt], [label("SELECT COUNT(*) FROM ferry", "ferries")]))
