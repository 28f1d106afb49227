"""What was observed of late: by what it is known again, when it is still the same, and what keeping it costs."""

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
# completion, gold, db, question, dialect, answer and meta as bytes, what is told of a conversation
Key = tuple[str, str | tuple[str, ...], str | tuple[str, ...], str, str | None, bytes, Hashable]


class Observed(NamedTuple):
    """What was observed of a sample, by which parser, and how it was scored."""

    parse: Parse
    reward: Reward
    evidence: Evidence
    score: Score


def key_of(sample: Sample) -> Key | None:
    """Return what tells samples apart that may be scored differently.

    Python calls 1, 1.0 and True equal; their bytes differ. `None` where there are no bytes: like no other.
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
    """True when two observations are of the very same executions, and equal in all else.

    What the first found on neighbours then holds for the other, unless they were lost.
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
    """True when both stand for a completion without SQL: they are made anew for every batch."""
    return one is not None and one.status is Status.no_sql and one == other


def weight_of(key: Key, evidence: Evidence, sizes: dict[int, int]) -> int:
    """Return about how many bytes a kept observation takes; what it shares with others counts in full.

    Args:
        key: by which it is kept.
        evidence: the observation.
        sizes: what rows of this batch were found to take, by their identity; filled.
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
