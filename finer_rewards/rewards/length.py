"""Rewards and penalties on the length of a completion, in characters: a reward knows no tokenizer."""

from __future__ import annotations

import re

from finer_rewards.errors import ConfigError
from finer_rewards.reward import reward
from finer_rewards.rewards.tags import between
from finer_rewards.types import Evidence, Score, Status

__all__ = ["overlong", "sql_r1_length"]


def _check_length(limit: int) -> None:
    if limit < 1:
        raise ConfigError(f"`sql_r1_length(limit=...)` should be at least 1, but got {limit!r}. Pass 2048.")


@reward(check=_check_length)
def sql_r1_length(evidence: Evidence, *, limit: int = 2048) -> Score:
    """SQL-R1's length reward, in [0, 1.5]: longer reasoning, and a larger share of SQL in the answer.

    Formula: 0.5 min(1, L / limit) + |sql| / |answer| with L = |thought| + |answer|, all in characters, the
    SQL with runs of white space as one space. 0 without an answer tag.

    Known to pay for: rambling up to the limit. It has to stand behind a gate on the match.

    Args:
        limit: length of thought and answer beyond which more is not paid.

    Raises:
        ConfigError: `limit` is below 1.

    Example:
        >>> sql_r1_length()
        sql_r1_length()

    References:
        Ma et al., SQL-R1, 2025, section 3; code: DataArcTech/SQL-R1, `synsql.py`, commit acb5c0d.
    """
    thoughts = between(evidence.sample.completion, "<think>", "</think>")
    answers = between(evidence.sample.completion, "<answer>", "</answer>")
    answer = answers[-1].strip() if answers else ""
    if not answer or evidence.answer.sql is None:
        return Score(0.0, "there is no answer with SQL", Status.no_sql)
    thought = thoughts[-1].strip() if thoughts else ""
    sql = re.sub(r"\s+", " ", evidence.answer.sql)
    length = len(thought) + len(answer)
    return Score(0.5 * min(1.0, length / limit) + len(sql) / len(answer), f"{length} characters")


def _check_overlong(limit: int, buffer: int) -> None:
    if not 0 < buffer <= limit:
        raise ConfigError(
            "`overlong(limit=..., buffer=...)` should have 0 < buffer <= limit, "
            f"but got {limit!r} and {buffer!r}. Pass for instance limit=8192, buffer=2048."
        )


@reward(check=_check_overlong)
def overlong(evidence: Evidence, *, limit: int = 8192, buffer: int = 2048) -> Score:
    """How far a completion runs into its length limit, in [0, 1]; give it a negative weight.

    Formula: clip((length - (limit - buffer)) / buffer, 0, 1), in characters; the papers count tokens.

    Args:
        limit: length from which the penalty is whole.
        buffer: length over which it rises.

    Raises:
        ConfigError: the buffer is not within the limit.

    Example:
        >>> execution = overlong(limit=4000, buffer=1000)
        >>> -0.5 * execution
        -0.5 * overlong(limit=4000, buffer=1000)

    References:
        Yu et al., DAPO, 2025, equation 13 (soft overlong punishment); CogniSQL, 2025 (-0.5, second-hand).
    """
    length = len(evidence.sample.completion)
    return Score(min(1.0, max(0.0, (length - limit + buffer) / buffer)), f"{length} characters")
