"""Evaluates predictions on a benchmark: a score and further measures for each candidate of each question."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from finer_rewards._util.extras import extra
from finer_rewards.causes import CAUSES, failure_causes
from finer_rewards.datasets.benchmark import Question
from finer_rewards.rewards import atomic_f1, execution_match, soft_f1_reference
from finer_rewards.rewards.efficiency import LEAST_REPEATS, r_ves, steady_ratio, ves
from finer_rewards.types import Evidence, Execution, Sample, Score, Status
from finer_rewards.voting import recall_at_n, vote

if TYPE_CHECKING:
    from finer_rewards._neighbour_observer import Neighbours
    from finer_rewards.comparing import Mode
    from finer_rewards.executing.protocol import Executor

__all__ = ["Outcome", "Summary", "evaluate", "recall", "summarise"]

_LEAST_SECONDS = 1e-6


@dataclass(frozen=True)
class Outcome:
    """What became of the candidates for one question.

    Args:
        question: the question.
        scores: the execution match of each candidate; its value is `None` if gold or system is at fault.
        soft_f1: BIRD's soft F1 of each candidate, in [0, 1].
        ratios: for each candidate that matches, the gold query's time divided by its own, in each repeat; else `None`.
        sqls: the SQL in each candidate.
        chosen: the index of the candidate that the vote chose; `None` if none ran, 0 if there is only one.
        causes: for each candidate, why it is wrong, as `failure_causes` names it; empty if it is right.
    """

    question: Question
    scores: tuple[Score, ...]
    soft_f1: tuple[float | None, ...]
    ratios: tuple[tuple[float, ...] | None, ...]
    sqls: tuple[str | None, ...]
    chosen: int | None
    causes: tuple[tuple[str, ...], ...] = ()

    @property
    def verdict(self) -> Score:
        """The score of the chosen candidate; if none ran, that of the first."""
        return self.scores[self.chosen or 0]


@dataclass(frozen=True)
class Summary:
    """Means over questions.

    Args:
        asked: the number of questions.
        scored: the number of questions with a value.
        accuracy: the execution accuracy (EX) of the scored questions, in [0, 1]; `None` if none was scored.
        soft_f1: the mean soft F1 of the scored questions.
        ves: the mean valid efficiency score, 1 for the gold's speed; `None` if queries were timed too few times.
        r_ves: the mean square root of BIRD's reward-based score, or `None` in the same case.
        ves_spread: the standard deviation of `ves` between the repeats.
        r_ves_spread: the standard deviation of `r_ves` between the repeats.
    """

    asked: int
    scored: int
    accuracy: float | None
    soft_f1: float | None
    ves: float | None
    r_ves: float | None
    ves_spread: float | None = None
    r_ves_spread: float | None = None


def evaluate(
    questions: Sequence[Question],
    candidates: Sequence[Sequence[str]],
    executor: Executor,
    *,
    mode: str | Mode,
    strategy: str = "vav",
    repeat: int = 1,
    neighbours: Neighbours = 0,
    advance: Callable[[int], None] | None = None,
) -> Iterator[Outcome]:
    """Yield the outcome of each question, in order.

    Args:
        questions: the questions, with their golds.
        candidates: for each question its completions or SQL texts, at least one.
        executor: the executor that runs the SQL.
        mode: how results are compared.
        strategy: how one of several candidates is chosen.
        repeat: how often a matching query and its gold are timed, one after the other. With 1 the times are those of
            the run for the comparison. VES needs `LEAST_REPEATS`.
        neighbours: as `Scorer` takes it; benchmarks are evaluated without.
        advance: is called with how many more questions are done.
    """
    from finer_rewards.scoring import Scorer

    match, soft = execution_match(mode=mode), soft_f1_reference()
    # The value of `atomic_f1` is not used; it is there because it makes the scorer read the schema, which the causes
    # need.
    with Scorer(match + soft + atomic_f1(), executor, neighbours=neighbours) as scorer:
        for start in range(0, len(questions), 64):
            batch = range(start, min(start + 64, len(questions)))
            samples = [
                Sample(
                    text, gold=questions[index].gold, db=questions[index].db, question=questions[index].text
                )
                for index in batch
                for text in candidates[index]
            ]
            evidence = iter(scorer.observe(samples))
            for index in batch:
                group = [next(evidence) for _ in candidates[index]]
                scores = tuple(match(one) for one in group)
                sqls = tuple(one.answer.sql for one in group)
                runs = [one.predicted for one in group]
                yield Outcome(
                    questions[index],
                    scores,
                    tuple(soft(one).value for one in group),
                    tuple(
                        _ratios(one, executor, repeat) if score.value == 1 else None
                        for one, score in zip(group, scores, strict=True)
                    ),
                    sqls,
                    0 if len(group) == 1 else vote(runs, strategy, sqls=sqls),
                    tuple(_causes(one, score) for one, score in zip(group, scores, strict=True)),
                )
            if advance is not None:
                advance(len(batch))


def summarise(outcomes: Sequence[Outcome], candidate: int | None = None) -> Summary:
    """Return the means over some questions.

    Args:
        outcomes: the outcomes of the questions.
        candidate: the index of the candidate that counts; `None` means the chosen one.

    Returns:
        Means over the questions that could be scored.
    """
    places = [(one, (one.chosen or 0) if candidate is None else candidate) for one in outcomes]
    scored = [(one, place) for one, place in places if one.scores[place].value is not None]
    if not scored:
        return Summary(len(outcomes), 0, None, None, None, None)
    ratios = [one.ratios[place] for one, place in scored]
    summary = Summary(
        asked=len(outcomes),
        scored=len(scored),
        accuracy=fmean(float(one.scores[place]) for one, place in scored),
        soft_f1=fmean(one.soft_f1[place] or 0.0 for one, place in scored),
        ves=None,
        r_ves=None,
    )
    repeats = min((len(some) for some in ratios if some is not None), default=0)
    if repeats < LEAST_REPEATS:
        return summary

    def mean(measure: Callable[[float], float], of: Callable[[tuple[float, ...]], float]) -> float:
        return fmean(0.0 if some is None else measure(of(some)) for some in ratios)

    def spread(measure: Callable[[float], float]) -> float:
        return stdev(mean(measure, itemgetter(repeat)) for repeat in range(repeats))

    return replace(
        summary,
        ves=mean(ves, steady_ratio),
        r_ves=mean(_root, steady_ratio),
        ves_spread=spread(ves),
        r_ves_spread=spread(_root),
    )


@dataclass(frozen=True)
class Paired:
    """Two systems on the questions that both have a value for.

    Args:
        questions: the number of these questions.
        difference: the EX of the first system minus that of the second, in [-1, 1].
        interval: the bootstrap interval of 95 per cent of the difference.
        better: the number of questions that only the first system has right.
        worse: the number of questions that only the second system has right.
        p: the two-sided probability of a split as uneven as this if neither system is better.
    """

    questions: int
    difference: float
    interval: tuple[float, float]
    better: int
    worse: int
    p: float


def confidence(values: Sequence[float]) -> tuple[float, float]:
    """Return the percentile bootstrap interval of 95 per cent of a mean over questions.

    Args:
        values: a value for each question, at least one.

    Returns:
        The ends of the interval, from 9,999 resamples with a fixed seed, so that they are the same each time.

    Raises:
        MissingExtraError: SciPy is not installed.

    Example:
        >>> low, high = confidence([1, 1, 1, 0] * 50)
        >>> 0.68 < low < 0.75 < high < 0.82
        True

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    with extra("statistics", "A confidence interval", "scipy"):
        from scipy import stats
    if len(set(values)) == 1:
        return float(values[0]), float(values[0])
    found = stats.bootstrap(
        (list(values),),
        lambda drawn, axis: drawn.mean(axis=axis),
        vectorized=True,
        method="percentile",
        batch=max(1, 4_000_000 // len(values)),
        rng=0,
    ).confidence_interval
    return float(found.low), float(found.high)


def paired(outcomes: Sequence[Outcome], one: int, other: int) -> Paired | None:
    """Compare two systems, whose answers are two of the candidates, on the same questions.

    The test is McNemar's exact test: a sign test over the questions that only one of the two has right.

    Args:
        outcomes: the outcomes of the questions.
        one: the index of the first system among the candidates.
        other: the index of the second system.

    Returns:
        The comparison; `None` if no question has a value for both.

    Raises:
        MissingExtraError: SciPy is not installed.

    References:
        McNemar, Note on the sampling error of the difference between correlated proportions, 1947; Dror et al., The
        Hitchhiker's Guide to Testing Statistical Significance in NLP, ACL 2018.
    """
    with extra("statistics", "A paired test", "scipy"):
        from scipy import stats
    pairs = [(outcome.scores[one].value, outcome.scores[other].value) for outcome in outcomes]
    changes = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
    if not changes:
        return None
    better, worse = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    p = float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0
    return Paired(len(changes), fmean(changes), confidence(changes), better, worse, p)


def count_causes(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    """Return for each cause of how many wrong answers it is the main cause, and of how many it is a cause at all.

    Args:
        outcomes: the outcomes of the questions; the chosen candidate counts.

    Returns:
        The causes that occur, in the order of `CAUSES`; the first numbers add up to the number of wrong answers.
    """
    wrong = [causes for one in outcomes if one.causes and (causes := one.causes[one.chosen or 0])]
    main = Counter(causes[0] for causes in wrong)
    there = Counter(cause for causes in wrong for cause in causes)
    return {cause: (main[cause], there[cause]) for cause in CAUSES if there[cause]}


def _causes(evidence: Evidence, score: Score) -> tuple[str, ...]:
    if score.value is None or score.value == 1:
        return ()
    predicted, gold = evidence.predicted, evidence.gold
    status = Status.no_sql if predicted is None else predicted.status
    empty = (
        predicted is not None and gold is not None and predicted.ok and not predicted.rows and bool(gold.rows)
    )
    return failure_causes(
        evidence.answer.sql,
        evidence.sample.golds,
        status=status,
        empty=empty,
        schema=evidence.schema,
        dialect=evidence.dialect,
    )


def _root(ratio: float) -> float:
    return math.sqrt(r_ves(ratio))


def recall(outcomes: Sequence[Outcome], n: int) -> float | None:
    """Return the share of questions with a right candidate among the first `n`."""
    return recall_at_n([[score.value for score in one.scores] for one in outcomes], n)


def _ratios(evidence: Evidence, executor: Executor, repeat: int) -> tuple[float, ...] | None:
    predicted, gold = evidence.predicted, evidence.gold
    if predicted is None or gold is None:
        return None
    if repeat == 1:
        return (_over(gold, predicted),)
    sql, db = evidence.answer.sql or "", evidence.sample.dbs[0]
    pairs = [
        (executor.execute(evidence.sample.golds[0], db), executor.execute(sql, db)) for _ in range(repeat)
    ]
    # If a query fails in a repeat, as by a timeout on a busy machine, the times of its first run count.
    return tuple(_over(one, other) if one.ok and other.ok else _over(gold, predicted) for one, other in pairs)


def _over(gold: Execution, predicted: Execution) -> float:
    return max(gold.seconds, _LEAST_SECONDS) / max(predicted.seconds, _LEAST_SECONDS)


def at_fault(outcomes: Sequence[Outcome]) -> dict[Status, int]:
    """Return how many questions could not be scored, by status."""
    found: dict[Status, int] = {}
    for one in outcomes:
        if one.verdict.value is None:
            found[one.verdict.status] = found.get(one.verdict.status, 0) + 1
    return found
