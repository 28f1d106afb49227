"""ms-swift: a reward function for `swift rlhf --rlhf_type grpo`. Its file of plugins is two lines:

    from finer_rewards.adapters.ms_swift import register
    register("2 * execution_match() + executable()", root="/data/spider/database")

    swift rlhf --rlhf_type grpo --external_plugins plugin.py --reward_funcs finer ...

The rows hold the gold SQL in `gold` and the database in `db`, among their other columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finer_rewards.adapters.rows import (
    Fields,
    fill_groups,
    for_float32,
    judge,
    question_of,
    refuse_groups,
    refuse_lost,
)
from finer_rewards.adapters.scorers import scorer_for
from finer_rewards.chat import read_chat
from finer_rewards.errors import ConfigError

__all__ = ["SwiftReward", "register"]


class SwiftReward:
    """Scores what ms-swift passes; what cannot be scored gets the mean of its group.

    ms-swift takes `None` for 0, the worst of its group. The mean has no advantage, and leaves that of others where it
    is but for the deviation. Of a group that is split over ranks only the part that is here is known; where nothing of
    it has a value, all of it gets `fallback`.

    Args:
        spec: the reward as it prints, or the name of a preset.
        root: folder of the databases, or the address of a server.
        memory: folder of a `TraceMemory`, for rewards that search one.
        gold: column of the gold SQL.
        db: column of the database.
        question: column of the question; `None` takes the last message of the user.
        answer: column of the right rows, for supervision without SQL.
        dialect: sqlglot dialect of all statements; `None` means the executor's own.
        fallback: the reward of groups without any value.
        limits: further arguments of `SQLite`, such as `timeout`; and `log`, a file for score logs.

    Raises:
        ConfigError: the reward or a limit cannot be used. When called: a column is missing, or no database was found
            for the whole first batch.

    Example:
        >>> reward = SwiftReward("well_formed(policy='plain')")
        >>> reward(["SELECT 1", "1"], gold=["SELECT 1"] * 2, db=["any"] * 2)
        [1.0, 0.0]

    References:
        ms-swift 4.6, `swift.rl_core.grpo_algorithm.compute_rewards_per_func`.
    """

    def __init__(
        self,
        spec: str = "execution_match()",
        *,
        root: str = ".",
        memory: str | None = None,
        gold: str = "gold",
        db: str = "db",
        question: str | None = None,
        answer: str | None = None,
        dialect: str | None = None,
        fallback: float = 0.0,
        **limits: Any,
    ) -> None:
        self.scorer = scorer_for(spec, root, limits, memory)
        refuse_groups(self.scorer.reward, "ms-swift", "Use TRL or verl for it, or leave in_lost_groups out.")
        self.fields = Fields(gold, db, question, answer, dialect)
        self.fallback = fallback

    def __call__(
        self,
        completions: Sequence[Any],
        *,
        messages: Sequence[Any] | None = None,
        prompt_id: Sequence[Any] | None = None,
        trainer_state: Any = None,
        **columns: Any,
    ) -> list[float]:
        """Return one number a completion."""
        self.fields.check(columns, where="The dataset", caller="register")
        rows = [
            {name: columns[name][index] for name in self.fields.columns if name in columns}
            for index in range(len(completions))
        ]
        items = []
        for index, row in enumerate(rows):
            chat = read_chat(completions[index])
            asked = [] if messages is None else messages[index]
            if any(isinstance(one, Mapping) and one.get("tool_calls") for one in asked):
                chat = read_chat(asked)._replace(text=chat.text)
            items.append(self.fields.sample(row, chat, question_of(asked)))
        judged = judge(self.scorer, items, step=getattr(trainer_state, "global_step", None))
        refuse_lost(self.scorer, judged)
        values = [None if one.score.value is None else for_float32(one.score.value) for one in judged]
        groups = [one or repr(row) for one, row in zip(prompt_id or [""] * len(rows), rows, strict=True)]
        return fill_groups(values, groups, self.fallback)


def register(spec: str = "execution_match()", *, name: str = "finer", **options: Any) -> type:
    """Make `--reward_funcs NAME` mean this reward, and return the class that ms-swift will build.

    Args:
        spec: the reward as it prints, or the name of a preset.
        name: what to call it; ms-swift logs it under this name.
        options: those of `SwiftReward`.

    Raises:
        ConfigError: the reward or an option cannot be used.
    """
    from swift.rewards import ORM, orms  # ms-swift itself loads the file that calls this

    if not name.isidentifier():
        raise ConfigError(f"`register(name=...)` should be a name, but got {name!r}.")
    reward = SwiftReward(spec, **options)

    class Finer(ORM):  # type: ignore[misc]
        """The reward, as ms-swift has them."""

        def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float]:
            """Return one number a completion."""
            return reward(completions, **columns)

    Finer.__name__ = Finer.__qualname__ = name
    orms[name] = Finer
    return Finer
