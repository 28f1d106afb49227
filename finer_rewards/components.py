"""The components of a reward: a fixed set of names, the same for every sample, and their values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from statistics import fmean
from types import MappingProxyType

from finer_rewards.reward import Reward
from finer_rewards.types import Score, Status

__all__ = [
    "batch_metrics",
    "component_metrics",
    "component_names",
    "component_values",
    "distinct_names",
    "frequent_reasons",
    "reason_of",
    "terms",
]


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


def frequent_reasons(scores: Iterable[Score], most: int = 3) -> dict[str, list[float]]:
    """Return the kinds of reason that most often keep a score from a match, and which scores have each (1, else 0).

    A kind is a reason without what is of one query alone: names, texts, numbers.

    Args:
        scores: the scores of a batch.
        most: how many kinds at most.

    Example:
        >>> frequent_reasons([Score(0.0, "3 rows, gold has 4"), Score(0.0, "1 row, gold has 2"), Score(1.0, "2 rows")])
        {'rows, gold has': [1.0, 1.0, 0.0]}
    """
    kinds = [_kind(score) for score in scores]
    found = Counter(filter(None, kinds)).most_common(most)
    return {kind: [float(one == kind) for one in kinds] for kind, _ in found}


def batch_metrics(reward: Reward, scores: Sequence[Score]) -> dict[str, float]:
    """Return what is worth a curve of a batch, for a tracker: W&B, trackio, TensorBoard.

    Args:
        reward: what scored.
        scores: the scores of the batch, at least one.

    Returns:
        `reward`, the mean of what has a value; `unscorable`, the share of what has none; each component's mean, where
        it was asked; and `why/KIND`, the shares of the most frequent reasons.

    Example:
        >>> from finer_rewards.rewards import executable
        >>> metrics = batch_metrics(executable(), [Score(1.0, "it runs", name="executable()"), Score(None)])
        >>> metrics["reward"], metrics["executable"], metrics["unscorable"]
        (1.0, 1.0, 0.5)
    """
    columns: dict[str, list[float]] = {"reward": [score.value for score in scores if score.value is not None]}
    for score in scores:
        for name, value in component_values(reward, score).items():
            if value is not None:
                columns.setdefault(name, []).append(value)
    columns["unscorable"] = [float(score.value is None) for score in scores]
    columns |= {f"why/{kind}": shares for kind, shares in frequent_reasons(scores).items()}
    return {name: fmean(values) for name, values in columns.items() if values}


_OF_ONE_QUERY = re.compile(r"\([^()]*\)|\"[^\"]*\"|'[^']*'|`[^`]*`|\d[\d.,]*")


def _kind(score: Score) -> str:
    """Return the kind of reason why a score is no match; empty for a match."""
    parts = [one for one in _walk(score) if not one.parts and one.reason]
    judged = next(
        (one for one in parts if one.name.startswith("execution_match")), parts[0] if parts else score
    )
    if judged.value is not None and judged.value >= 1:
        return ""
    sentence = judged.status.sentence
    if judged.status is not Status.ok and judged.reason.startswith(sentence):
        return sentence.rstrip(".")
    text = _OF_ONE_QUERY.sub("", judged.reason.partition(":")[0])
    return re.sub(r"\brows?\b", "rows", " ".join(text.split()))[:60].strip(" ,.;") or judged.status.name


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
