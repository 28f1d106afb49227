"""What each trainer calls, turned into samples for a `Scorer`. No adapter imports its trainer."""

from finer_rewards.adapters import openrlhf, trl, verl

__all__ = ["openrlhf", "trl", "verl"]
