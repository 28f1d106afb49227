"""rLLM: an evaluator of episodes. A module with two lines is enough:

    from finer_rewards.adapters.rllm import RowEvaluator
    reward = RowEvaluator("2 * execution_match() + executable()", root="/data/spider/database")

    AgentTrainer(..., evaluator=reward)          # or import_path = "my_reward:reward" under [verifier] of dataset.toml

The rows (`task.metadata`) hold the gold SQL in `gold` and the database in `db`, among their other columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finer_rewards._chat import Chat, completion_text, read_chat
from finer_rewards.adapters._training_rows import question_in, refuse_groups
from finer_rewards.adapters.scorers import RowScorer
from finer_rewards.components import reason_of

__all__ = ["RowEvaluator"]


class RowEvaluator:
    """Scores an episode; if it cannot be scored, its trajectories are removed, as rLLM does with a failed rollout.

    rLLM forms groups of the trajectories that are left, so a removed one changes no other advantage. (An exception of
    the evaluator would become a reward of 0.)

    Args:
        spec: the reward as it prints, or the name of a preset.
        options: further options of `finer_rewards.adapters.scorers.RowScorer` and of `SQLite`.

    Raises:
        ConfigError: the reward or an option cannot be used. When called: the row lacks a column.

    References:
        rLLM 0.3.0, `rllm.engine.agentflow_engine`, `rllm.trainer.algorithms.transform`.
    """

    def __init__(self, spec: str = "execution_match()", **options: Any) -> None:
        self.rows = RowScorer.of({"spec": spec, **options})
        # This makes the scorer, so that a wrong option is reported now.
        refuse_groups(self.rows.scorer.reward, "rLLM", "Use TRL or verl for it, or leave in_lost_groups out.")

    def evaluate(self, task: Any, episode: Any) -> Any:
        """Return rLLM's `EvalOutput`: the reward, whether it matched, and the components as signals."""
        from rllm.eval.types import EvalOutput, Signal
        from rllm.workflows.workflow import TerminationReason

        row = task if isinstance(task, Mapping) else task.metadata
        asked = "" if isinstance(task, Mapping) else task.instruction
        judged = self.rows.judge(
            row, _chat(episode), where="A row", caller="RowEvaluator", prompt=question_in(asked)
        )
        record = self.rows.record(judged)
        lost = judged.score.value is None
        if lost:
            episode.trajectories = []
            episode.termination_reason = TerminationReason.ERROR
        return EvalOutput(
            reward=record.pop("score"),
            is_correct=bool(record["acc"]),
            signals=[Signal(name, value) for name, value in record.items()],
            metadata={"error": reason_of(judged.score)} if lost else {},
        )


def _chat(episode: Any) -> Chat:
    """Return the model's queries and its answer, which is looked for where rLLM's own functions look."""
    trajectory = episode.trajectories[-1] if episode.trajectories else None
    steps = list(getattr(trajectory, "steps", None) or ())
    messages = list(steps[-1].chat_completions) if steps else []
    read = read_chat(messages)
    said = [episode.artifacts.get("answer"), getattr(trajectory, "output", None)]
    said += [steps[-1].output] if steps else []
    text = next((completion_text(str(one)) for one in said if one), read.text)
    if not text:
        text = next((step.model_response for step in reversed(steps) if step.model_response), "")
    return read._replace(text=text)
