"""Rewards and penalties on the length of a completion, in characters: a reward knows no tokenizer.

`length_penalised` depends on a whole group of completions, so it is no reward, which sees one sample.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import mean, stdev

from finer_rewards.errors import ConfigError
from finer_rewards.reward import reward
from finer_rewards.rewards.tags import between
from finer_rewards.types import Evidence, Score, Status


def _check_length(limit: int) -> None:
    if limit < 1:
        raise ConfigError(f"`sql_r1_length(limit=...)` should be at least 1, but got {limit!r}. Pass 2048.")


@reward(check=_check_length)
def sql_r1_length(evidence: Evidence, *, limit: int = 2048) -> Score:
    """SQL-R1's length reward, in [0, 1.5]: longer reasoning, and a larger share of SQL in the answer.

    Formula: 0.5 min(1, L / limit) + |sql| / |answer| with L = |thought| + |answer|, all in characters, the
    SQL with runs of white space as one space. Thought and answer are what the last `<think>` and `<answer>` tags hold;
    0 without an answer tag or without SQL.

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
        >>> -0.5 * overlong(limit=4000, buffer=1000)
        -0.5 * overlong(limit=4000, buffer=1000)

    References:
        Yu et al., DAPO, 2025, equation 13 (soft overlong punishment); CogniSQL, 2025 (-0.5, second-hand).
    """
    length = len(evidence.sample.completion)
    return Score(min(1.0, max(0.0, (length - limit + buffer) / buffer)), f"{length} characters")


def length_penalised(
    values: Sequence[float | None],
    completions: Sequence[str],
    *,
    strength: float = 0.1,
    right_above: float = 0.5,
    floor: float = 0.2,
    most: float = 0.9,
) -> list[float | None]:
    r"""Return the scores of one group, less a penalty on completions longer than its right ones.

    With mean $m$ and standard deviation $s$ of the lengths of the completions scored above `right_above`,
    $$ v' = \max(0, v - \min(most, strength \cdot z)), \qquad z = (length - m) / \max(s, floor \cdot m) $$
    where $v > 0$ and $z > 0$; other scores stay, and all do when fewer than two completions are right.

    Apply it to the values of one GRPO group after scoring. A right answer can fall below a shorter wrong one.

    Args:
        values: the scores of the group; `None` stays `None`.
        completions: the texts, as many.
        strength: price of one standard deviation.
        right_above: a score above this counts as right.
        floor: least standard deviation, as a share of the mean.
        most: largest penalty.

    Raises:
        ConfigError: the two sequences differ in length.

    Example:
        >>> length_penalised([1.0, 1.0, 0.5], ["x" * 10, "x" * 10, "x" * 14])
        [1.0, 1.0, 0.3]

    References:
        Papicchio et al., Think2SQL, 2025, code (`apply_dynamic_len_penalty`).
    """
    if len(values) != len(completions):
        raise ConfigError(
            f"`length_penalised(values, completions)` should get as many of both, but got {len(values)} and "
            f"{len(completions)}. Pass one group."
        )
    right = [
        len(text)
        for value, text in zip(values, completions, strict=True)
        if value is not None and value > right_above
    ]
    if len(right) < 2:
        return list(values)
    middle = mean(right)
    deviation = max(stdev(right), floor * middle)

    def penalised(value: float | None, length: int) -> float | None:
        if value is None or value <= 0 or length <= middle or not deviation:
            return value
        return max(0.0, value - min(most, strength * (length - middle) / deviation))

    return [penalised(value, len(text)) for value, text in zip(values, completions, strict=True)]
