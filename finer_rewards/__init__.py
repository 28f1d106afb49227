"""Typed, fast, hard-to-cheat rewards for text-to-SQL reinforcement learning.

completion ─parse→ Answer ─execute→ Execution ─┐
gold SQL  ──────────────── execute→ Execution ─┼→ Evidence ─reward→ Score
thought   ─────────────── TraceMemory.search ──┘
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from finer_rewards import presets, rewards
from finer_rewards._version import VERSION
from finer_rewards.advantages import group_advantages, silent_groups
from finer_rewards.comparing import Mode, compare, register_mode
from finer_rewards.components import batch_metrics
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.errors import FinerError
from finer_rewards.parsing import parse_completion
from finer_rewards.presets import preset
from finer_rewards.reward import Reward, reward
from finer_rewards.scoring import Scorer
from finer_rewards.spec import parse_reward
from finer_rewards.types import Answer, Evidence, Execution, Sample, Score, Status

if TYPE_CHECKING:
    from finer_rewards import adapters, testing
    from finer_rewards.engines.duckdb import DuckDB
    from finer_rewards.engines.postgres import Postgres
    from finer_rewards.memory import TraceMemory
    from finer_rewards.operations import operation_f1, sql_operations
    from finer_rewards.voting import vote

__all__ = [
    "Answer",
    "DuckDB",
    "Evidence",
    "Execution",
    "FinerError",
    "Mode",
    "Postgres",
    "Reward",
    "SQLite",
    "Sample",
    "Score",
    "Scorer",
    "Status",
    "TraceMemory",
    "adapters",
    "batch_metrics",
    "compare",
    "group_advantages",
    "operation_f1",
    "parse_completion",
    "parse_reward",
    "preset",
    "presets",
    "register_mode",
    "reward",
    "rewards",
    "silent_groups",
    "sql_operations",
    "testing",
    "vote",
]

__version__ = VERSION

# These names are imported when first used, so that a trainer that only executes SQL does not wait for sqlglot or NumPy.
_LATER = {
    "DuckDB": "finer_rewards.engines.duckdb",
    "Postgres": "finer_rewards.engines.postgres",
    "TraceMemory": "finer_rewards.memory",
    "adapters": "finer_rewards.adapters",
    "operation_f1": "finer_rewards.operations",
    "sql_operations": "finer_rewards.operations",
    "testing": "finer_rewards.testing",
    "vote": "finer_rewards.voting",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(_LATER[name])
    return module if _LATER[name].endswith(f".{name}") else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
