"""Comparing two results: pure, database-free, by named modes.

    compare(gold, predicted, mode) -> Comparison(match, score, reason)

`strict` is ours and the default; every published evaluator is here too, bug for bug (`modes()`). A mode of your
own is a `Mode`, known by name after `register_mode`; a new rule is one function under `@rule`.
"""

from __future__ import annotations

from finer_rewards.comparing.compare import compare
from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.named import canonical_mode, find_mode, modes, register_mode
from finer_rewards.comparing.result import Comparison, Sides, Table
from finer_rewards.comparing.rules import rule

__all__ = [
    "Comparison",
    "Mode",
    "Sides",
    "Table",
    "canonical_mode",
    "compare",
    "find_mode",
    "modes",
    "register_mode",
    "rule",
]
