"""`Scorer`: the one object that does I/O. It observes in batches; scoring what it observed is pure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from finer_rewards.comparing import find_mode
from finer_rewards.errors import ConfigError
from finer_rewards.executing.protocol import Executor, Query
from finer_rewards.parsing import parse_completion
from finer_rewards.reward import Reward
from finer_rewards.signature import Signature
from finer_rewards.spec import parse_reward
from finer_rewards.types import Answer, Evidence, Execution, Recall, Sample, Score, Status, Trial

if TYPE_CHECKING:
    from finer_rewards.reporting import ScoreLog
    from finer_rewards.schema import Schema

__all__ = ["Memory", "Scorer"]

_RUNS = ("execution", "predicted", "gold")


class Memory(Protocol):
    """What a scorer asks of a trace memory; `TraceMemory` is one."""

    def search(
        self,
        thoughts: Sequence[str],
        dbs: Sequence[str],
        *,
        top_k: int = 20,
        scope: Literal["other", "same", "any"] = "other",
    ) -> list[Recall]:
        """Return what is remembered that resembles each thought."""

    def describe(self) -> Mapping[str, object]:
        """Return every parameter and the digest of the content, for the signature."""


class Scorer:
    """A reward, and what it takes to observe samples for it.

    Args:
        reward: a `Reward`, or the text of one.
        executor: runs SQL, e.g. `SQLite("databases/")`; may be left out when the reward runs nothing.
        memory: a `TraceMemory`; needed by rewards that use one.
        parse: turns a completion into an `Answer`.
        log: a file, or a `ScoreLog`, that gets one JSON line a sample scored; see `finer-rewards report`.

    Raises:
        ConfigError: the reward needs an executor or a memory that is not there.

    Example:
        >>> import finer_rewards as fr
        >>> with fr.Scorer("well_formed(policy='plain')") as scorer:
        ...     scorer.score_one(fr.Sample("SELECT 1", gold="SELECT 1", db="any.sqlite")).value
        1.0
    """

    def __init__(
        self,
        reward: Reward | str,
        executor: Executor | None = None,
        *,
        memory: Memory | None = None,
        parse: Callable[[str], Answer] = parse_completion,
        log: ScoreLog | str | os.PathLike[str] | None = None,
    ) -> None:
        self.reward = parse_reward(reward) if isinstance(reward, str) else reward
        if not isinstance(self.reward, Reward):
            raise ConfigError(
                f"`Scorer(reward=...)` should be a Reward or its text, but got {reward!r:.80}. "
                "Write your function as a reward with `@fr.reward()`."
            )
        if isinstance(executor, type) or not (executor is None or hasattr(executor, "execute_many")):
            raise ConfigError(
                f"`Scorer(executor=...)` should be an executor, but got {executor!r:.80}. "
                "Pass one: Scorer(reward, SQLite('databases/'))."
            )
        self.executor = executor
        self.memory = memory
        self.parse = parse
        self.log = _log(log)
        needs = self.reward.needs
        self._modes = tuple(sorted(need[3:] for need in needs if need.startswith("as:")))
        self._runs_predicted = bool(needs & {"execution", "predicted"}) or bool(self._modes)
        self._runs_gold = bool(needs & {"execution", "gold"}) or bool(self._modes)
        if executor is None and (self._runs_predicted or self._runs_gold):
            raise ConfigError(
                f"The reward {self.reward!r} needs to run SQL, but this scorer has no executor. "
                "Pass one: Scorer(reward, SQLite('databases/'))."
            )
        if memory is None and "memory" in needs:
            raise ConfigError(
                f"The reward {self.reward!r} needs memory, but this scorer has none. "
                "Pass memory=TraceMemory.open('traces/')."
            )
        self._searches = _memory_settings(self.reward)

    @property
    def signature(self) -> Signature:
        """Everything that determines a score: compare scores only where it is the same."""
        return Signature.of(self.reward, self.executor, self.memory, self.parse)

    def observe(self, samples: Iterable[Sample]) -> list[Evidence]:
        """Parse, run and recall for a batch; identical work is done once.

        Args:
            samples: what to observe.

        Returns:
            One `Evidence` a sample, in the order given.

        Raises:
            ConfigError: an item is not a `Sample`.
        """
        if not isinstance(samples, Iterable):
            raise ConfigError(
                f"`Scorer.score(samples)` should get several samples, but got {samples!r:.80}. Pass a list."
            )
        batch = list(samples)
        for item in batch:
            if not isinstance(item, Sample):
                raise ConfigError(f"`Scorer.score(samples)` should get Sample objects, but got {item!r:.80}.")
        extend = getattr(self.executor, "with_neighbours", None)
        if extend is not None:
            batch = extend(batch)
        parsed = {text: self.parse(text) for text in dict.fromkeys(sample.completion for sample in batch)}
        answers = [parsed[sample.completion] for sample in batch]
        readings = self._run(batch, answers)
        recalls = self._recall(batch, answers)
        schemas = self._schemas(batch)
        return [
            Evidence(
                sample=sample,
                answer=answers[index],
                recall=recalls[index],
                schema=schemas[sample.dbs[0]][0],
                schema_error=schemas[sample.dbs[0]][1],
                readings={mode: trials[index] for mode, trials in readings.items() if mode},
                trials=readings[""][index] if "" in readings else (),
                dialect=sample.dialect or getattr(self.executor, "dialect", ""),
            )
            for index, sample in enumerate(batch)
        ]

    def score(self, samples: Iterable[Sample], *, step: int | None = None) -> list[Score]:
        """Return one `Score` a sample, in the order given; a score never depends on the rest of the batch.

        Args:
            samples: what to score.
            step: the training step, for the log.
        """
        return self.grade(self.observe(samples), step=step)

    def grade(self, evidence: Sequence[Evidence], *, step: int | None = None) -> list[Score]:
        """Return the scores of what `observe` returned, and write them to the log when there is one."""
        scores: dict[Sample, Score] = {}
        found = []
        for one in evidence:
            score = scores.get(one.sample)
            if score is None:
                score = scores[one.sample] = self.reward(one)
            found.append(score)
        if self.log is not None:
            self.log.write(self.reward, evidence, found, signature=self.signature, step=step)
        return found

    def score_one(self, sample: Sample) -> Score:
        """Return the score of one sample."""
        return self.score([sample])[0]

    def close(self) -> None:
        """Stop the executor's workers. The scorer can be used again afterwards."""
        if self.executor is not None:
            self.executor.close()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        memory = "" if self.memory is None else f", memory={self.memory!r}"
        return f"Scorer({self.reward!r}, {self.executor!r}{memory})"

    def _run(self, batch: list[Sample], answers: list[Answer]) -> dict[str, list[tuple[Trial, ...]]]:
        """Run every statement on every database, as written and as each mode rewrites it.

        A prediction that fails on its first database is not run on the others: it matches on none.
        """
        if self.executor is None or not (self._runs_predicted or self._runs_gold):
            return {}
        pairs = list(zip(batch, answers, strict=True))
        readings = {mode: find_mode(mode).prepare if mode else _unchanged for mode in ("", *self._modes)}
        first = _Batch(self.executor)
        for prepare in readings.values():
            for sample, answer in pairs:
                for db in sample.dbs:
                    for gold in sample.golds if self._runs_gold else ():
                        first.add(Query(prepare(gold), db, keep=True))
                if self._runs_predicted and answer.sql is not None:
                    first.add(Query(prepare(answer.sql), sample.dbs[0]))
        first.run()
        rest = _Batch(self.executor)
        for prepare in readings.values():
            for sample, answer in pairs:
                if self._runs_predicted and answer.sql is not None:
                    sql = prepare(answer.sql)
                    if first.runs[Query(sql, sample.dbs[0])].ok:
                        for db in sample.dbs[1:]:
                            rest.add(Query(sql, db))
        rest.run()
        runs = {**first.runs, **rest.runs}
        return {
            mode: [self._trials(sample, answer, prepare, runs) for sample, answer in pairs]
            for mode, prepare in readings.items()
        }

    def _trials(
        self, sample: Sample, answer: Answer, prepare: Callable[[str], str], runs: Mapping[Query, Execution]
    ) -> tuple[Trial, ...]:
        trials = []
        on_first: Execution | None = None
        for db in sample.dbs:
            golds = (
                [runs[Query(prepare(gold), db, keep=True)] for gold in sample.golds]
                if self._runs_gold
                else []
            )
            if self._runs_gold and sample.answer is not None:
                golds.append(Execution(Status.ok, rows=sample.answer))
            predicted = None
            if self._runs_predicted:
                predicted = (
                    Execution(Status.no_sql, error=answer.problem)
                    if answer.sql is None
                    else runs.get(Query(prepare(answer.sql), db), on_first)
                )
                on_first = on_first or predicted
            trials.append(Trial(db, predicted, tuple(golds)))
        return tuple(trials)

    def _recall(self, batch: list[Sample], answers: list[Answer]) -> list[Recall | None]:
        if self.memory is None or self._searches is None:
            return [None] * len(batch)
        thoughts = [answer.thought or "" for answer in answers]
        return list(self.memory.search(thoughts, [sample.dbs[0] for sample in batch], **self._searches))

    def _schemas(self, batch: list[Sample]) -> dict[str, tuple[Schema | None, str]]:
        wanted = dict.fromkeys(sample.dbs[0] for sample in batch)
        if self.executor is None or "schema" not in self.reward.needs:
            return dict.fromkeys(wanted, (None, ""))
        return {db: _schema(self.executor, db) for db in wanted}


