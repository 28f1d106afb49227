"""NeMo-RL: an environment of one turn. Register it before the configuration is read, in the script that trains:

    from finer_rewards.adapters.nemo_rl import register_environment
    register_environment()

    env:
      finer_rewards: {spec: "2 * execution_match() + executable()", root: /data/spider/database}

A row's `extra_env_info` holds the gold SQL in `gold` and the database in `db`, or both as JSON in `ground_truth`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from finer_rewards._chat import read_chat
from finer_rewards._util.extras import extra
from finer_rewards.adapters._episodes import importable_from
from finer_rewards.adapters._training_rows import question_in, refuse_groups, truth_of
from finer_rewards.adapters.scorers import RowScorer
from finer_rewards.parsing import without_endings

__all__ = ["build_environment", "register_environment"]

_HERE = "finer_rewards.adapters.nemo_rl"


def build_environment() -> Any:
    """Return the class `FinerEnvironment`, an `EnvironmentInterface` of NeMo-RL; its actor is `FinerActor`.

    Its configuration holds the options of `finer_rewards.adapters.scorers.RowScorer` and of `SQLite`. NeMo-RL has no
    value for *cannot be scored*: such a sample gets the mean of its group, so that its advantage is 0. In asynchronous
    rollouts, where NeMo-RL passes one sample at a time, it gets `fallback`.

    Raises:
        MissingExtraError: NeMo-RL is not installed.

    References:
        NeMo-RL 0.6, `nemo_rl.environments.interfaces`, `nemo_rl.experience.rollouts.calculate_rewards`.
    """
    return _environment()["FinerEnvironment"]


def register_environment(name: str = "finer_rewards") -> None:
    """Register the environment with NeMo-RL, under the name that `env` and `task_name` use.

    Raises:
        MissingExtraError: NeMo-RL is not installed.
    """
    with extra("nemo_rl", "register_environment()", "nemo-rl"):
        from nemo_rl.distributed.ray_actor_environment_registry import ACTOR_ENVIRONMENT_REGISTRY
        from nemo_rl.distributed.virtual_cluster import PY_EXECUTABLES
        from nemo_rl.environments.utils import register_env

    ACTOR_ENVIRONMENT_REGISTRY[f"{_HERE}.FinerActor"] = PY_EXECUTABLES.SYSTEM
    register_env(name, f"{_HERE}.FinerActor")


@lru_cache(maxsize=1)
def _environment() -> dict[str, Any]:
    with extra("nemo_rl", "build_environment()", "nemo-rl"):
        from nemo_rl.environments.interfaces import EnvironmentInterface, EnvironmentReturn
    # A dependency of NeMo-RL.
    import torch

    class FinerEnvironment(EnvironmentInterface):  # type: ignore[misc]
        """An environment that ends every episode with the score of the first answer."""

        def __init__(self, cfg: Mapping[str, Any] | None = None) -> None:
            self._rows = RowScorer.of(dict(cfg or {}))
            refuse_groups(self._rows.scorer.reward, "NeMo-RL", "Use TRL or verl for it.")

        def step(
            self,
            message_log_batch: Sequence[Sequence[Mapping[str, Any]]],
            metadata: Sequence[Mapping[str, Any]],
        ) -> Any:
            """Return the rewards of a batch; each episode ends with them."""
            rows = [_row(one) for one in metadata]
            asked = [question_in(list(messages)) for messages in message_log_batch]
            judged = self._rows.judge_all(
                rows,
                list(map(_chat, message_log_batch)),
                where="`extra_env_info` of a row",
                caller="env",
                prompts=asked,
            )
            groups = [(question, repr(row)) for question, row in zip(asked, rows, strict=True)]
            rewards = torch.tensor(self._rows.fill(judged, groups))
            return EnvironmentReturn(
                observations=[{"role": "environment", "content": ""} for _ in rows],
                metadata=list(metadata),
                next_stop_strings=[None] * len(rows),
                rewards=rewards,
                terminateds=torch.ones_like(rewards),
                answers=[one.sql for one in judged],
            )

        def global_post_process_and_metrics(self, batch: Any) -> tuple[Any, dict[str, float]]:
            """Return the batch as it is."""
            return batch, {}

        def shutdown(self) -> None:
            """Stop the executor's workers."""
            self._rows.scorer.close()

    return importable_from(__name__, FinerEnvironment)


def __getattr__(name: str) -> Any:
    if name == "FinerEnvironment":
        return build_environment()
    if name == "FinerActor":
        import ray

        return ray.remote(max_restarts=-1, max_task_retries=-1, max_concurrency=1000)(build_environment())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _row(metadata: Mapping[str, Any]) -> dict[str, Any]:
    truth = metadata.get("ground_truth")
    return {**metadata, **(truth_of(truth) if truth is not None else {})}


def _chat(messages: Sequence[Mapping[str, Any]]) -> Any:
    read = read_chat([dict(message) for message in messages])
    return read._replace(text=without_endings(read.text))
