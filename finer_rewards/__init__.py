"""Typed, fast, hard-to-cheat rewards for text-to-SQL reinforcement learning.

    completion ─parse→ Answer ─execute→ Execution ─┐
    gold SQL  ──────────────── execute→ Execution ─┼→ Evidence ─reward→ Score
    thought   ─────────────── TraceMemory.search ──┘
"""

from finer_rewards import adapters, presets, rewards
from finer_rewards.comparing import compare
from finer_rewards.errors import FinerError
from finer_rewards.executing import SQLite
from finer_rewards.operations import operation_f1, sql_operations
from finer_rewards.parsing import parse_completion
from finer_rewards.presets import preset
from finer_rewards.reward import Reward, reward
from finer_rewards.scoring import Scorer
from finer_rewards.spec import parse_reward
from finer_rewards.types import Answer, Evidence, Execution, Sample, Score, Status
from finer_rewards.version import VERSION as __version__

__all__ = [
    "Answer",
    "Evidence",
    "Execution",
    "FinerError",
    "Reward",
    "SQLite",
    "Sample",
    "Score",
    "Scorer",
    "Status",
    "adapters",
    "compare",
    "operation_f1",
    "parse_completion",
    "parse_reward",
    "preset",
    "presets",
    "reward",
    "rewards",
    "sql_operations",
]
