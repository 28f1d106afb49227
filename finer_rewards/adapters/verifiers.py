"""verifiers: a task, its data, and a taskset that reads them from JSON lines, for `verifiers.v1`.

    from finer_rewards.adapters.verifiers import FinerTaskset, FinerTasksetConfig, FinerTaskConfig
    FinerTaskset(FinerTasksetConfig(path="rows.jsonl", task=FinerTaskConfig(spec="2 * execution_match() + executable()",
                                                                              root="/data/spider/database")))

A line holds `prompt`, `gold_sql` and `db_id`, as `finer-rewards prepare --to trl` writes it. In a taskset of your
own, add the reward to any task whose data has `gold` and `db`, and the options in `finer`:

    --env.taskset.task.rewards.finer.fn=finer_rewards.adapters.verifiers:finer
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from finer_rewards._chat import Chat, read_chat
from finer_rewards._util.extras import extra
from finer_rewards._util.lossless_json import parse_json
from finer_rewards.adapters._episodes import importable_from
from finer_rewards.adapters._training_rows import question_in
from finer_rewards.adapters.scorers import RowScorer
from finer_rewards.errors import ConfigError

__all__ = ["build_tasks", "finer"]

_CLASSES = (
    "FinerData",
    "FinerTask",
    "FinerTaskConfig",
    "FinerTaskset",
    "FinerTasksetConfig",
    "FinerToolset",
    "FinerToolsetConfig",
)


async def finer(task: Any, trace: Any) -> float:
    """Return the reward of a trace's last reply, and record its components as metrics of the trace.

    A sample that cannot be scored gets `fallback`, and its metric `finer/unscorable` is 1. An exception would lose
    all rewards of the task, so only a row or configuration that cannot be used raises one.

    Args:
        task: the task's data: `gold` and `db`, and in `finer` the options of
            `finer_rewards.adapters.scorers.RowScorer`.
        trace: verifiers' record of the rollout.

    Raises:
        ConfigError: the configuration cannot be used, or the data names no database.
    """
    row = task.model_dump() if hasattr(task, "model_dump") else dict(task)
    return await _score(row, row.get("finer") or {}, trace)


async def _score(row: Mapping[str, Any], options: Mapping[str, Any], trace: Any) -> float:
    scorer = RowScorer.of(options)
    judged = await asyncio.to_thread(
        scorer.judge,
        row,
        _chat(trace),
        where="The data of a task",
        caller="finer",
        prompt=question_in(row.get("prompt")),
    )
    record = scorer.record(judged)
    score = record.pop("score")
    trace.record_metrics({f"finer/{name}": value for name, value in record.items()})
    return score


def _chat(trace: Any) -> Chat | str:
    """Return the model's last reply and the queries before it."""
    said = [node.message for node in trace.nodes if node.sampled or node.message.role != "assistant"]
    if not any(message.role == "assistant" and message.tool_calls for message in said):
        return str(trace.last_reply)
    return read_chat([message.model_dump() for message in said])._replace(text=trace.last_reply)


def build_tasks() -> Any:
    """Return the classes `FinerData`, `FinerTask`, `FinerTaskset`, `FinerToolset`, and their configurations.

    If the configuration of the task has `tool`, options of `finer_rewards.agents.SQLTool`, each rollout gets a server
    with the tool `run_sql`.

    Raises:
        MissingExtraError: verifiers is not installed, or older than 0.4.

    References:
        verifiers 0.4.0, `verifiers.v1.task`.
    """
    return SimpleNamespace(**_classes())


