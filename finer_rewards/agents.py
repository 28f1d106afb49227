"""A tool with which a model queries the database before it answers, for agents in any trainer.

    tool = SQLTool(SQLite("databases/"), "concert_singer")
    tool.run_sql("SELECT name FROM singer LIMIT 3")

One object is one episode. What it returns is text for the model; what the trainer's adapter makes of it is in
`finer_rewards.adapters`. A rollout is scored as a `Sample` of its messages, in one go, when it has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Any, Final

from finer_rewards._chat import Chat, read_chat
from finer_rewards.executing.limits import count
from finer_rewards.executing.protocol import Executor
from finer_rewards.types import Cell, Execution, Status

__all__ = ["Episode", "SQLTool"]

#: The most characters of a cell that are shown.
_LONGEST_CELL = 200
_PLAIN = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})

#: The tool as the OpenAI interface describes it.
RUN_SQL: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "type": "function",
        "function": {
            "name": "run_sql",
            "description": "Run one read-only SQL query on the database and see its first rows, or why it failed.",
            "parameters": {
                "type": "object",
                "properties": {"sql": {"type": "string", "description": "One SELECT statement."}},
                "required": ["sql"],
            },
        },
    }
)


@dataclass
class SQLTool:
    """Runs queries for a model in one episode: read-only, under the executor's limits, within a budget.

    Args:
        executor: the executor that runs them.
        db: the database, as a `Sample` names it.
        max_calls: the most queries in an episode.
        max_rows: the most rows of a result that are shown; the model is told if there are more.
        max_bytes: the most bytes of UTF-8 in all replies of an episode; a last line says if a reply is cut.

    Raises:
        ConfigError: a limit is not a positive whole number.

    Example:
        >>> import finer_rewards as fr
        >>> tool = SQLTool(fr.SQLite(), "missing")
        >>> print(tool.run_sql(""))
        Error: `sql` should be one SELECT statement.
    """

    executor: Executor
    db: str
    _: KW_ONLY
    max_calls: int = 10
    max_rows: int = 20
    max_bytes: int = 16_384
    #: The queries that the model called for, in order, and how each ended; `None` if the budget refused it.
    calls: list[tuple[str, Status | None]] = field(default_factory=list, init=False)
    _left: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("max_calls", "max_rows", "max_bytes"):
            count(name, getattr(self, name))
        self._left = self.max_bytes

    @property
    def spent(self) -> bool:
        """Whether the budget is used up, so that no further query will run."""
        return len(self.calls) >= self.max_calls or self._left <= 0

    def run_sql(self, sql: object) -> str:
        """Return the reply for the model: the rows, or why there are none. No SQL makes this raise an error."""
        if not isinstance(sql, str) or not sql.strip():
            return "Error: `sql` should be one SELECT statement."
        if self.spent:
            self.calls.append((sql, None))
            budget = f"{self.max_calls} queries" if self._left > 0 else f"{self.max_bytes} bytes of results"
            return f"Error: nothing is left of the budget of {budget}. Answer with what you know."
        self.calls.append((sql, Status.unavailable))
        run = self.executor.execute(sql, self.db)
        self.calls[-1] = (sql, run.status)
        return self._fitting(describe(run, self.max_rows))

    async def arun_sql(self, sql: object) -> str:
        """Return the same as `run_sql`, without blocking the event loop."""
        return await asyncio.to_thread(self.run_sql, sql)

    def _fitting(self, text: str) -> str:
        """Return a reply cut to the bytes that are left, at the end of a line if possible."""
        data = text.encode("utf-8", "replace")
        self._left -= len(data)
        if self._left >= 0:
            return text
        kept = data[: self._left].decode("utf-8", "ignore")
        whole = kept.rpartition("\n")[0] or kept
        return f"{whole}\n(cut here: nothing is left of the budget of {self.max_bytes} bytes of results)"


class Episode:
    """One rollout in an environment that gets the model's text, reads the calls in it, and runs them with the tool.

    Args:
        tool: the tool of this rollout.
        tag: the tag around a call, which holds JSON or plain SQL. SkyRL-SQL uses `sql`.

    Example:
        >>> import finer_rewards as fr
        >>> episode = Episode(SQLTool(fr.SQLite(), "missing"), tag="sql")
        >>> episode.step("<sql>SELECT 1</sql>")
        'Error: the database cannot be reached. Your query is not at fault.'
        >>> episode.step("SELECT 2") is None
        True
        >>> episode.chat
        Chat(text='SELECT 2', calls=('SELECT 1',), turns=2)
    """

    def __init__(self, tool: SQLTool, *, tag: str = "tool_call") -> None:
        self.tool = tool
        self.tag = tag
        self.messages: list[dict[str, str]] = []

    def step(self, action: str) -> str | None:
        """Return the replies to a turn of the model; `None` once it answered or spent its budget."""
        self.messages.append({"role": "assistant", "content": action})
        calls = read_chat(self.messages[-1:], tag=self.tag).calls
        if not calls or self.tool.spent:
            return None
        reply = "\n".join(map(self.tool.run_sql, calls))
        self.messages.append({"role": "tool", "content": reply})
        return reply

    @property
    def chat(self) -> Chat:
        """What the model has done so far."""
        return read_chat(self.messages, tag=self.tag)


def describe(run: Execution, max_rows: int = 20) -> str:
    """Return the outcome of a query as text for a model: columns, rows and how many there are, or the error.

    Example:
        >>> print(describe(Execution(Status.ok, ("name", "age"), (("Ann", 3), ("Bo", None))), max_rows=1))
        name | age
        Ann | 3
        (the first 1 of 2 rows)
        >>> print(describe(Execution(Status.failed, error="no such column: nmae")))
        Error: no such column: nmae
    """
    if run.status.blame == "system":
        return "Error: the database cannot be reached. Your query is not at fault."
    if not run.ok:
        why = run.error if run.status is Status.failed and run.error else run.status.told(run.error)
        return f"Error: {_harmless(why.strip())}"
    return "\n".join(_lines(run, max_rows))


def _lines(run: Execution, max_rows: int) -> Iterator[str]:
    yield " | ".join(map(_cell, run.columns))
    for row in run.rows[:max_rows]:
        yield " | ".join(map(_cell, row))
    total = len(run.rows)
    if run.truncated:
        yield f"(the first {min(total, max_rows)} rows; there are more than {total})"
    elif total > max_rows:
        yield f"(the first {max_rows} of {total} rows)"
    else:
        yield f"({total} row{'' if total == 1 else 's'})"


def _cell(value: Cell) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    text = str(value)
    shown = text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}... ({len(text)} characters)"
    return _harmless(shown.translate(_PLAIN))


def _harmless(text: str) -> str:
    """Return a text without tags of chat templates, so that data in a table cannot pass for a turn of the user."""
    return text.replace("<|", "< |").replace("</", "< /")
