"""Rewards of what a model did before it answered: the queries that it ran, and how many turns it took.

Each query is observed as the answer is, so any reward can be asked of it. Without calls there is nothing to ask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from finer_rewards.errors import ConfigError
from finer_rewards.reward import Reward, reward
from finer_rewards.types import Evidence, Score

How = Literal["mean", "max", "min", "sum", "last"]


@reward(combines=True, component=True, needs={"calls"})
def each_call(evidence: Evidence, reward: Reward, *, how: How = "mean", none: float = 0.0) -> Score:
    """`reward` asked of every query that the model ran before it answered; its range is that of `reward`.

    `None` as soon as it is `None` for one of them.

    Args:
        reward: what is asked. It sees the query as the answer, and the gold that the answer has.
        how: what is made of the values: their `mean`, `max`, `min`, `sum`, or the `last`.
        none: the value of a rollout without calls.

    Example:
        >>> from finer_rewards.rewards import executable
        >>> each_call(executable(), none=1)
        each_call(executable(), none=1)

    References:
        Guo et al., MTSQL-R1, arXiv 2510.12831, ACL 2026, pays the mean of a clause F1 so.
    """
    scores = [reward(call) for call in evidence.calls]
    parts = _numbered(scores)
    values = [score.value for score in scores if score.value is not None]
    if len(values) < len(scores):
        lost = next(score for score in scores if score.value is None)
        return Score(None, lost.reason, lost.status, parts=parts)
    if not values:
        return Score(float(none), "no query was run before the answer")
    found = {"mean": math.fsum(values) / len(values), "max": max(values), "min": min(values)}
    found |= {"sum": math.fsum(values), "last": values[-1]}
    return Score(found[how], f"{how} of {len(values)} calls", parts=parts)


def _numbered(scores: Sequence[Score]) -> tuple[tuple[float, Score], ...]:
    """Return scores of steps as parts that are shown, under names that no component has."""
    return tuple((0, replace(score, name=f"{step}: {score.name}")) for step, score in enumerate(scores, 1))


def _check_gain(reward: Reward, rising: float, falling: float, start: float) -> None:
    if not falling >= rising:
        raise ConfigError(
            f"`gain(rising=, falling=)` should have falls cost what rises pay or more, but got {rising!r} and "
            f"{falling!r}: going back and forth would pay. Raise `falling`."
        )


@reward(combines=True, component=True, needs={"calls"}, check=_check_gain)
def gain(
    evidence: Evidence, reward: Reward, *, rising: float = 1.0, falling: float = 1.0, start: float = 0.0
) -> Score:
    """What each step of a rollout adds to `reward`: rises are paid, falls cost.

    Formula: Σ rising · max(0, v[i] - v[i-1]) - falling · max(0, v[i-1] - v[i]) over the values v of the queries that
    were run, in order, and of the answer, with v[0] = `start`. With both weights 1 it is the answer's value less
    `start`, whatever came before; `falling` above `rising` makes going back and forth cost something.

    `None` as soon as one value is `None`.

    Args:
        reward: what is measured, at best in [0, 1].
        rising: what a rise is multiplied by.
        falling: what a fall is multiplied by; below `rising`, going back and forth would pay.
        start: the value before the first step.

    Raises:
        ConfigError: `falling` is below `rising`.

    Example:
        >>> from finer_rewards.rewards import cell_recall
        >>> gain(cell_recall(), falling=1.5)
        gain(cell_recall(), falling=1.5)

    References:
        SQL-ASTRA, arXiv 2603.16161, 2026, has an asymmetric table of transitions in this place (second-hand).
    """
    scores = [reward(one) for one in (*evidence.calls, evidence)]
    parts = _numbered(scores)
    total, before = 0.0, float(start)
    for score in scores:
        if score.value is None:
            return Score(None, score.reason, score.status, parts=parts)
        step = score.value - before
        total += step * (rising if step > 0 else falling)
        before = score.value
    return Score(total, f"{len(scores)} steps, from {start:g} to {before:g}", parts=parts)


def _check_turns(most: int) -> None:
    if most < 1:
        raise ConfigError(f"`few_turns(most=...)` should be a whole number from 1, but got {most!r}.")


@reward(check=_check_turns)
def few_turns(evidence: Evidence, *, most: int = 3) -> Score:
    """1 when the model answered within `most` turns, else 0. The answer is a turn, and so is each round of calls.

    Example:
        >>> few_turns(most=2)
        few_turns(most=2)

    References:
        SQL-Trail, arXiv 2601.17699, ACL 2026, has such a bound by difficulty (second-hand).
    """
    turns = evidence.sample.turns
    return Score(
        float(turns <= most), f"{turns} turn{'' if turns == 1 else 's'}", metrics={"turns": float(turns)}
    )
