"""Comparing a predicted result with the gold result: pure functions, no database.

    compare(gold, predicted, mode) -> Comparison(match, score, reason)

A `Mode` is a named set of settings for a rule, and a rule is the algorithm that compares. The default mode `strict` is
this library's own; the modes of published evaluators give the same verdicts as these do, bugs included (`modes()`
lists all). To add a mode pass a `Mode` to `register_mode`; to add a rule decorate a function with `@rule`.
Import from here: the modules inside are private.
"""

from __future__ import annotations

from finer_rewards.comparing.compare import compare
from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.named import canonical_mode, find_mode, modes, register_mode
from finer_rewards.comparing.result import Comparison, ResultTable, Sides
from finer_rewards.comparing.rules import rule

__all__ = [
    "Comparison",
    "Mode",
    "ResultTable",
    "Sides",
    "canonical_mode",
    "compare",
    "find_mode",
    "modes",
    "register_mode",
    "rule",
]
