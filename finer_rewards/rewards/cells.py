"""Dense rewards on results: how near the predicted result is to the gold's, when it is not the same.

A score is the best over golds of the worst over databases. They are degrees, not verdicts: what is near can
be wrong, and each docstring says what it pays for. Put `execution_match` above them in a `gate`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from finer_rewards.metrics import tables
from finer_rewards.reward import reward
from finer_rewards.rewards.execution import did_not_run
from finer_rewards.types import Evidence, Execution, Score, Status, unscored

__all__ = [
    "cell_precision",
    "cell_recall",
    "rank_score",
    "soft_f1",
    "soft_f1_reference",
    "tuple_cardinality",
    "tuple_constraint",
    "tuple_order",
]

Empty = Literal["mask", "zero", "accept"]


@reward(needs={"execution"})
def cell_precision(evidence: Evidence, *, empty: Empty = "mask") -> Score:
    """Share of the distinct predicted cells that are gold cells, in [0, 1].

    Formula: |cells(p) ∩ cells(g)| / |cells(p)|. 0 when the prediction does not run.

    Known to pay for: a single right cell; rows scrambled across columns.

    Args:
        empty: what an empty gold result means: `mask` gives no value, `zero` 0, `accept` 1 for an empty
            prediction.

    Example:
        >>> cell_precision()
        cell_precision()

    References:
        Papicchio, Papotti, Cagliero, QATCH, NeurIPS 2023, section 3.
    """
    return _nearest(evidence, empty, _of_rows(tables.cell_precision))


@reward(needs={"execution"})
def cell_recall(evidence: Evidence, *, empty: Empty = "mask") -> Score:
    """Share of the distinct gold cells that are predicted, in [0, 1].

    Formula: |cells(p) ∩ cells(g)| / |cells(g)|. 0 when the prediction does not run.

    Known to pay for: returning everything.

    Args:
        empty: as in `cell_precision`.

    Example:
        >>> cell_recall(empty="accept")
        cell_recall(empty='accept')

    References:
        Papicchio, Papotti, Cagliero, QATCH, NeurIPS 2023, section 3.
    """
    return _nearest(evidence, empty, _of_rows(tables.cell_recall))


@reward(needs={"execution"})
def tuple_cardinality(evidence: Evidence, *, empty: Empty = "mask") -> Score:
    """The smaller number of rows divided by the larger, in [0, 1]; what the rows hold is ignored.

    Formula: min(|p|, |g|) / max(|p|, |g|). 0 when the prediction does not run.

    Known to pay for: any result of the right length, so `SELECT 1` when gold has one row.

    Args:
        empty: as in `cell_precision`.

    Example:
        >>> tuple_cardinality()
        tuple_cardinality()

    References:
        Papicchio, Papotti, Cagliero, QATCH, NeurIPS 2023, section 3.
    """
    return _nearest(evidence, empty, _of_rows(tables.tuple_cardinality))


@reward(needs={"execution"})
def tuple_constraint(evidence: Evidence, *, empty: Empty = "mask") -> Score:
    """Share of the distinct gold rows that are predicted as often as in gold, in [0, 1].

    Formula: |{t ∈ g : count(t, p) = count(t, g)}| / |set(g)|, cells of a row in any order. 0 when the
    prediction does not run.

    Known to pay for: returning everything, because further predicted rows are ignored.

    Args:
        empty: as in `cell_precision`.

    Example:
        >>> tuple_constraint()
        tuple_constraint()

    References:
        Papicchio, Papotti, Cagliero, QATCH, NeurIPS 2023, section 3.
    """
    return _nearest(evidence, empty, _of_rows(tables.tuple_constraint))


@reward(needs={"execution"})
def tuple_order(evidence: Evidence, *, empty: Empty = "mask") -> Score:
    """Agreement in order of the rows that both results have, in [0, 1].

    Formula: (ρ + 1) / 2 with Spearman's ρ over the distinct common rows. 0 when the prediction does not run.

    Known to pay for: 0.5 for a result that has no row in common with gold, 1 for one that has one.

    Args:
        empty: as in `cell_precision`.

    Example:
        >>> tuple_order()
        tuple_order()

    References:
        Papicchio, Papotti, Cagliero, QATCH, NeurIPS 2023, section 3.
    """
    return _nearest(evidence, empty, _of_rows(tables.tuple_order))


@reward(needs={"execution"})
def soft_f1(evidence: Evidence, *, empty: Empty = "mask") -> Score:
    """F1 over cells under the best one-to-one alignment of rows, in [0, 1].

    Formula: 2 M / (|g| + |p|) in cells, with M the most cells that aligned rows can share. 0 when the
    prediction does not run. Row order never matters, duplicates count.

    Known to pay for: cells that stand in the wrong column of the right row.

    Args:
        empty: as in `cell_precision`.

    Example:
        >>> soft_f1()
        soft_f1()

    References:
        Li et al., BIRD mini-dev, 2024 (soft F1); bird-bench/mini_dev, issue 15 (alignment).
    """
    return _nearest(evidence, empty, _of_rows(tables.soft_f1))


@reward(needs={"execution"})
def soft_f1_reference(evidence: Evidence, *, empty: Empty = "accept") -> Score:
    """BIRD's soft F1, bug for bug, in [0, 1]: the i-th distinct row against the i-th.

    Formula: F1 of matched, predicted-only and gold-only cells, each row in units of the gold width.

    Known to judge wrongly: the gold rows in another order score 0, duplicates do not count, `5, 5, 5`
    scores 1 against `5`.

    Args:
        empty: as in `cell_precision`.

    Example:
        >>> soft_f1_reference()
        soft_f1_reference()

    References:
        Li et al., BIRD mini-dev, 2024, `evaluation_f1.py`.
    """
    return _nearest(evidence, empty, _of_rows(tables.soft_f1_reference))


@reward(needs={"execution"})
def rank_score(
    evidence: Evidence,
    *,
    alpha: float = 0.5,
    gamma: float = 1.2,
    footrule: bool = False,
    empty: Empty = "accept",
) -> Score:
    """FINER-SQL's rank scorer, bug for bug, in [0, 1]: coverage of rows times agreement in order.

    Formula: c^γ (α o + 1 - α), with c the common rows over the longer result and o from the rank
    correlation (or the footrule) of their places.

    Known to judge wrongly: a column alias scores 0, of columns with one name only the last counts, NULL
    equals the empty text, case and outer spaces do not count, two empty results score 0.

    Args:
        alpha: share of the order, from 0 to 1.
        gamma: power of the coverage.
        footrule: measure order by Spearman's footrule instead of the rank correlation.
        empty: as in `cell_precision`.

    Example:
        >>> rank_score(footrule=True)
        rank_score(footrule=True)

    References:
        FINER-SQL's published code, `sql_exec_scorer.py`, 2026; switched off in the published runs.
    """

    def measure(gold: Execution, predicted: Execution) -> float:
        return tables.rank_score(
            gold.rows,
            predicted.rows,
            gold_columns=gold.columns,
            predicted_columns=predicted.columns,
            alpha=alpha,
            gamma=gamma,
            footrule=footrule,
        )

    return _nearest(evidence, empty, measure)


def _of_rows(measure: Callable[..., float]) -> Callable[[Execution, Execution], float]:
    return lambda gold, predicted: measure(gold.rows, predicted.rows)


def _nearest(evidence: Evidence, empty: Empty, measure: Callable[[Execution, Execution], float]) -> Score:
    """Return the best over golds of the worst over databases."""
    trials = evidence.trials
    usable: list[list[Execution]] = []
    for index in range(len(trials[0].golds)):
        golds = [trial.golds[index] for trial in trials]
        if all(gold.ok for gold in golds) and (empty != "mask" or any(gold.rows for gold in golds)):
            usable.append(golds)
    if not usable:
        return unscored(Status.gold_empty)
    results: list[Execution] = []
    for trial in trials:
        if trial.predicted is None or not trial.predicted.ok:
            return did_not_run(trial.predicted)
        results.append(trial.predicted)
    best = 0.0
    for golds in usable:
        if empty == "accept" or any(gold.rows for gold in golds):
            best = max(best, min(measure(gold, run) for gold, run in zip(golds, results, strict=True)))
    return Score(best, f"{len(results[0].rows)} predicted rows, {len(usable[0][0].rows)} gold rows")
