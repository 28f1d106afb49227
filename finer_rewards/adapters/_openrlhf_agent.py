"""OpenRLHF: the classes behind `build_agent`, for rollouts of one turn, or of several turns with the SQL tool."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from finer_rewards._chat import Chat
from finer_rewards._util.lossless_json import parse_json
from finer_rewards.adapters.scorers import tool_for
from finer_rewards.agents import Episode
from finer_rewards.parsing import without_endings

if TYPE_CHECKING:
    from finer_rewards.adapters.openrlhf import RewardFunction


def one_turn(reward: RewardFunction) -> Any:
    """Return the class of an executor that decodes the response from its own tokens and scores it."""
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    class AgentExecutor(SingleTurnAgentExecutor):  # type: ignore[misc]
        """An executor of one turn, which ends with the reward."""

        async def execute(self, prompt: str, label: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
            """Generate, then score what was generated."""
            output: dict[str, Any] = await super().execute(prompt, label, *args, **kwargs)
            # (sampling_params, max_length, hf_tokenizer, llm_engine, images), by place or by name.
            tokenizer = kwargs["hf_tokenizer"] if "hf_tokenizer" in kwargs else args[2]
            start, end = output["action_ranges"][-1]
            text = tokenizer.decode(output["observation_tokens"][start:end], skip_special_tokens=False)
            text = without_endings(text, getattr(tokenizer, "all_special_tokens", ()))
            reply = await asyncio.to_thread(reward, [prompt + text], [prompt], [label])
            output.update(reward=reply["rewards"], scores=reply["scores"], extra_logs=reply["extra_logs"])
            return output

    return AgentExecutor


def with_tool(reward: RewardFunction, options: Mapping[str, Any], tag: str, feedback: str) -> Any:
    """Return the class of an executor in which the model may query the database before it answers."""
    import torch
    from openrlhf.utils.agent import AgentInstanceBase, MultiTurnAgentExecutor

    class AgentInstance(AgentInstanceBase):  # type: ignore[misc]
        """One rollout."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._episode: Episode | None = None
            self._prompt = ""

        async def reset(self, states: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
            """Start an episode on the label's database; without one, the first text is scored as the answer."""
            self._prompt = states["observation"]
            row = row_of(states["label"]) or {}
            db = reward.fields.database(row)
            if db:
                self._episode = Episode(tool_for(reward.scorer, db, options), tag=tag)
            return states

        async def step(self, states: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
            """Run the queries that the model calls for, or score its answer."""
            text = without_endings(states["action_text"], reward.endings)
            reply, chat = None, Chat(text)
            if self._episode is not None:
                reply = await asyncio.to_thread(self._episode.step, text)
                chat = self._episode.chat
            if reply is None:
                found = await asyncio.to_thread(reward, [chat], [self._prompt], [states["label"]])
            else:
                found = reward.nothing()
            return {
                "rewards": torch.tensor(found["rewards"]),
                "scores": found["scores"],
                "environment_feedback": "" if reply is None else feedback.replace("{}", reply),
                "done": reply is None,
                "extra_logs": found["extra_logs"],
            }

    class AgentExecutor(MultiTurnAgentExecutor):  # type: ignore[misc]
        """An executor of several turns with the tool, the last of which ends with the reward."""

        def __init__(self) -> None:
            super().__init__(AgentInstance)

    return AgentExecutor


def row_of(label: Any) -> Mapping[str, Any] | None:
    """Return the row of a label, which is a mapping or its JSON; `None` for anything else."""
    if isinstance(label, str):
        try:
            label = parse_json(label)
        except ValueError:
            return None
    return label if isinstance(label, Mapping) else None
