"""Completion -> `Answer`: where the thought ends, where the SQL is, and what is wrong with the form.

Parsing is pure, takes time linear in the text and never raises for what a model wrote. SQL is never fished
out of prose: an answer is what the completion itself marks as one (a tag, a code fence, or all that follows
the thought), so that a lucky phrase is not paid.

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
