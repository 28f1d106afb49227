"""The atomic reward: how many operations of the gold SQL the predicted SQL has."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Literal

from finer_rewards.errors import ConfigError, suggest
from finer_rewards.reward import reward
from finer_rewards.types import Evidence, Score, Status, unscored

if TYPE_CHECKING:
    from finer_rewards.operations import Operation, Operations

# The operations are imported where they are used: sqlglot takes longer to import than all the rest.

Weights = tuple[tuple[str, float], ...]
_SHOWN = 3
_COUNTS = ("matched", "predicted", "gold")


def _check_atomic(
    beta: float,
    weights: Weights,
    ignore: tuple[str, ...],
    partial: float,
    shape: tuple[float, float, float] | None,
    **_: object,
) -> None:
    if named := (*ignore, *(kind for kind, _ in weights)):
        from finer_rewards.operations import KINDS

        for kind in named:
            if kind in KINDS:
                continue
            raise ConfigError(
                f"`atomic_f1(weights=, ignore=)` should name kinds of operations ({', '.join(KINDS)}), "
                f"but got {kind!r}. {suggest(kind, KINDS)}".rstrip()
            )
    if beta <= 0 or any(weight < 0 for _, weight in weights):
        raise ConfigError(
            f"`atomic_f1(beta=, weights=)` should be positive, but got beta={beta!r}, weights={weights!r}."
        )
    if not 0 <= partial < 1:
        raise ConfigError(
            f"`atomic_f1(partial=...)` should be from 0 to below 1, but got {partial!r}. Try 0.5."
        )
    if shape is not None and not (0 <= shape[0] <= 1 and 0 <= shape[1] <= 1 and shape[2] > 0):
        raise ConfigError(
            f"`atomic_f1(shape=...)` should be (e, beta, gamma) with e and beta from 0 to 1 and gamma above 0, "
            f"but got {shape!r}. The published values are (0.05, 0.79, 0.2)."
        )


@reward(needs={"schema"}, check=_check_atomic)
def atomic_f1(
    evidence: Evidence,
    metric: Literal["f1", "jaccard"] = "f1",
    *,
    beta: float = 1.0,
    weights: Weights = (),
    ignore: tuple[str, ...] = (),
    partial: float = 0.0,
    shape: tuple[float, float, float] | None = None,
    dialect: str | None = None,
) -> Score:
    r"""F1 between the atomic operations of the predicted and the gold SQL, in [0, 1].

    Formula: (1 + β²) w(P ∩ G) / (β² w(G) + w(P)), and for Jaccard w(P ∩ G) / w(P ∪ G), with P and G the multisets of
    operations of the two canonical queries and w the weight of a kind.

    Nothing is executed. Queries that mean the same as far as the canonical form can tell score 1. A policy
    can raise a plain F1 by leaving out the clauses it is unsure of: watch the metrics `recall` and
    the counts by clause, set `beta` above 1, or `ignore` the kinds that come free. Beside a match, where almost no
    sample is right yet, use `in_lost_groups(atomic_f1(beta=2, partial=0.5, shape=(0, 1, 8)))`: see docs/training.md.

    Args:
        metric: F-beta, or Jaccard as in the paper.
        beta: above 1 recall counts for more than precision; only for `f1`.
        weights: pairs (kind, weight) that replace the default weights.
        ignore: kinds that do not count, such as `("from",)`.
        partial: credit for an operation that is right but for one argument (the column, but not the literal):
            this much times the share of arguments in common, by the pairing that gives the most. 0 for none.
        shape: `(e, b, g)` turns the value s into e s + (1 - e) b s^g, as the published code does.
        dialect: sqlglot dialect of both statements; a sample's own dialect goes first. `None` means the
            executor's.

    Returns:
        1 when the operations are equal, the best gold counting; 0 when the prediction is no query or does not
        parse. `None` when no gold parses. The metrics are precision, recall, and for each clause of the
        gold or the prediction the numbers `CLAUSE_matched`, `CLAUSE_predicted` and `CLAUSE_gold`.

    Raises:
        ConfigError: a kind does not exist, or a number is out of range.

    Example:
        >>> from finer_rewards.types import Answer, Sample
        >>> sample = Sample("SELECT a FROM t", gold="SELECT a FROM t WHERE b > 1", db="x.sqlite")
        >>> score = atomic_f1()(Evidence(sample, Answer(None, sample.completion)))
        >>> score.reason
        'missing: filter t.b > 1'
        >>> score.metrics["precision"] > score.metrics["recall"]
        True

    References:
        Hoang et al., FINER-SQL, ICDE 2026, arXiv:2605.03465 (atomic reward; Jaccard there).
    """
    from finer_rewards.operations import WEIGHTS, OperationsError, sql_operations

    sample = evidence.sample
    if not sample.golds:
        return unscored(Status.no_gold)
    language = sample.dialect or dialect or evidence.dialect
    golds: list[Operations] = []
    refusal = ""
    for gold_sql in sample.golds:
        try:
            golds.append(sql_operations(gold_sql, schema=evidence.schema, dialect=language))
        except OperationsError as error:
            refusal = str(error)
    if not golds:
        return unscored(Status.gold_unparsed, Status.gold_unparsed.told(refusal))
    if evidence.answer.sql is None:
        return Score(0.0, Status.no_sql.sentence, Status.no_sql)
    try:
        predicted = sql_operations(evidence.answer.sql, schema=evidence.schema, dialect=language)
    except OperationsError as error:
        return Score(0.0, str(error), Status.failed)
    counted = {**WEIGHTS, **dict(weights), **dict.fromkeys(ignore, 0.0)}
    return max(
        (_agreement(predicted, gold, counted, metric, beta, partial, shape) for gold in golds),
        key=lambda score: score.value or 0.0,
    )


def _check_reference(e: float, beta: float, gamma: float) -> None:
    _check_atomic(1.0, (), (), 0.0, (e, beta, gamma))


@reward(check=_check_reference)
def atomic_reference(evidence: Evidence, *, e: float = 0.05, beta: float = 0.79, gamma: float = 0.2) -> Score:
    r"""What FINER-SQL's published code pays for structure, faults included, in [0, 1]; for comparison only.

    Formula: e J + (1 - e) β J^γ, with J the Jaccard index of its sets of operations, the best gold counting.

    It does not see the tables, so that `SELECT a FROM t` equals `SELECT a FROM u`; nor CTEs, nor the side of a
    join; and one operation in common is worth 0.3 to 0.5. Nothing that cannot be read is told apart from what
    has nothing in common.

    Args:
        e: share of J that is paid as it is.
        beta: the most that the shaped share is worth.
        gamma: its exponent.

    Example:
        >>> from finer_rewards.types import Answer, Sample
        >>> sample = Sample("SELECT a FROM t", gold="SELECT a FROM u", db="x.sqlite")
        >>> round(float(atomic_reference()(Evidence(sample, Answer(None, sample.completion)))), 4)
        0.8005

    References:
        Hoang et al., FINER-SQL, ICDE 2026: the published code, commit 3436ab7, and its command line's defaults.
    """
    from finer_rewards.operations.measure import shaped
    from finer_rewards.operations.published import published_score

    sample = evidence.sample
    if not sample.golds:
        return unscored(Status.no_gold)
    found = published_score(evidence.answer.sql or "", sample.golds, evidence.dialect)
    return Score(shaped(found, e=e, beta=beta, gamma=gamma), f"Jaccard index {found:.3f}")


def _agreement(
    predicted: Operations,
    gold: Operations,
    weights: dict[str, float],
    metric: str,
    beta: float,
    partial: float,
    shape: tuple[float, float, float] | None,
) -> Score:
    from finer_rewards.operations.measure import beside, by_clause, partial_agreement, shaped, weighed

    both = beside(predicted, gold)
    exact = weighed(both, weights)
    found = partial_agreement(predicted, gold, weights, partial) if partial else exact
    value = found.f(beta) if metric == "f1" else found.jaccard
    if shape is not None:
        epsilon, factor, gamma = shape
        value = shaped(value, e=epsilon, beta=factor, gamma=gamma)
    metrics = {"precision": exact.precision, "recall": exact.recall}
    for clause, counts in by_clause(both).items():
        metrics.update(zip(_count_names(clause), map(float, counts), strict=True))
    return Score(value, _reason(both), metrics=metrics)


@cache
def _count_names(clause: str) -> tuple[str, ...]:
    name = clause.lower().replace(" ", "_") or "query"
    return tuple(f"{name}_{kind}" for kind in _COUNTS)


def _reason(both: list[tuple[Operation, int, int]]) -> str:
    missing = [(one, gold - predicted) for one, predicted, gold in both if gold > predicted]
    extra = [(one, predicted - gold) for one, predicted, gold in both if predicted > gold]
    sides = [(name, _some(side)) for name, side in (("missing", missing), ("extra", extra))]
    told = "; ".join(f"{name}: {text}" for name, text in sides if text)
    if told:
        return told
    return "the same parts, put together otherwise" if missing or extra else "the same operations"


def _some(counted: list[tuple[Operation, int]]) -> str:
    # The operation that stands for the whole query differs whenever anything does; it tells a reader nothing.
    found = [one for one, n in counted if one.kind != "query" for _ in range(n)]
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(map(str, found[:_SHOWN])) + more
