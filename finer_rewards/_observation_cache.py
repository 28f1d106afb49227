"""The parts of `Scorer`'s cache of observations: its key, when an observation is still valid, and how large it is."""

from __future__ import annotations

import itertools
import marshal
import operator
from collections.abc import Callable, Hashable
from typing import NamedTuple

from finer_rewards.executing.cache import size_of
from finer_rewards.reward import Reward
from finer_rewards.types import Answer, Evidence, Execution, Row, Sample, Score, Status, Trial

Parse = Callable[..., Answer]
# Completion, gold, db, question, dialect, answer and meta as bytes, and (calls, turns) of a conversation.
Key = tuple[str, str | tuple[str, ...], str | tuple[str, ...], str, str | None, bytes, Hashable]


class Observed(NamedTuple):
    """An entry of the cache: the parser, the reward, the evidence of a sample and its score."""

    parse: Parse
    reward: Reward
    evidence: Evidence
    score: Score


def key_of(sample: Sample) -> Key | None:
    """Return a key that differs for any two samples that may be scored differently.

    Answer and meta are marshalled, because Python calls 1, 1.0 and True equal. `None` if they cannot be, in which case
    the sample is never found again.
    """
    rest = b""
    if sample.answer is not None or sample.meta:
        try:
            rest = marshal.dumps((sample.answer, dict(sample.meta)))
        except ValueError:
            return None
    told = (sample.calls, sample.turns) if sample.turns != 1 else None
    return sample.completion, sample.gold, sample.db, sample.question, sample.dialect, rest, told


def is_same(one: Evidence, other: Evidence) -> bool:
    """Whether an older observation can stand for a newer one: the same execution objects, and all else equal.

    What the older one found on neighbours then holds as well, unless neighbours were lost.
    """
    return (
        (one.neighbours is None or one.neighbours.status.scorable)
        and one.sample.dbs == other.sample.dbs
        and one.answer == other.answer
        and one.recall == other.recall
        and one.schema is other.schema
        and one.schema_error == other.schema_error
        and one.dialect == other.dialect
        and one.readings.keys() == other.readings.keys()
        and _same_trials(one.trials, other.trials)
        and all(_same_trials(trials, other.readings[name]) for name, trials in one.readings.items())
    )


def _same_trials(ones: tuple[Trial, ...], others: tuple[Trial, ...]) -> bool:
    return len(ones) == len(others) and all(
        one.db == other.db
        and (one.predicted is other.predicted or _no_sql(one.predicted, other.predicted))
        and len(one.golds) == len(other.golds)
        and all(map(operator.is_, one.golds, other.golds))
        for one, other in zip(ones, others, strict=True)
    )


def _no_sql(one: Execution | None, other: Execution | None) -> bool:
    """Whether both stand for a completion without SQL; such executions are not cached but made anew for each batch."""
    return one is not None and one.status is Status.no_sql and one == other


def weight_of(key: Key, evidence: Evidence, sizes: dict[int, int]) -> int:
    """Return about how many bytes a kept observation takes; rows that it shares with others count in full.

    Args:
        key: its key.
        evidence: the observation.
        sizes: bytes of rows by their identity, filled here, so that shared rows are measured once for a batch.
    """
    rows: dict[int, tuple[Row, ...]] = {}
    beside = () if evidence.neighbours is None else evidence.neighbours.readings.values()
    for trials in (evidence.trials, *evidence.readings.values(), *itertools.chain.from_iterable(beside)):
        for trial in trials:
            for run in (trial.predicted, *trial.golds):
                if run is not None and run.rows:
                    rows[id(run.rows)] = run.rows
    for place, some in rows.items():
        if place not in sizes:
            sizes[place] = size_of(some)
    completion, _, _, question, _, rest, _ = key
    asked = itertools.chain.from_iterable(evidence.judgements.items())
    texts = sum(map(len, (completion, question, rest, *evidence.sample.golds, *asked)))
    return 4000 + 4 * texts + sum(map(sizes.__getitem__, rows))
