"""Comparing two results: pure, database-free, by named modes.

    compare(gold, predicted, mode) -> Comparison(match, score, reason)

`strict` is ours and the default; every published evaluator is here too, bug for bug (`modes()`).
"""

from __future__ import annotations

from finer_rewards.comparing.compare import compare, find_mode
from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.named import modes
from finer_rewards.comparing.result import Comparison

__all__ = ["Comparison", "Mode", "compare", "find_mode", "modes"]
