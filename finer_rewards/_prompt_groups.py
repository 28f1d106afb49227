"""Groups of samples that are completions of the same prompt; `in_lost_groups(...)` depends on the whole group."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace

from finer_rewards.errors import ConfigError
from finer_rewards.reward import Reward
from finer_rewards.types import Evidence, Score

#: The number of completions for each prompt, if they stand together; or a label for each sample.
Groups = int | Sequence[Hashable] | None


def read_groups(groups: Groups, count: int) -> list[Hashable]:
    """Return the label of each sample's group.

    Raises:
        ConfigError: the groups are not whole, or there is not a label for each sample.
    """
    if groups is None:
        return [None] * count
    if isinstance(groups, int) and not isinstance(groups, bool):
        if groups < 1 or count % groups:
            raise ConfigError(
                f"`groups={groups}` should part the samples into whole groups, but there are {count}. "
                "Score all completions of a prompt together, one prompt after another."
            )
        return [index // groups for index in range(count)]
    if isinstance(groups, (str, bytes, bool)) or not isinstance(groups, Sequence) or len(groups) != count:
        raise ConfigError(
            f"`groups` should be a number of completions or one label for each of {count} samples, "
            f"but got {groups!r:.80}."
        )
    return list(groups)


def met_in_groups(
    reward: Reward, evidence: Sequence[Evidence], labels: Sequence[Hashable]
) -> Mapping[Hashable, frozenset[Reward]]:
    """Return for each group which conditions of the reward's `in_lost_groups` some completion of the group meets.

    Empty for a reward without `in_lost_groups`.
    """
    asked = frozenset(conditions(reward))
    if not asked:
        return {}
    met: dict[Hashable, set[Reward]] = {label: set() for label in labels}
    for one in {id(one): one for one in evidence}.values():
        judged: dict[object, Score] = {condition: condition(one) for condition in asked}
        # The reward will evaluate the conditions again, which mostly means comparing results; so keep the scores.
        one.learn({**one.known, **judged})
    for one, label in zip(evidence, labels, strict=True):
        met[label] |= {condition for condition in asked if (one.known[condition].value or 0.0) > 0}
    return {label: frozenset(found) for label, found in met.items()}


def within_group(evidence: Evidence, met: frozenset[Reward]) -> Evidence:
    """Return the evidence of a sample in whose group some completion meets these conditions."""
    placed = replace(evidence, met_in_group=met)
    placed.learn(evidence.known)
    return placed


def conditions(reward: Reward) -> Iterator[Reward]:
    """Yield the condition `right` of each `in_lost_groups` in a reward."""
    if reward.name == "in_lost_groups":
        yield reward.params["right"]
    for part in reward.parts():
        yield from conditions(part)
