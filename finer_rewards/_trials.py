"""Running all queries that a batch of samples needs, each distinct one once, and putting the results into trials.

`Scorer` calls `run_trials` for the databases themselves, `_neighbour_observer.py` for their neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from finer_rewards.comparing import Mode
from finer_rewards.comparing.partial_results import ResultPair
from finer_rewards.comparing.result import Settled
from finer_rewards.comparing.rewriting import rewrite
from finer_rewards.executing.abilities import Settles, deadline_of
from finer_rewards.executing.protocol import Executor, Query
from finer_rewards.types import Answer, Execution, Sample, Status, Trial

Pairs = Sequence[tuple[Sample, Answer]]


def run_trials(
    executor: Executor,
    pairs: Pairs,
    rewritings: Iterable[str],
    *,
    predicted: bool,
    gold: bool,
    modes: Sequence[Mode] | None = None,
    at_once: bool = False,
) -> dict[str, list[tuple[Trial, ...]]]:
    """Run every statement on every database, as written and rewritten.

    A prediction that fails on its first database is not run on the others, for it matches on none, unless `at_once`.

    Args:
        executor: runs them.
        pairs: samples, each with its answer.
        rewritings: ways in which comparison modes rewrite statements, besides leaving them as written.
        predicted: whether predictions run.
        gold: whether golds run.
        modes: the modes under which results are compared, if nothing else is done with their rows; `None` if some
            reward reads the rows, so that all of them have to come.
        at_once: whether predictions run on all their databases in one batch; for databases on which they hardly ever
            fail, such as neighbours.

    Returns:
        For each rewriting, and `"none"` for the statements as written, the trials of each pair.
    """
    glance = modes is not None and isinstance(executor, Settles)
    first, rest = _QueryBatch(executor), _QueryBatch(executor)
    readings = {
        rewriting: _RewrittenBatch(
            pairs, partial(rewrite, rewriting=rewriting), glance, predicted=predicted, gold=gold
        )
        for rewriting in ("none", *rewritings)
    }
    for reading in readings.values():
        reading.ask_first(first, link=deadline_of(executor) == "relative", at_once=at_once)
    first.run()
    for reading in readings.values():
        reading.ask_rest(first, rest)
    rest.run()
    found = {rewriting: reading.trials(first, rest) for rewriting, reading in readings.items()}
    if (
        modes
        and predicted
        and gold
        and any(run.truncated for batch in (first, rest) for run in batch.runs)
        and isinstance(executor, Settles)
    ):
        _settle(executor, readings, found, modes)
    return found


def _settle(
    executor: Settles,
    readings: Mapping[str, _RewrittenBatch],
    found: dict[str, list[tuple[Trial, ...]]],
    modes: Sequence[Mode],
) -> None:
    """Have the executor compare results of which only the first rows came, and put the outcomes into the trials."""
    places: list[tuple[str, int, int, Mode, int]] = []
    asked: list[ResultPair] = []
    for rewriting, trials in found.items():
        reading = readings[rewriting]
        concerned = [
            mode for mode in modes if rewriting == mode.rewriting or (mode.as_written and rewriting == "none")
        ]
        for index, (sample, answer) in enumerate(reading.pairs):
            for place, trial in enumerate(trials[index]):
                run = trial.predicted
                if run is None or not run.ok or answer.sql is None:
                    continue
                for number, gold in enumerate(trial.golds):
                    if not gold.ok or not (run.truncated or gold.truncated):
                        continue
                    sql = sample.golds[number] if number < len(sample.golds) else None
                    ran = "" if sql is None else reading.prepare(sql), reading.prepare(answer.sql)
                    for mode in concerned:
                        places.append((rewriting, index, place, mode, number))
                        asked.append(
                            ResultPair(trial.db, gold, run, mode, *ran, sql, answer.sql, sample.question)
                        )
    known: dict[tuple[str, int, int], dict[tuple[Mode, int], Settled]] = {}
    for (rewriting, index, place, mode, number), outcome in zip(places, executor.settle(asked), strict=True):
        known.setdefault((rewriting, index, place), {})[mode, number] = outcome
    for (rewriting, index, place), outcomes in known.items():
        mended = list(found[rewriting][index])
        mended[place] = replace(mended[place], settled=outcomes)
        found[rewriting][index] = tuple(mended)


class _QueryBatch:
    """Collects queries, each distinct one once, and runs them together; `add` returns a query's index in `runs`."""

    def __init__(self, executor: Executor) -> None:
        self.runs: list[Execution] = []
        self._executor = executor
        self._numbers: dict[Query, int] = {}

    def add(self, query: Query) -> int:
        return self._numbers.setdefault(query, len(self._numbers))

    def run(self) -> None:
        if self._numbers:
            self.runs = self._executor.execute_many(list(self._numbers))


