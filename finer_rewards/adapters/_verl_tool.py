"""verl: the class `FinerTool`, the tool `run_sql` for verl's agent loop."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from finer_rewards._util.extras import extra
from finer_rewards.adapters._episodes import importable_from
from finer_rewards.adapters.scorers import RowScorer
from finer_rewards.agents import RUN_SQL, SQLTool

# The key under which a rollout keeps the queries that it ran; `compute_score` reads it.
QUERIES = "run_sql_queries"


def build_tool() -> Any:
    """Return `FinerTool`, verl's tool `run_sql` for its agent loop; verl loads it by `class_name` from a file:

        tools:
          - class_name: finer_rewards.adapters.verl.FinerTool
            config: {type: native, spec: execution_match(), root: /data/spider/database, tool: {max_calls: 8}}

    Give the reward the same `spec`, `root` and limits. A row names its database in
    `extra_info.tools_kwargs.run_sql.create_kwargs.db`, and has `agent_name: tool_agent`. verl makes a new instance for
    each call, so the queries of a rollout are kept in the rollout itself and reach `compute_score` with it.

    Raises:
        MissingExtraError: verl is not installed.

    References:
        verl 0.9.1, `verl.tools.base_tool`, `verl.experimental.agent_loop.tool_agent_loop`.
    """
    return _tool()


@lru_cache(maxsize=1)
def _tool() -> Any:
    with extra("verl", "build_tool()", "verl"):
        from verl.tools.base_tool import BaseTool
        from verl.tools.schemas import OpenAIFunctionToolSchema, ToolResponse

    class FinerTool(BaseTool):  # type: ignore[misc]
        """Runs queries on the database of a row."""

        def __init__(self, config: Mapping[str, Any], tool_schema: Any = None) -> None:
            schema = tool_schema or OpenAIFunctionToolSchema.model_validate(dict(RUN_SQL))
            super().__init__(config, schema)
            options = {name: value for name, value in config.items() if name not in ("type", "tool")}
            self._scorer, self._budget = RowScorer.of(options), dict(config.get("tool") or {})
            self._dbs: dict[str, Mapping[str, Any]] = {}
            # Rollout -> its tool.
            self._tools: WeakKeyDictionary[Any, SQLTool] = WeakKeyDictionary()

        async def create(
            self,
            instance_id: str | None = None,
            create_kwargs: Mapping[str, Any] | None = None,
            **kwargs: Any,
        ) -> tuple[str, Any]:
            """Remember the database that the row names."""
            instance_id, response = await super().create(instance_id)
            self._dbs[instance_id] = {**kwargs, **dict(create_kwargs or {})}
            return instance_id, response

        async def execute(
            self, instance_id: str, parameters: Mapping[str, Any], *, agent_data: Any, **kwargs: Any
        ) -> tuple[Any, float, dict[str, Any]]:
            """Run one query and return its reply, with a reward of 0."""
            tool = self._tools.get(agent_data)
            if tool is None:
                tool = self._tools[agent_data] = self._scorer.tool(self._dbs[instance_id], self._budget)
            reply = await tool.arun_sql(parameters.get("sql"))
            agent_data.extra_fields[QUERIES] = [sql for sql, _ in tool.calls]
            return ToolResponse(text=reply), 0.0, {}

        async def release(self, instance_id: str, **kwargs: Any) -> None:
            """Forget the database."""
            self._dbs.pop(instance_id, None)

    return importable_from(__name__, FinerTool)["FinerTool"]


def __getattr__(name: str) -> Any:
    if name == "FinerTool":
        return _tool()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
