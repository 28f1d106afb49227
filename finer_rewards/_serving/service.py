"""What the server does with a payload, without HTTP: each method takes JSON values and returns JSON values."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from threading import Event
from typing import Any

from finer_rewards._chat import read_response
from finer_rewards._prompt_groups import Groups
from finer_rewards._serving.confined import ConfinedExecutor
from finer_rewards._serving.metrics import Metrics, resident_bytes
from finer_rewards._serving.request_handler import GoneError, RefusedError
from finer_rewards._version import VERSION
from finer_rewards.adapters._training_rows import Fields, for_float32, judge, question_in, truth_of
from finer_rewards.adapters.openrlhf import openrlhf_reward
from finer_rewards.comparing.partial_results import ResultPair
from finer_rewards.comparing.result import Settled
from finer_rewards.errors import ConfigError
from finer_rewards.executing.abilities import workers_of
from finer_rewards.executing.decoding import DECODED
from finer_rewards.executing.limits import ROOM
from finer_rewards.executing.pool import FULL
from finer_rewards.executing.protocol import Executor, Query
from finer_rewards.parsing import without_endings
from finer_rewards.remote.wire import pair_from, record, sample_from, settled_record
from finer_rewards.reporting.score_records import scored
from finer_rewards.scoring import Scorer
from finer_rewards.types import Evidence, Sample, Score

#: The number of samples or queries after which the server looks whether the client is still there.
_AT_ONCE = 256
#: The most traces that a search may return for a thought.
_MOST_TRACES = 10_000
#: The largest whole number in a request: every reader of JSON keeps numbers up to it exact.
_LARGEST = 1 << 53
#: Bytes of rows, roughly, after which an answer ends; the client asks again for the results that are missing.
_ANSWER_BYTES = 64 << 20
#: Bytes that the results of one request may take in this process, roughly; a single result may always be as large as
#: the executor allows.
_RESULT_BYTES = 256 << 20


class Service:
    """The scorer behind the server.

    Args:
        scorer: the scorer; its executor is confined to its root.
        max_batch: the most samples, queries or thoughts in a request.
        best: the largest value of the reward, for OpenRLHF's `scores`.
        fallback: the reward that OpenRLHF and slime get for samples that cannot be scored.
        metrics: the counters of the server.
        learns: whether a request may write the memory.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        max_batch: int,
        best: float,
        fallback: float,
        metrics: Metrics,
        learns: bool = False,
    ) -> None:
        executor = None if scorer.executor is None else ConfinedExecutor(scorer.executor)
        self.scorer = _Counting(scorer, executor, metrics)
        self.executor = executor
        self.max_batch = max_batch
        self.metrics = metrics
        self._learns = learns
        #: How many queries `execute` runs at a time: fewer while their results are large.
        self._at_once = _AT_ONCE
        self._fallback = float(fallback)
        self._openrlhf = openrlhf_reward(self.scorer, best=best, fallback=fallback)
        # Searches use the last snapshot of the memory. New traces go through a second handle, and searches see them
        # from the next snapshot on.
        self._memory: Any = scorer.memory
        self._writer: Any = copy.copy(scorer.memory)

    def score(self, payload: Any, leaving: Event) -> Any:
        """Score samples: `{"samples": [...], "explain": false}` to `{"scores": [...], "signature": ...}`."""
        fields = _fields(payload, samples=list, explain=(bool, False))
        samples = self._samples(fields["samples"])
        records: list[dict[str, Any]] = []
        for start in range(0, len(samples), _AT_ONCE):
            _still_there(leaving)
            evidence = self.scorer.observe(samples[start : start + _AT_ONCE])
            for one, score in zip(evidence, self.scorer.grade(evidence), strict=True):
                found = scored(self.scorer, len(records) + 1, one, score).record
                records.append({**found, "explanation": score.explain()} if fields["explain"] else found)
        signature = self.scorer.signature
        return {"scores": records, "signature": str(signature), "digest": signature.digest}

    def get_reward(self, payload: Any, leaving: Event) -> Any:
        """Answer OpenRLHF: `{"query", "prompts", "labels"}` to `{"rewards", "scores", "extra_logs"}`."""
        fields = _fields(payload, query=list, prompts=list, labels=list)
        queries, prompts = fields["query"], fields["prompts"]
        self._check_batch(len(queries), "query")
        if not len(queries) == len(prompts) == len(fields["labels"]):
            raise ConfigError(
                f"`query`, `prompts` and `labels` should be of one length, but got {len(queries)}, "
                f"{len(prompts)} and {len(fields['labels'])}. Send one prompt and one label a query."
            )
        for name, texts in (("query", queries), ("prompts", prompts)):
            for place, text in enumerate(texts):
                if not isinstance(text, str):
                    raise ConfigError(f"`{name}[{place}]` should be text, but got {text!r:.80}. Send text.")
        _still_there(leaving)
        return self._openrlhf(queries, prompts, fields["labels"])

    def remote_rm(self, payload: Any, leaving: Event) -> float:
        """Answer slime: `{"prompt", "response", "label"}` to the reward itself, a number."""
        fields = _fields(payload, prompt=(str, list), response=str, label=(str, dict))
        chat = read_response(without_endings(fields["response"]))
        item = Fields().sample(truth_of(fields["label"]), chat, question_in(fields["prompt"]))
        (judged,) = judge(self.scorer, [item])
        return self._fallback if judged.score.value is None else for_float32(judged.score.value)

    def execute(self, payload: Any, leaving: Event) -> Any:
        """Run `{"queries": [[sql, db, keep, golds], ...]}`; the answer has the first executions, at least one."""
        queries = [
            _query(item, place) for place, item in enumerate(_fields(payload, queries=list)["queries"])
        ]
        self._check_batch(len(queries), "queries")
        executor = self._with_a_budget()
        found: list[dict[str, Any]] = []
        size = 0
        while len(found) < len(queries):
            _still_there(leaving)
            batch = queries[len(found) : len(found) + self._at_once]
            for execution in executor.execute_many(batch):
                if execution.error == FULL and not found:
                    # The other queries of the batch took the room; by itself, this one has enough.
                    (execution,) = executor.execute_many(batch[:1])
                one = record(execution)
                size += _weight(execution.rows)
                if found and (size > _ANSWER_BYTES or execution.error == FULL):
                    self._at_once = max(1, min(len(batch), self._at_once) // 2)
                    return {"executions": found}
                found.append(one)
            self._at_once = min(_AT_ONCE, 2 * self._at_once)
        return {"executions": found}

    def settle(self, payload: Any, leaving: Event) -> Any:
        """Compare the whole results of `{"pairs": [...]}`, and return `{"settled": [...]}`.

        The queries run again for it, unless the executor still has their results.
        """
        given = _fields(payload, pairs=list)["pairs"]
        self._check_batch(len(given), "pairs")
        pairs = [pair_from(one, f"pairs[{place}]") for place, one in enumerate(given)]
        found: list[Settled] = []
        for start in range(0, len(pairs), _AT_ONCE):
            _still_there(leaving)
            found += self._settled(pairs[start : start + _AT_ONCE])
        return {"settled": list(map(settled_record, found))}

    def _settled(self, pairs: Sequence[ResultPair]) -> list[Settled]:
        executor = self._with_a_budget()
        queries: dict[Query, None] = {}
        asked: list[tuple[Query | None, Query]] = []
        for pair in pairs:
            gold = Query(pair.gold_ran, pair.db, keep=True, glance=True) if pair.gold_ran else None
            predicted = Query(
                pair.predicted_ran, pair.db, golds=(pair.gold_ran,) if gold else (), glance=True
            )
            queries.update(dict.fromkeys(one for one in (gold, predicted) if one is not None))
            asked.append((gold, predicted))
        runs = dict(zip(queries, executor.execute_many(list(queries)), strict=True))
        ran = [
            replace(pair, gold=runs[gold] if gold else pair.gold, predicted=runs[predicted])
            for pair, (gold, predicted) in zip(pairs, asked, strict=True)
        ]
        whole = iter(executor.settle([pair for pair in ran if pair.gold.ok and pair.predicted.ok]))
        return [
            next(whole)
            if pair.gold.ok and pair.predicted.ok
            else Settled(
                None, reason=f"one of both did not run again: {pair.gold.error or pair.predicted.error}"
            )
            for pair in ran
        ]

    def schema(self, payload: Any, leaving: Event) -> Any:
        """Return the schema of `{"db": ...}`."""
        return {"schema": record(self._executor().schema(_fields(payload, db=str)["db"]))}

    def neighbours(self, payload: Any, leaving: Event) -> Any:
        """Return the siblings of `{"golds": [[db, gold], ...], "most": n}` as `[[ids, error], ...]`."""
        fields = _fields(payload, golds=list, most=int)
        self._check_batch(len(fields["golds"]), "golds")
        for place, pair in enumerate(fields["golds"]):
            if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(one, str) for one in pair)):
                raise ConfigError(
                    f"`golds[{place}]` should be [db, gold], but got {pair!r:.80}. Send two texts."
                )
        pairs = [(db, gold) for db, gold in fields["golds"]]
        folder = self.scorer.neighbours_folder
        return {"siblings": self._executor().siblings(pairs, most=fields["most"], folder=folder)}

    def describe(self, payload: Any, leaving: Event) -> Any:
        """Return everything that decides the scores."""
        executor, memory = self.executor, self._memory
        return {
            "executor": None if executor is None else executor.describe(),
            "dialect": None if executor is None else executor.dialect,
            "neighbours": None
            if executor is None
            else executor.siblings_digest(self.scorer.neighbours_folder),
            "memory": None if memory is None else memory.describe(),
            "reward": repr(self.scorer.reward),
            "signature": str(self.scorer.signature),
            "digest": self.scorer.signature.digest,
            "max_batch": self.max_batch,
            "version": VERSION,
        }

    def search(self, payload: Any, leaving: Event) -> Any:
        """Search the memory: `{"thoughts", "dbs", "questions", "sqls", "top_k", "scope"}` to `{"recalls": [...]}`."""
        fields = _fields(
            payload,
            thoughts=list,
            dbs=list,
            questions=(list, []),
            sqls=(list, []),
            top_k=(int, 20),
            scope=(str, "other"),
        )
        self._check_batch(len(fields["thoughts"]), "thoughts")
        for name, kinds in (("thoughts", str), ("dbs", (str, list)), ("questions", str), ("sqls", str)):
            for place, item in enumerate(fields[name]):
                if not isinstance(item, kinds) or (not item and name == "dbs"):
                    raise ConfigError(f"`{name}[{place}]` should be text, but got {item!r:.80}. Send text.")
        dbs = [db if isinstance(db, str) else tuple(map(str, db)) for db in fields["dbs"]]
        if not 1 <= fields["top_k"] <= _MOST_TRACES:
            raise ConfigError(
                f"`top_k` should be a whole number from 1 to {_MOST_TRACES}, but got {fields['top_k']!r:.40}. "
                "Ask for fewer."
            )
        memory = self._needs_memory()
        recalls = memory.search(
            fields["thoughts"],
            dbs,
            top_k=fields["top_k"],
            scope=fields["scope"],
            questions=fields["questions"],
            sqls=fields["sqls"],
        )
        return {"recalls": list(map(record, recalls))}

    def remember(self, payload: Any, leaving: Event) -> Any:
        """Score `{"samples": [...], "model", "step"}` and keep what execution verified."""
        self._needs_memory()
        if not self._learns:
            raise RefusedError(
                403,
                "`/memory/remember` should be asked of a server with a token, but this one has none, so that anybody "
                "could write its memory. Start it with --token-file FILE.",
            )
        fields = _fields(payload, samples=list, model=(str, ""), step=(int, 0))
        samples = self._samples(fields["samples"])
        evidence = self.scorer.observe(samples)
        pairs = list(zip(evidence, map(self.scorer.reward, evidence), strict=True))
        report = self._writer.remember(
            pairs, model=fields["model"], step=fields["step"], signature=self.scorer.signature.digest
        )
        return {"decisions": list(map(asdict, report.decisions)), "report": str(report)}

    def snapshot(self, payload: Any, leaving: Event) -> Any:
        """Let searches see the traces that were remembered until now."""
        return {"digest": self._needs_memory().snapshot()}

    def gauges(self) -> dict[str, float]:
        """Return the number of workers, their restarts, and the memory of the processes at this moment."""
        workers, restarts = workers_of(None if self.executor is None else self.executor.executor)
        return {
            "workers": len(workers),
            "worker_restarts": restarts,
            "resident_bytes": resident_bytes(["self"]),
            "worker_resident_bytes": resident_bytes(map(str, workers)),
        }

    def close(self) -> None:
        """Close the executor and the memory."""
        self.scorer.close()
        for memory in (self._memory, self._writer):
            if hasattr(memory, "close"):
                memory.close()

    def _executor(self) -> ConfinedExecutor:
        if self.executor is None:
            raise ConfigError(
                "The server should have an executor for this, but its reward runs no SQL. "
                "Start it with --db FOLDER."
            )
        return self.executor

    def _with_a_budget(self) -> ConfinedExecutor:
        """Return the executor, after a limit is set on the bytes that the results of this request may take."""
        executor = self._executor()
        largest = getattr(executor.executor, "max_bytes", 0)
        ROOM.set(max(_RESULT_BYTES, int(largest) * DECODED))
        return executor

    def _needs_memory(self) -> Any:
        if self._memory is None:
            raise ConfigError(
                "The server should have a memory for this, but it has none. Start it with --memory FOLDER."
            )
        return self._memory

    def _samples(self, given: Sequence[Any]) -> list[Sample]:
        self._check_batch(len(given), "samples")
        return [sample_from(one, f"samples[{place}]") for place, one in enumerate(given)]

    def _check_batch(self, count: int, name: str) -> None:
        if count > self.max_batch:
            raise RefusedError(
                413,
                f"`{name}` should have at most {self.max_batch} items, but got {count}. Send smaller batches.",
            )


