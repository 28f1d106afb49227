"""Published evaluators, bug for bug: one rule each. Those in `frames` and `defog` run on pandas."""

from __future__ import annotations

from finer_rewards.comparing.published import defog, frames, rows

__all__ = ["defog", "frames", "rows"]
