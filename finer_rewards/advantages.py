"""Computes advantages from groups of scores, for users with their own training loop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import stdev
from typing import Final, Literal

from finer_rewards.errors import ConfigError
from finer_rewards.types import Score

__all__ = ["group_advantages", "silent_groups"]

_SCALES: Final = ("group", "batch", "none")


def group_advantages(
    scores: Iterable[Score | float | None],
    group_size: int,
    *,
    scale: Literal["group", "batch", "none"] = "group",
) -> list[float | None]:
    """Return the advantage of each completion over the others of its prompt; `None` if it has no score.

    Formula: (r - m) / s, with r the value, m the mean of the group's values and s their standard deviation (GRPO), that
    of all values of the batch, or 1 (Dr. GRPO). Samples that cannot be scored have no part in m and s. If all values of
    a group are equal, or only one completion has a value, or s is 0, the advantages are exactly 0.

    Leave the completions with `None` out of the loss, or give them 0: `None` says nothing of the completion. If a gold
    cannot be used, that is its whole group.

    Args:
        scores: scores or their values, the `group_size` completions of one prompt after those of another.
        group_size: the number of completions of a prompt.
        scale: `"group"`, the sample standard deviation (n - 1) of the group; `"batch"`, that of all values;
            `"none"`, no scaling.

    Raises:
        ConfigError: the scores are not whole groups, or an argument cannot be used.

    Example:
        >>> group_advantages([4.0, 1.0, None, 1.0], 4, scale="none")
        [2.0, -1.0, None, -1.0]
        >>> group_advantages([2.1, 2.1, 2.1, 2.1], 4)
        [0.0, 0.0, 0.0, 0.0]

    References:
        GRPO: Shao et al., DeepSeekMath, 2024, arXiv:2402.03300, section 4.1. Dr. GRPO: Liu et al., Understanding
        R1-Zero-Like Training, 2025, arXiv:2503.20783. By the batch: Hu et al., REINFORCE++, 2025, arXiv:2501.03262.
        TRL adds 1e-4 to s, verl 1e-6; here only an s of 0 is treated specially.
    """
    if scale not in _SCALES:
        raise ConfigError(
            f"`group_advantages(scale=...)` should be one of {', '.join(_SCALES)}, but got {scale!r:.80}."
        )
    groups = _groups("group_advantages", scores, group_size)
    batch = _spread([value for group in groups for value in group if value is not None])
    found: list[float | None] = []
    for group in groups:
        scored = [value for value in group if value is not None]
        mean = math.fsum(scored) / len(scored) if scored else 0.0
        own = _spread(scored)
        spread = {"group": own, "batch": batch, "none": 1.0}[scale]
        # The mean of equal values is rounded, so that their differences from it are tiny but not 0; divided by a
        # small spread they would be large. A group without spread of its own therefore gets exactly 0.
        found += [
            None if value is None else (value - mean) / spread if own and spread else 0.0 for value in group
        ]
    return found


def silent_groups(scores: Iterable[Score | float | None], group_size: int) -> float:
    """Return the share of groups that teach nothing, since all their values are equal or only one has a value.

    TRL's `frac_reward_zero_std` is this share only if advantages are scaled by group or not at all.

    Args:
        scores: as `group_advantages` takes them.
        group_size: completions of a prompt.

    Returns:
        From 0 to 1; 0 if there is no group.

    Raises:
        ConfigError: the scores are not whole groups.

    Example:
        >>> silent_groups([0.0, 0.0, 1.0, 0.0, None, 1.0], 2)
        0.6666666666666666
    """
    groups = _groups("silent_groups", scores, group_size)
    silent = [len({value for value in group if value is not None}) < 2 for group in groups]
    return sum(silent) / len(silent) if silent else 0.0


def _groups(caller: str, scores: Iterable[Score | float | None], group_size: int) -> list[list[float | None]]:
    if isinstance(group_size, bool) or not isinstance(group_size, int) or group_size < 1:
        raise ConfigError(
            f"`{caller}(group_size=...)` should be a count of completions, but got {group_size!r:.80}."
        )
    every = list(scores)
    if len(every) % group_size:
        raise ConfigError(
            f"`{caller}(scores, {group_size})` should get whole groups of {group_size}, but got {len(every)} "
            "scores. Pass unscored ones too, as `None`."
        )
    groups = [every[start : start + group_size] for start in range(0, len(every), group_size)]
    for group in groups:
        if len({lost for score in group if isinstance(score, Score) for lost in _lost(score)}) > 1:
            raise ConfigError(
                f"`{caller}(scores, {group_size})` should get the groups in which the scores were given, but some "
                "scores of one group were given in a group with a right answer and others in one without. "
                f"Score with groups={group_size} too."
            )
    return [[_value(caller, score) for score in group] for group in groups]


def _lost(score: Score) -> Iterator[float]:
    """Yield for each `in_lost_groups` in a score whether it was scored in a group without a right answer."""
    if "lost" in score.metrics:
        yield score.metrics["lost"]
    for _, part in score.parts:
        yield from _lost(part)


def _value(caller: str, score: Score | float | None) -> float | None:
    value = score.value if isinstance(score, Score) else score
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(
            f"`{caller}(scores)` should get scores, finite numbers or None, but got {value!r:.80}. "
            "Pass what `Scorer.score` returns."
        )
    return float(value)


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(set(values)) > 1 else 0.0