@lru_cache(maxsize=1)
def _classes() -> dict[str, Any]:
    with extra("verifiers", "build_tasks()", "verifiers"):
        import verifiers.v1 as vf
        from pydantic import Field

    class FinerData(vf.TaskData):  # type: ignore[misc]
        """One row."""

        gold: str | list[str] | None = None
        db: str | list[str] = ""
        question: str = ""
        answer: str | list[Any] | None = None

    class FinerTaskConfig(vf.TaskConfig):  # type: ignore[misc]
        """The reward, where the databases are, and further options of `RowScorer` and `SQLite`."""

        spec: str = "execution_match()"
        root: str = "."
        memory: str | None = None
        options: dict[str, Any] = Field(default_factory=dict)
        tool: dict[str, Any] | None = None

        @property
        def known(self) -> dict[str, Any]:
            """The options of `RowScorer`."""
            return {"spec": self.spec, "root": self.root, "memory": self.memory, **self.options}

    class FinerToolsetConfig(vf.ToolsetConfig):  # type: ignore[misc]
        """The options of `RowScorer`, and of `SQLTool`."""

        known: dict[str, Any] = Field(default_factory=dict)
        tool: dict[str, Any] = Field(default_factory=dict)

    class FinerToolset(vf.Toolset[FinerToolsetConfig, vf.State]):  # type: ignore[misc]
        """The tool of one rollout."""

        TOOL_PREFIX = None

        async def setup_task(self, task: Any) -> None:
            """Make the tool, on the database of the task."""
            row = (task.data if hasattr(task, "data") else task).model_dump()
            self._tool = RowScorer.of(self.config.known).tool(row, self.config.tool)

        @vf.tool  # type: ignore[untyped-decorator]
        async def run_sql(self, sql: str) -> str:
            """Run one read-only SQL query on the database and see its first rows, or why it failed."""
            return await self._tool.arun_sql(sql)

    class FinerTask(vf.Task[FinerData, vf.State, FinerTaskConfig]):  # type: ignore[misc]
        """Answer one question in SQL."""

        @vf.reward(weight=1.0)  # type: ignore[untyped-decorator]
        async def finer(self, trace: Any) -> float:
            """Return the reward of the last reply."""
            row = {name: value for name, value in self.data.model_dump().items() if value not in (None, "")}
            return await _score(row, self.config.known, trace)

        @classmethod
        def toolsets(cls, config: FinerTaskConfig) -> list[Any]:
            """Return the server of the tool, if the configuration has one."""
            if config.tool is None:
                return []
            return [FinerToolset(FinerToolsetConfig(known=config.known, tool=config.tool))]

    class FinerTasksetConfig(vf.TasksetConfig):  # type: ignore[misc]
        """A file of rows, and which columns hold the gold SQL and the database."""

        path: str = ""
        gold: str = "gold_sql"
        db: str = "db_id"
        task: FinerTaskConfig = FinerTaskConfig()

    class FinerTaskset(vf.Taskset[FinerTask, FinerTasksetConfig]):  # type: ignore[misc]
        """The rows of a JSON lines file as tasks."""

        def load(self) -> Iterator[Any]:
            """Yield a task for each row."""
            config = self.config
            for row in _rows(config.path, ("prompt", config.gold, config.db)):
                given = {name: value for name, value in row.items() if name in FinerData.model_fields}
                given |= {"gold": row[config.gold], "db": row[config.db]}
                yield FinerTask(FinerData(**given), config.task)

    return importable_from(
        __name__,
        FinerData,
        FinerTask,
        FinerTaskConfig,
        FinerTaskset,
        FinerTasksetConfig,
        FinerToolset,
        FinerToolsetConfig,
    )


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return _classes()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _rows(path: str, needed: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"`FinerTasksetConfig(path=...)` should be a file of JSON lines, but got {path!r}.")
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = parse_json(line)
            except ValueError:
                row = None
            missing = [name for name in needed if name not in row] if isinstance(row, Mapping) else needed
            if not isinstance(row, Mapping) or missing:
                raise ConfigError(
                    f"Line {number} of {path} should be a JSON object with {', '.join(needed)}, but lacks "
                    f"{', '.join(missing)}: {line.strip()[:80]!r}. `finer-rewards prepare --to trl` writes such lines; "
                    "name other columns in FinerTasksetConfig(gold=..., db=...)."
                )
            yield row


# verifiers starts the server of a tool by running this file.
if __name__ == "__main__":
    _classes()["FinerToolset"].run()