class _Batch:
    """Collects queries, each distinct one once, and runs them together."""

    def __init__(self, executor: Executor) -> None:
        self.runs: dict[Query, Execution] = {}
        self._executor = executor
        self._queries: dict[Query, None] = {}

    def add(self, query: Query) -> None:
        self._queries[query] = None

    def run(self) -> None:
        queries = list(self._queries)
        self.runs = dict(zip(queries, self._executor.execute_many(queries) if queries else (), strict=True))


def _log(log: ScoreLog | str | os.PathLike[str] | None) -> ScoreLog | None:
    if isinstance(log, (str, os.PathLike)):
        from finer_rewards.reporting import ScoreLog

        return ScoreLog(log)
    return log


def _unchanged(sql: str) -> str:
    return sql


def _schema(executor: Executor, db: str) -> tuple[Schema | None, str]:
    try:
        return executor.schema(db), ""
    except ConfigError as error:
        return None, str(error)


def _memory_settings(reward: Reward) -> dict[str, Any] | None:
    """Return how the reward searches memory; one search serves all its parts, so they must agree."""
    settings = {
        (leaf.params["top_k"], leaf.params["scope"])
        for leaf in reward.leaves()
        if "memory" in leaf.needs and "top_k" in leaf.params
    }
    if len(settings) > 1:
        raise ConfigError(
            f"The memory rewards in {reward!r} should search alike. Give them the same top_k and scope."
        )
    return {"top_k": next(iter(settings))[0], "scope": next(iter(settings))[1]} if settings else None
