"""ms-swift: a reward function for `swift rlhf --rlhf_type grpo`. The file of plugins has two lines:

    from finer_rewards.adapters.ms_swift import register
    register("2 * execution_match() + executable()", root="/data/spider/database")

    swift rlhf --rlhf_type grpo --external_plugins plugin.py --reward_funcs finer ...

The rows hold the gold SQL in `gold` and the database in `db`, among their other columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finer_rewards.adapters.columns import ColumnReward
from finer_rewards.errors import ConfigError

__all__ = ["register"]


def register(spec: str = "execution_match()", *, name: str = "finer", **options: Any) -> type:
    """Make `--reward_funcs NAME` mean this reward, and return the class that ms-swift will build.

    Args:
        spec: the reward as it prints, or the name of a preset.
        name: its name in `--reward_funcs` and in ms-swift's logs.
        options: those of `finer_rewards.adapters.columns.ColumnReward`.

    Raises:
        ConfigError: the reward or an option cannot be used.
    """
    # ms-swift itself loads the file that calls this, so it is installed.
    from swift.rewards import ORM, orms

    if not name.isidentifier():
        raise ConfigError(f"`register(name=...)` should be a name, but got {name!r}.")
    reward = ColumnReward(spec, name=name, **options)

    class Finer(ORM):  # type: ignore[misc]
        """The reward as the class that ms-swift expects."""

        def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float]:
            """Return one number for each completion."""
            return reward(completions, **columns)

    Finer.__name__ = Finer.__qualname__ = name
    orms[name] = Finer
    return Finer
