"""A reward function of completions and dataset columns, for trainers that read `None` as 0: ms-swift, tunix.

    from finer_rewards.adapters.columns import ColumnReward
    reward = ColumnReward("2 * execution_match() + executable()", root="/data/spider/database")

    GRPOLearner(..., reward_fns=reward)  # tunix

The rows hold the gold SQL in `gold` and the database in `db`, among their other columns.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from finer_rewards._chat import Chat, read_chat
from finer_rewards.adapters._training_rows import question_in, refuse_groups
from finer_rewards.adapters.scorers import RowScorer
from finer_rewards.errors import ConfigError

__all__ = ["ColumnReward"]


class ColumnReward:
    """Scores a batch; a sample that cannot be scored gets the mean of its group.

    These trainers add the values of their functions with `nansum`, so `None` would count as 0, the worst of its group.
    A sample with the group's mean has an advantage of 0, and changes those of the others only through the standard
    deviation. If a group is split over ranks, only the part on this rank is known; if nothing of it has a value, all
    of it gets `fallback`.

    Args:
        spec: the reward as it prints, or the name of a preset.
        name: its name in the trainer's logs.
        options: further options of `finer_rewards.adapters.scorers.RowScorer` and of `SQLite`.

    Raises:
        ConfigError: the reward or an option cannot be used. When called: a column is missing, or no database was found
            for any of the first 8 samples.

    Example:
        >>> reward = ColumnReward("well_formed(policy='plain')")
        >>> reward(completions=["SELECT 1", "1"], gold=["SELECT 1"] * 2, db=["any"] * 2)
        [1.0, 0.0]

    References:
        ms-swift 4.6, `swift.rl_core.grpo_algorithm.compute_rewards_per_func`; tunix 0.1.7,
        `tunix.rl.reward_manager.SequenceRewardManager`.
    """

    def __init__(self, spec: str = "execution_match()", *, name: str = "finer", **options: Any) -> None:
        self.rows = RowScorer.of({"spec": spec, **options})
        # This makes the scorer, so that a wrong option is reported now.
        refuse_groups(
            self.rows.scorer.reward, "This trainer", "Use TRL or verl for it, or leave in_lost_groups out."
        )
        self.__name__ = name

    def __call__(
        self,
        completions: Sequence[Any],
        *,
        prompts: Sequence[Any] | None = None,
        messages: Sequence[Any] | None = None,
        prompt_id: Sequence[Any] | None = None,
        trainer_state: Any = None,
        **columns: Any,
    ) -> list[float]:
        """Return one number for each completion.

        Completions with the same `prompt_id`, or else with equal prompts and rows, form a group.
        """
        count = len(completions)
        known = (self.rows.gold, self.rows.db, self.rows.question, self.rows.answer)
        there = {name: values for name, values in columns.items() if name in known}
        for name, values in (("prompts", prompts), *there.items()):
            if values is not None and len(values) != count:
                raise ConfigError(
                    f"`{name}` should hold one value a completion, but got {len(values)} for {count}. "
                    "Repeat it for every completion of a prompt."
                )
        rows = [{name: values[index] for name, values in there.items()} for index in range(count)]
        asked = [messages[index] if messages is not None else None for index in range(count)]
        given = [prompts[index] if prompts is not None else asked[index] for index in range(count)]
        questions = list(map(question_in, given))
        judged = self.rows.judge_all(
            rows,
            list(map(_chat, completions, asked)),
            where="The dataset",
            caller=type(self).__name__,
            prompts=questions,
            step=getattr(trainer_state, "global_step", None),
        )
        groups: list[Hashable] = [
            (prompt_id[index] if prompt_id is not None else None) or (questions[index], repr(rows[index]))
            for index in range(count)
        ]
        return self.rows.fill(judged, groups)


def _chat(completion: object, messages: object) -> Chat:
    """Return what the model wrote; calls of tools are taken from the messages, if the trainer passes them."""
    chat = read_chat(completion)
    if isinstance(messages, Sequence) and any(
        isinstance(one, Mapping) and one.get("tool_calls") for one in messages
    ):
        return read_chat(messages)._replace(text=chat.text)
    return chat
