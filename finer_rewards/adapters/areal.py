"""AReaL: a function for `RLVRWorkflow(reward_fn=...)`. Its module is two lines:

    from finer_rewards.adapters.areal import build
    reward = build("2 * execution_match() + executable()", root="/data/spider/database", timeout=5)

    RLVRWorkflow(reward_fn="my_reward.reward", ...)

AReaL pickles the function with each call and runs it in a pool of processes, each of which makes one scorer. The rows
hold the gold SQL in `gold` and the database in `db`, among their other columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from finer_rewards._chat import read_response
from finer_rewards.adapters.scorers import RowScorer
from finer_rewards.components import reason_of
from finer_rewards.errors import ConfigError, UnscorableError
from finer_rewards.parsing import without_endings

__all__ = ["build", "score"]

# The longest timeout in seconds. A gold and a prediction, which may run twice, have to end within the 15 seconds after
# which AReaL silently gives a reward of 0.
_MOST = 6.0


def build(
    spec: str = "execution_match()", *, timeout: float = 5.0, fallback: float | None = None, **options: Any
) -> Callable[..., float]:
    """Return the function that AReaL calls for each sample; it can be pickled, and each process makes a scorer for it.

    AReaL has no value for *cannot be scored*. After an exception it tries again, four times in all, and then rejects
    the whole group; so a sample that cannot be scored raises one.

    Args:
        spec: the reward as it prints, or the name of a preset.
        timeout: seconds a query may take, at most 6: after 15 seconds AReaL starts over, and after four times gives 0.
        fallback: a number for samples that cannot be scored, instead of the exception. It changes the advantages of
            the other samples in the group.
        options: further options of `finer_rewards.adapters.scorers.RowScorer` and of `SQLite`.

    Raises:
        ConfigError: the reward or an option cannot be used. When called: the row lacks a column.
        UnscorableError: when called, for what cannot be scored.

    References:
        AReaL 1.0.4, `areal.api.reward_api`, `areal.workflow.rlvr`.
    """
    if not 0 < timeout <= _MOST:
        raise ConfigError(
            f"`build(timeout=...)` should be at most {_MOST:g} s, but got {timeout!r}: AReaL waits for 15, in which "
            "a query may run twice."
        )
    known = {"spec": spec, "timeout": timeout, **options}
    # Make the scorer now, so that a wrong option is reported now.
    RowScorer.of(known).scorer  # noqa: B018
    return partial(score, options=known, fallback=fallback)


def score(
    prompt: str,
    completions: str,
    prompt_ids: Sequence[int] = (),
    completion_ids: Sequence[int] = (),
    *,
    options: Mapping[str, Any],
    fallback: float | None = None,
    **row: Any,
) -> float:
    """Return the reward of one completion, which AReaL decodes with its special tokens; see `build`."""
    scorer = RowScorer.of(options)
    chat = read_response(without_endings(completions))
    judged = scorer.judge(row, chat, where="A row", caller="build", prompt=prompt)
    if judged.score.value is None:
        if fallback is None:
            raise UnscorableError(f"A sample cannot be scored: {judged.status.told(reason_of(judged.score))}")
        return float(fallback)
    return scorer.record(judged)["score"]
