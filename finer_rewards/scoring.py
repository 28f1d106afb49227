"""`Scorer`, the entrance to the whole data flow and the only object on it that does I/O.

`observe` parses completions, runs SQL and searches memory, a batch at a time, and returns `Evidence`; `grade` turns
that into scores, which is pure; `score` does both.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from html import escape
from types import TracebackType
from typing import TYPE_CHECKING, Any

from finer_rewards._form_watch import FormWatch
from finer_rewards._neighbour_observer import NeighbourObserver, Neighbours
from finer_rewards._observation_cache import Observed, Parse, is_same, key_of, weight_of
from finer_rewards._prompt_groups import Groups, met_in_groups, read_groups, within_group
from finer_rewards._signature import Signature
from finer_rewards._trials import run_trials
from finer_rewards._util.lru import LRU
from finer_rewards._util.progress import Progress
from finer_rewards.errors import ConfigError, DataError
from finer_rewards.executing.protocol import Executor
from finer_rewards.executing.stopping import STOP, Stop
from finer_rewards.judging import Judge, Judges
from finer_rewards.memory_protocol import Memory
from finer_rewards.parsing import parse_completion
from finer_rewards.reward import Reward
from finer_rewards.spec import parse_reward
from finer_rewards.types import Answer, Evidence, Recall, Sample, Score, Status, Trial

if TYPE_CHECKING:
    from finer_rewards._score_log import ScoreLog
    from finer_rewards.schema import Schema

__all__ = ["Scorer"]

# Bytes of observations and their scores that are kept for the next batch.
_OBSERVED_BYTES = 32 << 20


class Scorer:
    """A reward, with everything needed to observe samples for it.

    Args:
        reward: a `Reward`, or the text of one.
        executor: runs SQL, e.g. `SQLite("databases/")`; may be left out when the reward runs nothing.
        memory: a `TraceMemory`; needed by rewards that use one.
        judge: a function from prompts to replies, such as an `EndpointJudge`; needed by `judge(...)`.
        neighbours: small siblings of each database on which a match must hold too, so that a lucky guess does not
            count. By default this library's own modes use them; they are built when a gold is first judged, into a
            cache folder (`$FINER_REWARDS_CACHE`). 0 for none; a number for at most so many, in published modes too; a
            folder that has them (`finer-rewards testsuite build -o FOLDER`); or both, `(4, "neighbours/")`.
        parse: turns a completion into an `Answer`. If it has a parameter `calls`, it also gets the queries that the
            model ran before it answered.
        log: a file, or a `ScoreLog`, that gets one JSON line for each sample scored; see `finer-rewards report`.

    Raises:
        ConfigError: the reward needs an executor, a memory or a judge that is not there.

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
        judge: Judge | None = None,
        neighbours: Neighbours = None,
        parse: Parse = parse_completion,
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
        self._parses_calls = _takes_calls(parse)
        self.log = _log(log)
        needs = self.reward.needs
        self._rewritings = tuple(sorted(need[3:] for need in needs if need.startswith("as:")))
        self._runs_predicted = bool(needs & {"execution", "predicted"}) or bool(self._rewritings)
        self._runs_gold = bool(needs & {"execution", "gold"}) or bool(self._rewritings)
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
        self.judge = judge
        self._judges = Judges(self.reward, judge)
        self._modes = self.reward.compared_under()
        self.neighbours = neighbours
        self._neighbours = NeighbourObserver(self.reward, executor, neighbours)
        self._searches = _memory_settings(self.reward)
        self._observed = LRU[Observed](_OBSERVED_BYTES)
        self._forms = FormWatch(self.reward)

    @property
    def signature(self) -> Signature:
        """Everything that determines a score; only scores with equal signatures can be compared."""
        return Signature.of(
            self.reward,
            self.executor,
            self.memory,
            self.parse,
            neighbours=self._neighbours.describe(),
            judge=self.judge if "judge" in self.reward.needs else None,
        )

    @property
    def neighbours_folder(self) -> str | None:
        """The user's folder of neighbours; `None` for the cache folder."""
        return self._neighbours.folder

    def build_neighbours(self, samples: Iterable[Sample]) -> int | None:
        """Build the neighbours that the samples need now; otherwise this happens when a gold is first judged.

        On a terminal it shows its progress, on standard error.

        Args:
            samples: the samples to be scored later; their completions do not matter.

        Returns:
            How many distinct golds have neighbours; `None` when the reward does not use neighbours.
        """
        pairs = [
            (sample.dbs[0], gold)
            for sample in samples
            if len(sample.dbs) == 1 and sample.answer is None
            for gold in sample.golds
        ]
        golds = list(dict.fromkeys(pairs))
        with Progress("golds with their neighbours", len(golds) if self._neighbours.leaves else 0) as bar:
            return self._neighbours.build(golds, bar.advance)

    def observe(self, samples: Iterable[Sample]) -> list[Evidence]:
        """Parse completions, run SQL and search memory for a batch; identical work is done once.

        Args:
            samples: the samples to observe.

        Returns:
            One `Evidence` for each sample, in the order given.

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
        keys: list[Hashable] = [key_of(sample) or index for index, sample in enumerate(batch)]
        distinct = dict(zip(keys, batch, strict=True))
        observed = dict(zip(distinct, self._observe(distinct, self.parse), strict=True))
        if "calls" in self.reward.needs:
            observed = dict(zip(distinct, self._with_calls(list(observed.values())), strict=True))
        return [observed[key] for key in keys]

    def score(
        self, samples: Iterable[Sample], *, step: int | None = None, groups: Groups = None
    ) -> list[Score]:
        """Return one `Score` for each sample, in the order given.

        A score does not depend on other samples, with one exception: `in_lost_groups(...)` depends on those of its
        group.

        Args:
            samples: the samples to score.
            step: the training step, for the log.
            groups: as in `grade`.
        """
        return self.grade(self.observe(samples), step=step, groups=groups)

    async def ascore(
        self, samples: Iterable[Sample], *, step: int | None = None, groups: Groups = None
    ) -> list[Score]:
        """Return what `score` returns, without blocking the event loop. Any number of tasks may await it at once.

        It works in a thread of the loop's default executor. When the await is cancelled, its running queries are
        stopped and its other queries never begin.

        Args:
            samples: the samples to score.
            step: the training step, for the log.
            groups: as in `grade`.

        Example:
            >>> import asyncio
            >>> import finer_rewards as fr
            >>> scorer = fr.Scorer("well_formed(policy='plain')")
            >>> scores = asyncio.run(scorer.ascore([fr.Sample("SELECT 1", gold="SELECT 1", db="any.sqlite")]))
            >>> [score.value for score in scores]
            [1.0]
        """
        import asyncio

        stop = Stop()
        context = copy_context()
        context.run(STOP.set, stop)
        work = asyncio.get_running_loop().run_in_executor(
            None, partial(context.run, partial(self.score, samples, step=step, groups=groups))
        )
        try:
            return await work
        finally:
            # If the await was cancelled, the thread is still at work: this stops it.
            stop.set()

    def grade(
        self, evidence: Sequence[Evidence], *, step: int | None = None, groups: Groups = None
    ) -> list[Score]:
        """Return the scores of evidence, and write them to the log when there is one.

        Args:
            evidence: the evidence, as `observe` returned it.
            step: the training step, for the log.
            groups: which samples are completions of the same prompt: the number of completions a prompt has, if they
                stand together, or a label for each sample. Only `in_lost_groups(...)` uses it.

        Raises:
            ConfigError: the reward asks for groups and there are none, or they are not whole.
        """
        labels = read_groups(groups, len(evidence))
        if "groups" not in self.reward.needs:
            labels = [None] * len(evidence)
        elif groups is None:
            raise ConfigError(
                f"The reward {self.reward!r:.200} depends on the group of a sample, but no groups are given. "
                "Pass how many completions a prompt has, Scorer.score(samples, groups=8), or leave in_lost_groups out."
            )
        scores: dict[tuple[int, Hashable], Score] = {}
        sizes: dict[int, int] = {}
        found = []
        met = met_in_groups(self.reward, evidence, labels)
        for one, label in zip(evidence, labels, strict=True):
            score = scores.get((id(one), label))
            if score is None:
                score = scores[id(one), label] = self._grade(one, met.get(label), sizes)
            found.append(score)
        self._forms.look(evidence, found)
        if self.log is not None:
            self._write(self.log, evidence, found, step)
        return found

    def _write(
        self, log: ScoreLog, evidence: Sequence[Evidence], scores: list[Score], step: int | None
    ) -> None:
        try:
            signature = self.signature
        except ConfigError as error:
            # The signature asks a server that cannot be reached yet. That must not end a training run.
            warnings.warn(
                f"{len(scores)} lines could not be written to {log.path}: they would lack a signature. {error} "
                "Scores are not affected.",
                RuntimeWarning,
                stacklevel=4,
            )
        else:
            log.write(self.reward, evidence, scores, signature=signature, step=step)

    def _grade(self, evidence: Evidence, met: frozenset[Reward] | None, sizes: dict[int, int]) -> Score:
        """Return the score of one piece of evidence: the kept one if this evidence was scored before.

        Args:
            evidence: the evidence.
            met: the conditions that some completion of its group meets; `None` without groups.
            sizes: bytes of rows by their identity, shared by a batch; see `weight_of`.
        """
        key = key_of(evidence.sample)
        known = self._observed.get(key)
        if met is None and known is not None and known.evidence is evidence and known.reward is self.reward:
            return known.score
        score = self.reward(evidence if met is None else within_group(evidence, met))
        if key is not None:
            self._observed.put(
                key, Observed(self.parse, self.reward, evidence, score), weight_of(key, evidence, sizes)
            )
        return score

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

    def _with_calls(self, found: list[Evidence]) -> list[Evidence]:
        """Return the evidence with the earlier queries of each sample in it, each observed as if it were the answer."""
        keys: list[list[Hashable]] = []
        distinct: dict[Hashable, Sample] = {}
        for one in found:
            calls = [replace(one.sample, completion=sql, calls=(), turns=1) for sql in one.sample.calls]
            keys.append([key_of(call) or (len(keys), number) for number, call in enumerate(calls)])
            distinct.update(zip(keys[-1], calls, strict=True))
        seen = dict(zip(distinct, self._observe(distinct, _as_it_is), strict=True)) if distinct else {}
        return [
            replace(one, calls=tuple(seen[key] for key in mine)) if mine else one
            for one, mine in zip(found, keys, strict=True)
        ]

    def _repr_html_(self) -> str:
        """Return a table of the reward, executor, memory and signature, for notebooks."""
        rows = {"reward": repr(self.reward), "executor": repr(self.executor), "memory": repr(self.memory)}
        rows["signature"] = f"sha256:{self.signature.digest}"
        cells = (
            f"<tr><th>{name}</th><td><code>{escape(text)}</code></td></tr>" for name, text in rows.items()
        )
        return f"<table>{''.join(cells)}</table>"

    def _observe(self, samples: Mapping[Hashable, Sample], parse: Parse) -> list[Evidence]:
        """Observe samples that all differ.

        When nothing has changed since a sample was last observed, the same `Evidence` object is returned as then, so
        that `grade` finds its score again. Golds and predictions still go to the executor, which has its own cache and
        notices when a database changes.
        """
        before = [self._observed.get(key) for key in samples]
        batch = list(samples.values())
        answers = self._parse(batch, before, parse)
        readings: dict[str, list[tuple[Trial, ...]]] = {}
        if self.executor is not None and (self._runs_predicted or self._runs_gold):
            readings = run_trials(
                self.executor,
                list(zip(batch, answers, strict=True)),
                self._rewritings,
                predicted=self._runs_predicted,
                gold=self._runs_gold,
                modes=self._modes,
            )
        recalls = self._recall(batch, answers)
        schemas = self._schemas(batch)
        dialect = "" if self.executor is None else self.executor.dialect
        plain = readings.pop("none", None)
        found: list[Evidence] = []
        fresh: list[int] = []
        for index, (sample, known) in enumerate(zip(batch, before, strict=True)):
            schema, schema_error, schema_status = schemas[sample.dbs[0]]
            evidence = Evidence(
                sample=sample,
                answer=answers[index],
                recall=recalls[index],
                schema=schema,
                schema_error=schema_error,
                schema_status=schema_status,
                readings={rewriting: trials[index] for rewriting, trials in readings.items()},
                trials=plain[index] if plain is not None else (),
                dialect=sample.dialect or dialect,
            )
            if known is not None and is_same(known.evidence, evidence):
                found.append(known.evidence)
            else:
                fresh.append(len(found))
                found.append(evidence)
        self._neighbours.observe([found[index] for index in fresh])
        return self._judges.observe(found)

    def _parse(self, batch: list[Sample], before: Sequence[Observed | None], parse: Parse) -> list[Answer]:
        parsed = {
            known.evidence.sample.completion: known.evidence.answer
            for known in before
            if known is not None and known.parse is parse and not known.evidence.sample.calls
        }
        answers = []
        for sample in batch:
            text = sample.completion
            if sample.calls and self._parses_calls:
                answers.append(parse(text, calls=sample.calls))
                continue
            if text not in parsed:
                parsed[text] = parse(text)
            answers.append(parsed[text])
        return answers

    def _recall(self, batch: list[Sample], answers: list[Answer]) -> list[Recall | None]:
        if self.memory is None or self._searches is None:
            return [None] * len(batch)
        thoughts = [answer.thought or "" for answer in answers]
        recalls = self.memory.search(
            thoughts,
            [sample.dbs[0] for sample in batch],
            questions=[sample.question for sample in batch],
            sqls=[answer.sql or "" for answer in answers],
            **self._searches,
        )
        return list(recalls)

    def _schemas(self, batch: list[Sample]) -> dict[str, tuple[Schema | None, str, Status]]:
        """Return for each database its schema, or the reason why it cannot be read and the status for that."""
        wanted = dict.fromkeys(sample.dbs[0] for sample in batch)
        # A log needs the schema: without it a report cannot tell a column name in double quotes from a text.
        if self.executor is None or ("schema" not in self.reward.needs and self.log is None):
            return dict.fromkeys(wanted, (None, "", Status.ok))
        return {db: _schema(self.executor, db) for db in wanted}


def _takes_calls(parse: Parse) -> bool:
    try:
        return "calls" in inspect.signature(parse).parameters
    except (TypeError, ValueError):
        # Some callables written in C have no signature.
        return False


def _as_it_is(sql: str) -> Answer:
    """Return the answer that a query is by itself, without parsing."""
    return Answer(None, sql)


def _log(log: ScoreLog | str | os.PathLike[str] | None) -> ScoreLog | None:
    if isinstance(log, (str, os.PathLike)):
        from finer_rewards._score_log import ScoreLog

        return ScoreLog(log)
    return log


def _schema(executor: Executor, db: str) -> tuple[Schema | None, str, Status]:
    try:
        return executor.schema(db), "", Status.ok
    except DataError as error:
        return None, str(error), Status.database_failed
    except ConfigError as error:
        return None, str(error), Status.unavailable


def _memory_settings(reward: Reward) -> dict[str, Any] | None:
    """Return the arguments with which the reward searches memory; its parts have to agree, as there is one search."""
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
