"""Evaluate predictions on a benchmark: a verdict and its measures for each candidate of each question."""

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
        scores: execution match of each candidate; `None` as its value where gold or system is at fault.
        soft_f1: BIRD's soft F1 of each candidate, in [0, 1].
        ratios: the gold query's time over the candidate's, once a repeat, for candidates that match; else `None`.
        sqls: the SQL found in each candidate.
        chosen: the candidate a vote chose; `None` when none ran, 0 when there is one candidate.
        causes: of each candidate that is wrong why, as `failure_causes` names it; of the others nothing.
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
        """The score of the chosen candidate; when none ran, that of the first."""
        return self.scores[self.chosen or 0]


@dataclass(frozen=True)
class Summary:
    """Means over questions.

    Args:
        asked: number of questions.
        scored: those with a value.
        accuracy: execution accuracy (EX) over the scored, in [0, 1]; `None` when none was scored.
        soft_f1: mean soft F1 over the scored.
        ves: mean valid efficiency score, 1 for gold's speed; `None` when it was timed too seldom.
        r_ves: mean square root of BIRD's reward-based score, likewise.
        ves_spread: standard deviation of `ves` from repeat to repeat.
        r_ves_spread: that of `r_ves`.
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
        questions: what is asked.
        candidates: for each question its completions or SQL texts, at least one.
        executor: runs the SQL.
        mode: how results are compared.
        strategy: how one of several candidates is chosen.
        repeat: how often a matching query and its gold are timed, one after the other; 1 takes the times of
            the one run there is. VES takes `LEAST_REPEATS`.
        neighbours: as `Scorer` takes it; a benchmark has none.
        advance: told how many questions are done.
    """
    from finer_rewards.scoring import Scorer

    match, soft = execution_match(mode=mode), soft_f1_reference()
    # The third is not asked for its value, but has the schema read, which the causes need.
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
        outcomes: what became of each.
        candidate: which candidate is meant; `None` is the chosen one.

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
        questions: how many there are.
        difference: EX of the one less EX of the other, in [-1, 1].
        interval: the difference's bootstrap interval of 95 per cent.
        better: questions that the one alone has right.
        worse: questions that the other alone has right.
        p: how likely so uneven a split of these is when neither is better, two-sided.
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
        values: one a question, at least one.

    Returns:
        Its ends, by 9,999 resamples under a fixed seed, so that it is the same each time.

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
    """Compare two candidates, each of another system, on the same questions.

    The test is McNemar's, exact: a sign test over the questions that one of the two alone has right.

    Args:
        outcomes: what became of each question.
        one: the place of the one system among the candidates.
        other: the place of the other.

    Returns:
        What was found; `None` where no question has a value for both.

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
    """Return of how many wrong answers each cause is the main one, and in how many it is there at all.

    Args:
        outcomes: what became of each question; the chosen candidate counts.

    Returns:
        By cause, in the order of `CAUSES`, those that occur; the first numbers add up to the wrong answers.
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
    # One that failed in a repeat, late on a busy machine, stands as it first ran.
    return tuple(_over(one, other) if one.ok and other.ok else _over(gold, predicted) for one, other in pairs)


def _over(gold: Execution, predicted: Execution) -> float:
    return max(gold.seconds, _LEAST_SECONDS) / max(predicted.seconds, _LEAST_SECONDS)


def at_fault(outcomes: Sequence[Outcome]) -> dict[Status, int]:
    """Return how many questions could not be scored, by reason."""
    found: dict[Status, int] = {}
    for one in outcomes:
        if one.verdict.value is None:
            found[one.verdict.status] = found.get(one.verdict.status, 0) + 1
    return found
