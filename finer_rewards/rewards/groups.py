"""Credit by the group: what counts only where no completion of a prompt is right."""

from __future__ import annotations

from typing import Final

from finer_rewards.errors import ConfigError
from finer_rewards.reward import Reward, reward
from finer_rewards.rewards.execution import execution_match
from finer_rewards.types import Evidence, Score

_RIGHT: Final = execution_match()


def _check_right(reward: Reward, right: Reward) -> None:
    if "groups" in right.needs:
        raise ConfigError(
            f"`in_lost_groups(right=...)` should be judged for each completion alone, but got {right!r:.120}. "
            "Pass what makes a completion right, such as execution_match()."
        )


@reward(combines=True, needs={"groups"}, check=_check_right)
def in_lost_groups(evidence: Evidence, reward: Reward, *, right: Reward = _RIGHT) -> Score:
    """`reward` where no completion of the group is right; 0 where one is. A group is the completions of one prompt.

    Where a right answer is in sight the model is to learn that and no other thing; where none is, closeness tells the
    completions apart, which without it would teach nothing. It is the one part whose value depends on other samples,
    so a scorer has to be told the groups: `Scorer.score(samples, groups=8)`. Called on one piece of evidence alone it
    takes that for the whole group.

    Args:
        reward: what counts in groups without a right answer.
        right: a completion is right where this is above 0. What has no value is not right.

    Returns:
        The score of `reward`, or 0. The metric `lost` is 1 in a group without a right answer, else 0.

    Raises:
        ConfigError: `right` depends on groups itself.

    Example:
        >>> from finer_rewards.reward import constant
        >>> in_lost_groups(0.5 * constant())
        in_lost_groups(0.5 * constant())

    References:
        benchmarks/results/learning.md. Signal in silent groups: Le et al., RL-ZVP, 2025, arXiv:2509.21880.
    """
    met = evidence.met_in_group
    if (right(evidence).value or 0.0) > 0 if met is None else right in met:
        return Score(0.0, "the group has a right answer", metrics={"lost": 0.0})
    score = reward(evidence)
    return Score(score.value, score.reason, score.status, parts=((1, score),), metrics={"lost": 1.0})
