"""What verl calls, called as verl calls it; and the overrides that make verl call it. No file of yours is needed.

python examples/verl_reward.py
"""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import Any

from finer_rewards.adapters.verl import compute_score_async, overrides

REWARD = "2 * execution_match() + executable()"
ROOT = str(Path(__file__).parent / "ferries")
# A row of the parquet, as `finer-rewards prepare --to verl` writes it.
ROW: dict[str, Any] = {
    "data_source": "ferries",
    "reward_model": {"ground_truth": "SELECT COUNT(*) FROM ferry"},
    "extra_info": {"db": "ferries", "question": "How many ferries are there?"},
}


async def main() -> None:
    print("python -m verl.trainer.main_ppo \\")
    for line in overrides(REWARD, ROOT, asynchronous=True, timeout=10):
        print(f"    {shlex.quote(line)} \\")
    for response in ("SELECT COUNT(id) FROM ferry", "SELECT MAX(id) FROM trip", "SELECT COUNT(* FROM ferry"):
        record = await compute_score_async(
            ROW["data_source"], response, ROW["reward_model"]["ground_truth"], ROW["extra_info"],
            spec=REWARD, root=ROOT, timeout=10,
        )  # fmt: skip
        print(record)


if __name__ == "__main__":
    asyncio.run(main())
