"""Shared by adapters to environments: a rollout of several turns as text, and a helper for classes made on demand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finer_rewards.adapters._training_rows import Judged
from finer_rewards.adapters.scorers import RowScorer
from finer_rewards.agents import Episode


class TextEpisode:
    """One rollout on one row: texts of the model go in, replies of the tool or the score come out.

    Args:
        options: the options of `RowScorer` and of `SQLite`; in `tool` those of `finer_rewards.agents.SQLTool` (without
            it, the first action is the answer); and the `tag` of a call.
        row: the trainer's row of the sample.
        where: how messages refer to the row.
        caller: how messages refer to what takes the options.

    Raises:
        ConfigError: an option or the row cannot be used.

    Example:
        >>> episode = TextEpisode({"spec": "well_formed(policy='plain')"}, {"gold": "SELECT 1", "db": "any"})
        >>> episode.step("SELECT 1") is None
        True
        >>> episode.record["score"]
        1.0
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        row: Mapping[str, Any],
        *,
        where: str = "A row",
        caller: str = "options",
    ) -> None:
        options = dict(options)
        tool, tag = options.pop("tool", None), options.pop("tag", "tool_call")
        self.row, self._where, self._caller = row, where, caller
        self.scorer = RowScorer.of(options)
        self.scorer.check(row, where=where, caller=caller)
        self._episode = None if tool is None else Episode(self.scorer.tool(row, dict(tool)), tag=tag)
        #: The outcome of the rollout and its record; `None` and empty until it has ended.
        self.judged: Judged | None = None
        self.record: dict[str, float] = {}

    def step(self, action: str, prompt: str = "") -> str | None:
        """Return the reply that the model has to read next; `None` when the action was its answer, scored now."""
        done: object = action
        if self._episode is not None:
            reply = self._episode.step(action)
            if reply is not None:
                return reply
            done = self._episode.chat
        self.judged = self.scorer.judge(self.row, done, where=self._where, caller=self._caller, prompt=prompt)
        self.record = self.scorer.record(self.judged)
        return None


def importable_from(module: str, *classes: Any) -> dict[str, Any]:
    """Return classes by name, after giving them the name under which worker processes look them up in the module."""
    for one in classes:
        one.__module__, one.__qualname__ = module, one.__name__
    return {one.__name__: one for one in classes}
