"""`RowScorer`, which scores trainers' rows with settings that are plain values of a configuration.

Each process makes one `Scorer` for each configuration, at first use, and keeps it.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from finer_rewards._chat import Chat, read_chat
from finer_rewards._util.locks import ForkSafeLock
from finer_rewards.adapters._reasons import tell_reasons
from finer_rewards.adapters._training_rows import (
    DB_TEXT,
    Fields,
    Judged,
    fill_groups,
    for_float32,
    judge,
    match_of,
    numbers,
    refuse_groups,
    refuse_lost,
)
from finer_rewards.agents import SQLTool
from finer_rewards.engines.registry import engine_at
from finer_rewards.errors import ConfigError, suggest
from finer_rewards.executing import Executor
from finer_rewards.parsing import named_policy, parse_completion
from finer_rewards.presets import PRESETS, preset
from finer_rewards.scoring import Scorer

if TYPE_CHECKING:
    from finer_rewards.memory_protocol import Memory

__all__ = ["RowScorer"]

# If no database is found for this many first samples, training stops; some trainers pass one sample at a time.
LOST_AT_FIRST = 8
_LOCK = ForkSafeLock()
# Options of `Scorer`; `policy` becomes its `parse`.
_SCORERS = frozenset(("log", "neighbours", "policy"))


@dataclass(frozen=True)
class RowScorer:
    """Scores rows and completions; all settings are plain values, as a trainer's configuration has them.

    Args:
        spec: the reward as it prints, or the name of a preset.
        root: folder of the databases (`ID/ID.sqlite` or `ID.sqlite`), or the address of a server that has
            them (`http://...`, started with `finer-rewards serve`; its token is read from $FINER_REWARDS_TOKEN).
        memory: folder of a `TraceMemory`, or the address of such a server, for rewards that search one.
        gold: key of the gold SQL in the row.
        db: key of the database.
        question: key of the question; it may be missing in the row.
        answer: key of the right rows, for supervision without SQL.
        dialect: sqlglot dialect of all statements; `None` means the executor's own.
        fallback: the score of samples that cannot be scored.
        limits: further arguments of `SQLite`, or of `Remote` for a server; `log`, a file of scores; `neighbours`, as
            in `Scorer`; and `policy`, the name of the form in which completions are read.
    """

    spec: str = "execution_match()"
    root: str = "."
    memory: str | None = None
    gold: str = "gold"
    db: str = "db"
    question: str = "question"
    answer: str | None = None
    dialect: str | None = None
    fallback: float = 0.0
    limits: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> RowScorer:
        """Return the scorer of options that stand in one mapping, as configurations have them.

        Example:
            >>> RowScorer.of({"spec": "executable()", "timeout": 5}).limits
            {'timeout': 5}
        """
        own = {one.name for one in fields(cls)} - {"limits"}
        limits = {name: value for name, value in options.items() if name not in own}
        return cls(**{name: value for name, value in options.items() if name in own}, limits=limits)

    @property
    def scorer(self) -> Scorer:
        """The `Scorer`; the same object for every call in this process."""
        return scorer_for(self.spec, self.root, self.limits, self.memory)

    def check(self, row: Mapping[str, Any], *, where: str, caller: str) -> Fields:
        """Return the column names for a row, after checking that the row has them.

        Args:
            row: the trainer's row of a sample.
            where: how messages refer to the row.
            caller: how messages refer to what takes the options.

        Raises:
            ConfigError: the settings cannot be used, or the row lacks a key.
        """
        _check_limits(self.limits, self.root)
        question = self.question if self.question in row else None
        found = Fields(self.gold, self.db, question, self.answer, self.dialect)
        found.check(row, where=where, caller=caller)
        return found

    def judge(
        self,
        row: Mapping[str, Any],
        completion: object,
        *,
        where: str,
        caller: str,
        prompt: str = "",
        meta: Mapping[str, Any] | None = None,
        alone: bool = False,
    ) -> Judged:
        """Score one completion.

        Args:
            row: the trainer's row of the sample.
            completion: text, messages or a `Chat`.
            where: how messages refer to the row.
            caller: how messages refer to what takes the options.
            prompt: the question, for a row that has none.
            meta: goes into `Sample.meta`.
            alone: treat the completion as the whole group of its prompt; without it, a reward that depends on groups is
                refused.
        """
        found = self.check(row, where=where, caller=caller)
        scorer = self.scorer
        if not alone:
            refuse_groups(scorer.reward, "This trainer", "verl can: overrides(lost_groups=True). Or use TRL.")
        chat = completion if isinstance(completion, Chat) else read_chat(completion)
        (judged,) = judge(scorer, [found.sample(row, chat, prompt, meta)], groups=1)
        step = (meta or {}).get("step")
        tell_reasons(scorer, [judged.score], int(step) if step is not None else None)
        return judged

    def judge_all(
        self,
        rows: Sequence[Mapping[str, Any]],
        completions: Sequence[object],
        *,
        where: str,
        caller: str,
        prompts: Sequence[str] | None = None,
        step: int | None = None,
    ) -> list[Judged]:
        """Score a batch at once; the arguments are those of `judge`, one for each completion.

        Raises:
            ConfigError: as for `check`; the reward depends on groups; or no database was found for any of the first 8
                samples.
        """
        refuse_groups(
            self.scorer.reward, "This trainer", "Use TRL or verl for it, or leave in_lost_groups out."
        )
        items = [
            self.check(row, where=where, caller=caller).sample(
                row, completion if isinstance(completion, Chat) else read_chat(completion), prompt
            )
            for row, completion, prompt in zip(rows, completions, prompts or [""] * len(rows), strict=True)
        ]
        judged = judge(self.scorer, items, step=step)
        refuse_lost(self.scorer, judged, least=LOST_AT_FIRST)
        tell_reasons(self.scorer, [one.score for one in judged], step)
        return judged

    def fill(self, judged: Sequence[Judged], groups: Sequence[Hashable]) -> list[float]:
        """Return one number for each completion; one without a value gets the mean of its group, or `fallback`."""
        values = [None if one.score.value is None else for_float32(one.score.value) for one in judged]
        return fill_groups(values, groups, self.fallback)

    def tool(self, row: Mapping[str, Any], options: Mapping[str, Any]) -> SQLTool:
        """Return the tool of one episode, on the (first) database of the row.

        Args:
            row: the trainer's row of the sample.
            options: the options of `SQLTool`.

        Raises:
            ConfigError: the reward runs nothing, the row names no database, or an option cannot be used.
        """
        return tool_for(self.scorer, row.get(self.db) or row.get(DB_TEXT), options)

    def record(self, judged: Judged) -> dict[str, float]:
        """Return `score`, `acc` (1 for an execution match), each component and `unscorable`; always the same keys."""
        value, reward = judged.score.value, self.scorer.reward
        score = float(self.fallback) if value is None else for_float32(value)
        return {"score": score, "acc": match_of(reward, judged), **numbers(reward, judged)}


def tool_for(scorer: Scorer, db: object, options: Mapping[str, Any]) -> SQLTool:
    """Return the tool of one episode, on a scorer's executor.

    Args:
        scorer: the scorer of the episode.
        db: the database, as the row names it; if there are several, the first is used.
        options: the options of `SQLTool`.

    Raises:
        ConfigError: the scorer has no executor, the row names no database, or an option cannot be used.
    """
    first = db[0] if isinstance(db, (list, tuple)) and db else db
    if scorer.executor is None or not isinstance(first, str) or not first:
        raise ConfigError(
            f"A tool should have an executor and a database, but got {scorer.executor!r:.80} and {db!r:.80}. "
            "Give the scorer an executor, and name the column of the database."
        )
    known = [name for name in inspect.signature(SQLTool).parameters if name.startswith("max_")]
    for name in options:
        if name not in known:
            raise ConfigError(
                f"Options of the tool should be out of {', '.join(known)}, but got {name!r}. {suggest(name, known)}"
            )
    return SQLTool(scorer.executor, first, **options)


def scorer_for(spec: str, root: str, limits: Mapping[str, Any], memory: str | None = None) -> Scorer:
    """Return the scorer of this configuration, the same object for every call in this process.

    Args:
        spec: a reward as it prints, or the name of a preset.
        root: folder of the databases (SQLite, DuckDB, Parquet), a PostgreSQL dsn, or the address of a server.
        limits: further arguments of the executor, such as `SQLite` or `Remote`; `log` and `neighbours`, as `Scorer`
            takes them; `policy`, the form of completions; and `embedder`, as `TraceMemory.open` takes it.
        memory: folder of a `TraceMemory`, or the address of a server, for rewards that search one.

    Raises:
        ConfigError: the spec, a limit or the memory cannot be used.
    """
    _check_limits(limits, root)
    # Without the lock, two threads could make two scorers and start two sets of workers.
    with _LOCK:
        return _scorer(spec, root, memory, tuple(sorted(limits.items())))


@lru_cache(maxsize=32)
def _scorer(spec: str, root: str, memory: str | None, limits: tuple[tuple[str, Any], ...]) -> Scorer:
    reward = preset(spec) if spec in PRESETS else spec
    options = dict(limits)
    own = {name: options.pop(name) for name in _SCORERS & options.keys()}
    if "policy" in own:
        own["parse"] = partial(parse_completion, policy=named_policy(own.pop("policy")))
    searched = _memory_at(memory, options.pop("embedder", None))
    return Scorer(reward, _executor_at(root)(root, **options), memory=searched, **own)


def _executor_at(root: str) -> Callable[..., Executor]:
    if not is_url(root):
        return engine_at(root).executor
    from finer_rewards.remote import Remote
    from finer_rewards.remote.wire import TOKEN

    return partial(Remote, token=os.environ.get(TOKEN))


def _memory_at(place: str | None, embedder: str | None) -> Memory | None:
    if place is None:
        return None
    if not is_url(place):
        from finer_rewards.memory import TraceMemory

        return TraceMemory.open(place, embedder, create=False)
    from finer_rewards.remote import RemoteMemory
    from finer_rewards.remote.wire import TOKEN

    return RemoteMemory(place, token=os.environ.get(TOKEN))


def is_url(place: str) -> bool:
    """Return whether a place is the address of a server rather than a folder."""
    return place.startswith(("http://", "https://"))


def _check_limits(limits: Mapping[str, Any], root: str) -> None:
    name_of, known = _options_at(root)
    for name in limits:
        if name not in (*known, "embedder", *_SCORERS):
            raise ConfigError(
                f"Options should be of the adapter or of {name_of} ({', '.join(known)}), but got {name!r}. "
                f"{suggest(name, known)}".rstrip()
            )


@lru_cache(maxsize=32)
def _options_at(root: str) -> tuple[str, list[str]]:
    """Return the name of the executor for a place, and its options. Called for every row, so the result is cached."""
    executor = _executor_at(root)
    places = ("dsn", "root", "token", "url")
    options = [name for name in inspect.signature(executor).parameters if name not in places]
    return "Remote" if is_url(root) else getattr(executor, "__name__", "SQLite"), options
