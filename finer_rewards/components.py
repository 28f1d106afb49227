"""The values of a reward's parts by name, for logs and trackers; the names are the same for every sample."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from statistics import fmean
from types import MappingProxyType

from finer_rewards.reward import Reward
from finer_rewards.types import Score, Status

__all__ = ["batch_metrics"]


def component_names(reward: Reward) -> tuple[str, ...]:
    """Return the names of a reward's components, without constants: the short name if it is unique, else in full.

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
        score: the score that it gave one sample.

    Returns:
        Component name -> value; `None` if the component could not be scored, or stands in the branch of a `gate` that
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
    """Return the metrics of a score's components as `component/metric`; components without metrics are left out.

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
    """Return the weighted terms of a sum; a reward that is no sum is its own only term, with weight 1.

    Example:
        >>> from finer_rewards.rewards import executable, execution_match
        >>> terms(2 * execution_match() + executable())
        ((2, execution_match()), (1, executable()))
    """
    return tuple(reward.params["terms"]) if reward.name == "total" else ((1, reward),)


def distinct_names(rewards: Sequence[Reward]) -> tuple[str, ...]:
    """Return a name for each reward: the short name if no other has it, else the reward as it prints."""
    uses = Counter(reward.name for reward in rewards)
    return tuple(reward.name if uses[reward.name] == 1 else repr(reward) for reward in rewards)


def reason_of(score: Score) -> str:
    """Return the reason of a score; if it has none of its own, the reasons of its parts.

    Example:
        >>> reason_of(Score(1.0, parts=((1, Score(1.0, "it runs", name="executable()")),)))
        'executable(): it runs'
    """
    if score.reason:
        return score.reason
    first: dict[str, str] = {}
    for part in _walk(score):
        # Parts that give the same reason, such as an error of the query, give it once.
        first.setdefault(part.reason, part.name)
    return "; ".join(f"{name}: {reason}" for reason, name in first.items() if reason)


def frequent_reasons(scores: Iterable[Score], most: int = 3) -> dict[str, list[float]]:
    """Return the commonest kinds of reason for not matching, each with 1 for the scores that have it and 0 for others.

    A kind is a reason without the names, texts and numbers of the single query.

    Args:
        scores: the scores of a batch.
        most: the most kinds to return.

    Example:
        >>> frequent_reasons([Score(0.0, "3 rows, gold has 4"), Score(0.0, "1 row, gold has 2"), Score(1.0, "2 rows")])
        {'rows, gold has': [1.0, 1.0, 0.0]}
    """
    kinds = [_kind(score) for score in scores]
    found = Counter(filter(None, kinds)).most_common(most)
    return {kind: [float(one == kind) for one in kinds] for kind, _ in found}


def batch_metrics(reward: Reward, scores: Sequence[Score]) -> dict[str, float]:
    """Return the numbers of a batch that are worth plotting, for W&B, trackio or TensorBoard.

    Args:
        reward: the reward.
        scores: the scores of the batch, at least one.

    Returns:
        `reward`, the mean of the scores that have a value; `unscorable`, the share of those that have none; the mean of
        each component over the samples that have it; and `why/KIND`, the shares of the commonest reasons.

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


# What a reason says about a single query: text in brackets or quotes, and numbers.
_OF_ONE_QUERY = re.compile(r"\([^()]*\)|\"[^\"]*\"|'[^']*'|`[^`]*`|\d[\d.,]*")


def _kind(score: Score) -> str:
    """Return the kind of reason for which a score is no match; empty for a match."""
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
