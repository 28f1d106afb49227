"""SkyRL: an environment for `skyrl_gym`, of one turn or of several with a tool. Register it inside the Ray entry point:

    from finer_rewards.adapters.skyrl import register_environment
    register_environment()

    environment.env_class=finer_rewards
    +environment.skyrl_gym.finer_rewards.spec="2 * execution_match() + executable()"
    +environment.skyrl_gym.finer_rewards.root=/data/spider/database

With a `tool` the model may query the database before it answers, with `<tool_call>` in its text, or with `<sql>` as in
SkyRL-SQL:

    +environment.skyrl_gym.finer_rewards.tool.max_calls=5
    +environment.skyrl_gym.finer_rewards.tag=sql

A row holds the gold SQL in `reward_spec.ground_truth`, and the database in its column `db` or in `extra_info.db`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from finer_rewards._util.extras import extra
from finer_rewards.adapters._episodes import TextEpisode, importable_from
from finer_rewards.adapters._training_rows import question_in, truth_of
from finer_rewards.errors import ConfigError

__all__ = ["build_environment", "register_environment"]


def build_environment() -> Any:
    """Return the class `FinerEnvironment`, a `BaseTextEnv`, which scores the first action without a call.

    Its `env_config` holds the options of `finer_rewards.adapters.scorers.RowScorer` and of `SQLite`; in `tool` those of
    `finer_rewards.agents.SQLTool` (without it, the first action is the answer); and the `tag` of a call. The reward is
    always a float; a sample that cannot be scored gets `fallback`. The metadata of the step and `get_metrics()` hold
    `score`, `acc`, each component and `unscorable`.

    Raises:
        MissingExtraError: `skyrl_gym` is not installed.

    References:
        SkyRL-gym 0.4.0, `skyrl_gym.envs.base_text_env`.
    """
    return _environment()


def register_environment(id: str = "finer_rewards") -> None:
    """Register the environment with `skyrl_gym`, under the name that `environment.env_class` uses."""
    build_environment()
    from skyrl_gym.envs import register

    register(id=id, entry_point="finer_rewards.adapters.skyrl:FinerEnvironment")


@lru_cache(maxsize=1)
def _environment() -> Any:
    with extra("skyrl", "build_environment()", "skyrl-gym"):
        from skyrl_gym.envs.base_text_env import BaseTextEnv

    class FinerEnvironment(BaseTextEnv):  # type: ignore[misc]
        """One question; the episode lasts until the model answers it."""

        def __init__(self, env_config: Any = None, extras: Mapping[str, Any] | None = None) -> None:
            super().__init__()
            self._episode = TextEpisode(dict(env_config or {}), _row(extras or {}), caller="env_config")
            self._question = ""

        def init(self, prompt: Any) -> tuple[Any, dict[str, Any]]:
            """Remember the question, and return the prompt as it is."""
            self._question = question_in(prompt)
            return prompt, {}

        def step(self, action: str) -> dict[str, Any]:
            """Run the queries that the action calls for, or score it."""
            self.turns += 1
            reply = self._episode.step(action, self._question)
            return {
                "observations": [] if reply is None else [{"role": "user", "content": reply}],
                "reward": self._episode.record.get("score", 0.0),
                "done": reply is None,
                "metadata": self.get_metrics(),
            }

        def get_metrics(self) -> dict[str, float]:
            """Return the record of the last step; empty until the answer is scored."""
            return dict(self._episode.record)

    return importable_from(__name__, FinerEnvironment)["FinerEnvironment"]


def __getattr__(name: str) -> Any:
    if name == "FinerEnvironment":
        return _environment()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _row(extras: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = extras.get("reward_spec")
    if not isinstance(spec, Mapping) or "ground_truth" not in spec:
        raise ConfigError(
            f"`reward_spec` of a row should be a mapping with `ground_truth`, but got {spec!r:.80}. "
            "Put the gold SQL there."
        )
    return {**dict(extras.get("extra_info") or {}), **extras, **truth_of(spec["ground_truth"])}
