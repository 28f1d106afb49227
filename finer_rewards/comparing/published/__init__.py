"""The rules of published evaluators, one for each, with the same verdicts, bugs included.

The rules in `frames` and `defog` run on pandas (`pip install 'finer-rewards[published]'`).
"""

from __future__ import annotations

from finer_rewards.comparing.published import defog, frames, row_rules

__all__ = ["defog", "frames", "row_rules"]
