"""tinker-cookbook: a group of rollouts on one row, with or without the tool. A dataset's `get_batch` returns them:

    from finer_rewards.adapters.tinker import build_group

    [build_group(row, messages, renderer, 8, spec="2 * execution_match() + executable()", root="/data/spider/database",
                 tool={"max_calls": 5}) for row, messages in batch]

A row holds the gold SQL in `gold` and the database in `db`; `messages` are the prompt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import fsum
from typing import Annotated, Any

from finer_rewards._util.extras import extra
from finer_rewards.adapters._episodes import importable_from
from finer_rewards.adapters._training_rows import Judged, question_in, truth_of
from finer_rewards.adapters.scorers import RowScorer

__all__ = ["build_group"]


def build_group(
    row: Mapping[str, Any],
    messages: Sequence[Mapping[str, Any]],
    renderer: Any,
    group_size: int,
    *,
    tool: Mapping[str, Any] | None = None,
    agent: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Return an `EnvGroupBuilder` of tinker-cookbook; it can be pickled.

    When the whole group has ended, a rollout that cannot be scored gets the mean of the others (in
    `compute_group_rewards`), so that its advantage is 0 and no other changes. The metrics of a rollout are `acc`, the
    components and `unscorable`.

    Args:
        row: the gold SQL and the database, or their JSON in `label`.
        messages: the conversation to be answered.
        renderer: tinker-cookbook's renderer of the model.
        group_size: the number of rollouts.
        tool: options of `finer_rewards.agents.SQLTool`: the model may query the database before it answers. `None`
            means one turn.
        agent: further arguments of tinker-cookbook's `build_agent_tool_env`, such as `max_trajectory_tokens`.
        options: those of `finer_rewards.adapters.scorers.RowScorer` and of `SQLite`.

    Raises:
        MissingExtraError: tinker-cookbook is not installed.
        ConfigError: an option or the row cannot be used.

    References:
        tinker-cookbook 0.6.1, `tinker_cookbook.tool_use`, `tinker_cookbook.rl.types.EnvGroupBuilder`.
    """
    row = {**row, **truth_of(row["label"])} if "label" in row else dict(row)
    scorer = RowScorer.of(options)
    scorer.check(row, where="A row", caller="build_group")
    if tool is not None:
        scorer.tool(row, tool)
    return _classes()["FinerGroupBuilder"](
        row, tuple(messages), renderer, group_size, options, tool, agent or {}
    )


class Grader:
    """The reward function of one rollout; it keeps the outcome in `judged`."""

    def __init__(
        self, scorer: RowScorer, row: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]
    ) -> None:
        self._scorer, self._row, self._messages = scorer, row, list(messages)
        self.judged: Judged | None = None

    async def __call__(self, history: Sequence[Mapping[str, Any]]) -> tuple[float, dict[str, float]]:
        """Return the reward and the metrics of a conversation, given whole or without the prompt."""
        asked = len(self._messages)
        said = history[asked:] if list(history[:asked]) == self._messages else history
        self.judged = await asyncio.to_thread(
            self._scorer.judge,
            self._row,
            list(map(_message, said)),
            where="A row",
            caller="build_group",
            prompt=question_in(self._messages),
        )
        record = self._scorer.record(self.judged)
        return record.pop("score"), record

    @property
    def lost(self) -> bool:
        """Whether the rollout could not be scored."""
        return self.judged is not None and self.judged.score.value is None


@lru_cache(maxsize=1)
def _classes() -> dict[str, Any]:
    with extra("tinker", "build_group()", "tinker-cookbook"):
        from tinker_cookbook.rl.types import EnvGroupBuilder
        from tinker_cookbook.tool_use import (
            ToolResult,
            build_agent_tool_env,
            simple_tool_result,
        )
        from tinker_cookbook.tool_use import tool as as_tool

    def tools_of(episode: Any) -> list[Any]:
        async def run_sql(sql: Annotated[str, "One SELECT statement."]) -> ToolResult:
            """Run one read-only SQL query on the database and see its first rows, or why it failed."""
            return simple_tool_result(await episode.arun_sql(sql))

        # tinker-cookbook needs the annotations as objects, and in this module they are texts.
        run_sql.__annotations__ = {"sql": Annotated[str, "One SELECT statement."], "return": ToolResult}
        return [as_tool(run_sql)]

    @dataclass(frozen=True)
    class FinerGroupBuilder(EnvGroupBuilder):  # type: ignore[misc]
        """The rollouts of one row."""

        row: Mapping[str, Any]
        messages: Sequence[Mapping[str, Any]]
        renderer: Any
        group_size: int
        options: Mapping[str, Any]
        tool: Mapping[str, Any] | None = None
        agent: Mapping[str, Any] = field(default_factory=dict)

        async def make_envs(self) -> list[Any]:
            """Return the environments, one for each rollout."""
            scorer = RowScorer.of(self.options)
            known = {
                "max_turns": 1 if self.tool is None else int(self.tool.get("max_calls", 10)) + 1,
                **self.agent,
            }
            return [
                build_agent_tool_env(
                    renderer=self.renderer,
                    tools=[] if self.tool is None else tools_of(scorer.tool(self.row, self.tool)),
                    initial_messages=list(self.messages),
                    reward_fn=Grader(scorer, self.row, self.messages),
                    **known,
                )
                for _ in range(self.group_size)
            ]

        async def compute_group_rewards(
            self, trajectory_group: list[Any], env_group: Sequence[Any]
        ) -> list[tuple[float, dict[str, float]]]:
            """Return for each rollout what lifts its reward to the mean of the others, if it could not be scored."""
            totals = [fsum(one.reward for one in rollout.transitions) for rollout in trajectory_group]
            lost = [env.message_env.reward_fn.lost for env in env_group]
            others = [total for total, away in zip(totals, lost, strict=True) if not away]
            mean = fsum(others) / len(others) if others else 0.0
            return [
                (mean - total if away and others else 0.0, {})
                for total, away in zip(totals, lost, strict=True)
            ]

        def logging_tags(self) -> list[str]:
            """Return the name of the adapter."""
            return ["finer_rewards"]

    return importable_from(__name__, FinerGroupBuilder)


def __getattr__(name: str) -> Any:
    if name == "FinerGroupBuilder":
        return _classes()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message in OpenAI's form; in tinker-cookbook thoughts are blocks of content, and calls are objects."""
    content = message.get("content") or ""
    if not isinstance(content, str):
        content = "".join(
            f"<think>{part['thinking']}</think>"
            if part.get("type") == "thinking"
            else str(part.get("text") or "")
            for part in content
        )
    calls = [
        {"function": {"name": call.function.name, "arguments": call.function.arguments}}
        for call in message.get("tool_calls") or ()
    ]
    return {"role": message["role"], "content": content, "tool_calls": calls}
