"""A degree turned into a few levels."""

from __future__ import annotations

from finer_rewards.errors import ConfigError
from finer_rewards.reward import Reward, reward
from finer_rewards.types import Evidence, Score

Steps = tuple[tuple[float, float], ...]


def _check_steps(reward: Reward, steps: Steps) -> None:
    edges = [edge for edge, _ in steps]
    if not steps or edges != sorted(set(edges)):
        raise ConfigError(
            f"`staircase(steps=...)` should be pairs (from, value) that rise in their first number, but got {steps!r}."
        )


@reward(combines=True, check=_check_steps)
def staircase(evidence: Evidence, reward: Reward, *, steps: Steps = ((0, 0), (1, 1))) -> Score:
    """The value of the last step that `reward` reaches, or of the first step below all. `None` stays `None`.

    Args:
        reward: what is cut into levels.
        steps: pairs (from, value), the first numbers rising.

    Raises:
        ConfigError: the steps do not rise.

    Example:
        >>> from finer_rewards.reward import constant
        >>> staircase(constant(0.7), steps=((0, 0.1), (0.5, 0.8), (1, 1)))
        staircase(constant(0.7), steps=((0, 0.1), (0.5, 0.8), (1, 1)))
    """
    score = reward(evidence)
    height = score.value
    value = None
    if height is not None:
        value = float(next((level for edge, level in reversed(steps) if height >= edge), steps[0][1]))
    return Score(value, score.reason, score.status, parts=((1, score),))