class _RewrittenBatch:
    """All samples under one rewriting of their statements.

    First it adds their queries to the batches and keeps the numbers that these get; once the batches have run, it makes
    the trials from those numbers.
    """

    def __init__(
        self,
        pairs: Pairs,
        prepare: Callable[[str], str],
        glance: bool,
        *,
        predicted: bool,
        gold: bool,
    ) -> None:
        self.pairs = pairs
        self.prepare = prepare
        self.glance = glance
        self.predicted = predicted
        self.gold = gold
        # (gold, db) of a sample, which a whole group shares -> for each database the numbers of its golds.
        self.golds: dict[tuple[object, object], list[list[int]]] = {}
        # The numbers of each prediction in the first batch, and in the batch of the other databases.
        self.firsts: list[list[int]] = []
        self.others: list[list[int]] = []

    def ask_first(self, first: _QueryBatch, link: bool, at_once: bool) -> None:
        """Add the golds on all databases, and the predictions on their first databases.

        Args:
            first: the batch to add them to.
            link: whether predictions name their golds, which a relative deadline needs.
            at_once: whether predictions are added on all their databases.
        """
        prepared: dict[object, tuple[str, ...]] = {}
        for sample, answer in self.pairs:
            if self.gold and (sample.gold, sample.db) not in self.golds:
                golds = prepared[sample.gold] = tuple(map(self.prepare, sample.golds))
                self.golds[sample.gold, sample.db] = [
                    [first.add(Query(gold, db, keep=True, glance=self.glance)) for gold in golds]
                    for db in sample.dbs
                ]
            numbers: list[int] = []
            if self.predicted and answer.sql is not None:
                sql, beside = self.prepare(answer.sql), prepared[sample.gold] if link and self.gold else ()
                dbs = sample.dbs if at_once else sample.dbs[:1]
                numbers = [first.add(Query(sql, db, False, beside, self.glance)) for db in dbs]
            self.firsts.append(numbers)

    def ask_rest(self, first: _QueryBatch, rest: _QueryBatch) -> None:
        """Add the predictions on the databases that are left, if they ran on the first."""
        for (sample, answer), numbers in zip(self.pairs, self.firsts, strict=True):
            others: list[int] = []
            more = sample.dbs[len(numbers) :]
            if more and numbers and answer.sql is not None and first.runs[numbers[0]].ok:
                sql = self.prepare(answer.sql)
                others = [rest.add(Query(sql, db, glance=self.glance)) for db in more]
            self.others.append(others)

    def trials(self, first: _QueryBatch, rest: _QueryBatch) -> list[tuple[Trial, ...]]:
        """Return the trials of each sample."""
        shown = {
            key: [tuple(first.runs[number] for number in numbers) for numbers in by_db]
            for key, by_db in self.golds.items()
        }
        found = []
        for (sample, answer), numbers, others in zip(self.pairs, self.firsts, self.others, strict=True):
            dbs = sample.dbs
            runs: list[Execution | None] = [None] * len(dbs)
            if numbers:
                runs = [*(first.runs[number] for number in numbers), *(rest.runs[other] for other in others)]
                runs += runs[:1] * (len(dbs) - len(runs))
            elif self.predicted:
                runs = [Execution(Status.no_sql, error=answer.problem)] * len(dbs)
            golds = shown[sample.gold, sample.db] if self.gold else [()] * len(dbs)
            if self.gold and sample.answer is not None:
                golds = [(*some, Execution(Status.ok, rows=sample.answer)) for some in golds]
            found.append(tuple(map(Trial, dbs, runs, golds)))
        return found
