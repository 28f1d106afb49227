"""The components of a reward: a fixed set of names, the same for every sample, and their values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from finer_rewards.reward import Reward
from finer_rewards.types import Score

__all__ = ["component_metrics", "component_names", "component_values", "distinct_names", "reason_of", "terms"]


def component_names(reward: Reward) -> tuple[str, ...]:
    """Return the names of a reward's leaves, constants left out: short where that is unique, else in full.

    Example:
        >>> from finer_rewards.rewards import executable, execution_match
        >>> component_names(2 * execution_match() + executable())
        ('execution_match', 'executable')
        >>> component_names(execution_match() + 0.5 * execution_match(mode="bird"))
        ('execution_match()', "execution_match(mode='bird')")
    """
    return tuple(_names(reward).values())


def component_values(reward: Reward, score: Score) -> dict[str, float | None]:
    """Return the value of each component of a score that `reward` gave; always the same keys.

    Args:
        reward: the reward.
        score: what it gave for one sample.

    Returns:
        By component name its value; `None` where it could not be scored, or where the branch that holds it
        was not taken.

    Example:
        >>> from finer_rewards.rewards import constant, executable, gate
        >>> parts = ((0, Score(0.0, name="executable()")),)
        >>> component_values(gate(condition=executable(), then=constant()), Score(0.0, parts=parts))
        {'executable': 0.0}
    """
    found = {part.name: part.value for part in _walk(score)}
    return {name: found.get(leaf) for leaf, name in _names(reward).items()}


def component_metrics(reward: Reward, score: Score) -> dict[str, float]:
    """Return the further numbers of a score's components as `component/metric`; only those that are there.

    Example:
        >>> from finer_rewards.rewards import executable
        >>> score = Score(1.0, name="executable()", metrics={"rows": 3.0})
        >>> component_metrics(executable(), score)
        {'executable/rows': 3.0}
    """
    names = _names(reward)
    return {
        f"{names[part.name]}/{metric}": value
        for part in _walk(score)
        if part.name in names
        for metric, value in part.metrics.items()
    }


def terms(reward: Reward) -> tuple[tuple[float, Reward], ...]:
    """Return the weighted terms whose sum a reward is; a reward that is no sum is its own only term.

    Example:
        >>> from finer_rewards.rewards import executable, execution_match
        >>> terms(2 * execution_match() + executable())
        ((2, execution_match()), (1, executable()))
    """
    return tuple(reward.params["terms"]) if reward.name == "total" else ((1, reward),)


def distinct_names(rewards: Sequence[Reward]) -> tuple[str, ...]:
    """Return a name for each reward: the short one where only one has it, else as the reward prints."""
    uses = Counter(reward.name for reward in rewards)
    return tuple(reward.name if uses[reward.name] == 1 else repr(reward) for reward in rewards)


def reason_of(score: Score) -> str:
    """Return why a score is what it is: its own reason, or those of its parts.

    Example:
        >>> reason_of(Score(1.0, parts=((1, Score(1.0, "it runs", name="executable()")),)))
        'executable(): it runs'
    """
    if score.reason:
        return score.reason
    reasons = (f"{part.name}: {part.reason}" for part in _walk(score) if part.reason)
    return "; ".join(dict.fromkeys(reasons))


@lru_cache(maxsize=256)
def _names(reward: Reward) -> Mapping[str, str]:
    parts = reward.components()
    return MappingProxyType(dict(zip(map(repr, parts), distinct_names(parts), strict=True)))


def _walk(score: Score) -> Iterator[Score]:
    waiting = [score]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(part for _, part in reversed(one.parts))
