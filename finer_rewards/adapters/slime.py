"""slime: a function for `--custom-rm-path`. A module with two lines is enough:

    from finer_rewards.adapters.slime import build
    reward = build("2 * execution_match() + executable()", root="/data/spider/database")

    --custom-rm-path my_reward.reward --group-rm

The gold SQL and the database stand in a sample's `label` (a mapping, or its JSON, with `gold` and `db`) or in its
`metadata`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from finer_rewards._chat import read_response
from finer_rewards.adapters._training_rows import question_in, truth_of
from finer_rewards.adapters.scorers import RowScorer

__all__ = ["build", "score"]


def build(spec: str = "execution_match()", **options: Any) -> Callable[..., Any]:
    """Return the function that slime awaits, for one sample or, with `--group-rm`, for a group.

    A sample that cannot be scored is removed from the loss (`remove_sample`), but its number still enters the mean of
    the group. With `--group-rm` it gets the mean of the others, so that it changes no advantage; without, `fallback`.

    Args:
        spec: the reward as it prints, or the name of a preset.
        options: further options of `finer_rewards.adapters.scorers.RowScorer` and of `SQLite`.

    Raises:
        ConfigError: the reward or an option cannot be used.

    References:
        slime 0.3.1, `slime.rollout.rm_hub`.
    """
    # Make the scorer now, so that a wrong option is reported now.
    RowScorer.of({"spec": spec, **options}).scorer  # noqa: B018
    return partial(score, options={"spec": spec, **options})


async def score(args: Any, sample: Any, *, options: Mapping[str, Any], **kwargs: Any) -> Any:
    """Return the reward of a sample, or the rewards of a list of samples, without blocking the event loop."""
    samples = sample if isinstance(sample, list) else [sample]
    values = await asyncio.to_thread(_values, RowScorer.of(options), samples)
    return values if isinstance(sample, list) else values[0]


def _values(scorer: RowScorer, samples: Sequence[Any]) -> list[float]:
    judged = scorer.judge_all(
        list(map(_row, samples)),
        [read_response(one.response or "") for one in samples],
        where="A label",
        caller="build",
        prompts=[question_in(one.prompt) for one in samples],
    )
    for sample, one in zip(samples, judged, strict=True):
        if one.score.value is None:
            sample.remove_sample = True
    groups = [one.group_index if getattr(one, "group_index", None) is not None else 0 for one in samples]
    return scorer.fill(judged, groups)


def _row(sample: Any) -> Mapping[str, Any]:
    metadata = sample.metadata if isinstance(sample.metadata, Mapping) else {}
    return {**metadata, **(truth_of(sample.label) if sample.label is not None else {})}