class _Counting(Scorer):
    """The scorer on the confined executor, which also counts the statuses of samples."""

    def __init__(self, scorer: Scorer, executor: Executor | None, metrics: Metrics) -> None:
        super().__init__(
            scorer.reward,
            executor,
            memory=scorer.memory,
            neighbours=scorer.neighbours,
            parse=scorer.parse,
            log=scorer.log,
        )
        self._metrics = metrics

    def grade(
        self, evidence: Sequence[Evidence], *, step: int | None = None, groups: Groups = None
    ) -> list[Score]:
        """Return the scores, and count their statuses."""
        scores = super().grade(evidence, step=step, groups=groups)
        for score in scores:
            self._metrics.add("samples", status=score.status.name)
        return scores


def _fields(payload: Any, **kinds: Any) -> dict[str, Any]:
    """Return the fields of a payload; a kind is a type, a tuple of types, or a type with a default value."""
    if not isinstance(payload, Mapping):
        raise ConfigError(f"The body should be an object, but got {payload!r:.80}. Send {', '.join(kinds)}.")
    for name in payload:
        if name not in kinds:
            raise ConfigError(f"The body should have {', '.join(kinds)}, but got {name!r:.80}. Leave it out.")
    found = {}
    for name, kind in kinds.items():
        optional = isinstance(kind, tuple) and not isinstance(kind[1], type)
        types = kind[0] if optional else kind
        if name not in payload and not optional:
            raise ConfigError(
                f"The body should have {name!r}, but it has {', '.join(payload) or 'nothing'}. Add it."
            )
        found[name] = payload.get(name, kind[1] if optional else None)
        if not isinstance(found[name], types) or (isinstance(found[name], bool) and types is not bool):
            wanted = " or ".join(
                _JSON_NAMES[one] for one in (types if isinstance(types, tuple) else (types,))
            )
            raise ConfigError(f"`{name}` should be {wanted}, but got {found[name]!r:.80}. Correct it.")
        if types is int and not -_LARGEST <= found[name] <= _LARGEST:
            raise ConfigError(
                f"`{name}` should be a whole number of at most {_LARGEST}, but got {found[name]!r:.40}. Correct it."
            )
    return found


_JSON_NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a whole number"}


def _query(item: Any, place: int) -> Query:
    kinds = (str, str, bool, list)
    if (
        isinstance(item, list)
        and len(item) == len(kinds)
        and all(isinstance(part, kind) for part, kind in zip(item, kinds, strict=True))
        and all(isinstance(gold, str) for gold in item[3])
    ):
        sql, db, keep, golds = item
        return Query(sql, db, keep, tuple(golds))
    raise ConfigError(
        f"`queries[{place}]` should be [sql, db, keep, golds], but got {item!r:.80}. "
        "Send two texts, true or false, and a list of texts."
    )


def _still_there(leaving: Event) -> None:
    if leaving.is_set():
        raise GoneError


def _weight(rows: Sequence[Sequence[Any]]) -> int:
    return sum(len(cell) if isinstance(cell, (str, bytes)) else 8 for row in rows for cell in row)
