"""Parsing a completion into an `Answer`: its thought, its SQL, and what is wrong with its form.

Parsing is pure, takes time linear in the length of the text, and never raises for what a model wrote. The SQL is what
the completion itself marks as the answer (a tag, a code fence, or all that follows the thought), or what stands there
as a query of its own; phrases within sentences do not count, so that none is rewarded by luck.

Import from here: the modules inside are private.
"""

from __future__ import annotations

from finer_rewards._chat import completion_text
from finer_rewards.parsing._families import without_endings
from finer_rewards.parsing.parser import parse_completion
from finer_rewards.parsing.policy import AUTO, POLICIES, Policy, named_policy

__all__ = [
    "AUTO",
    "POLICIES",
    "Policy",
    "completion_text",
    "named_policy",
    "parse_completion",
    "without_endings",
]
