"""QATCH's rewards and kin: how much of the cells, columns and rows of a result is right, when it is not the same.

A score is the best over golds of the worst over databases. They are degrees, not verdicts: what is near can
be wrong, and each docstring says what it pays for. Put `execution_match` above them in a `gate`. Cells are equal
as Python finds them equal (1 = 1.0, NULL = NULL, no tolerance). Each measure stands above as a function of rows,
named `..._of`, and below as a reward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from finer_rewards.reward import reward
from finer_rewards.rewards.execution import did_not_run
from finer_rewards.types import Evidence, Execution, Score, Status, unscored

Rows = Sequence[Sequence[Any]]
Empty = Literal["mask", "zero", "accept"]


def cell_precision_of(gold: Rows, predicted: Rows) -> float:
    """Return `cell_precision` of two results: 1 when both are empty, 0 when one is.

    Example:
        >>> cell_precision_of([("a", "b"), ("c", "d")], [("a", "b"), ("c", "e")])
        0.75
    """
    return _cell_share(gold, predicted, of=predicted)


def cell_recall_of(gold: Rows, predicted: Rows) -> float:
    """Return `cell_recall` of two results: 1 when both are empty, 0 when one is.

    Example:
        >>> cell_recall_of([("a", "b"), ("c", "d")], [("a", "x"), ("y", "d")])
        0.5
    """
    return _cell_share(gold, predicted, of=gold)


def column_recall_of(gold: Rows, predicted: Rows) -> float:
    """Return `column_recall` of two results: 1 when both are empty, 0 when one is.

    Example:
        >>> column_recall_of([("a", 1), ("b", 2)], [(2, "x"), (1, "y")])
        0.5
    """
    if not gold or not predicted:
        return float(not gold and not predicted)
    wanted = [Counter(column) for column in zip(*gold, strict=True)]
    there = [Counter(column) for column in zip(*predicted, strict=True)]
    found = 0
    for column in wanted:
        if column in there:
            there.remove(column)
            found += 1
    return found / len(wanted)


def tuple_cardinality_of(gold: Rows, predicted: Rows) -> float:
    """Return `tuple_cardinality` of two results: 1 when both are empty.

    Example:
        >>> tuple_cardinality_of([(1,), (2,)], [(7,)])
        0.5
    """
    few, many = sorted((len(gold), len(predicted)))
    return few / many if many else 1.0


def tuple_constraint_of(gold: Rows, predicted: Rows) -> float:
    """Return `tuple_constraint` of two results: 1 when both are empty, 0 when one is.

    Example:
        >>> tuple_constraint_of([("a", "b"), ("c", "d")], [("a", "b"), ("a", "b"), ("c", "d")])
        0.5
    """
    if not gold or not predicted:
        return float(not gold and not predicted)
    counts = Counter(sorted_row(row) for row in gold)
    found = Counter(sorted_row(row) for row in predicted)
    return sum(found[row] == count for row, count in counts.items()) / len(counts)


def tuple_order_of(gold: Rows, predicted: Rows) -> float:
    """Return `tuple_order` of two results: 1 when both are empty or one row is common, 0 when one is empty.

    Example:
        >>> tuple_order_of([("a",), ("b",)], [("b",), ("x",), ("a",)])
        0.0
    """
    if not gold or not predicted:
        return float(not gold and not predicted)
    predicted_order = dict.fromkeys(map(tuple, predicted))
    common = [row for row in dict.fromkeys(map(tuple, gold)) if row in predicted_order]
    if not common:
        return 0.5
    ranks = {row: rank for rank, row in enumerate(common)}
    return rank_agreement(range(len(common)), [ranks[row] for row in predicted_order if row in ranks])


def _cell_share(gold: Rows, predicted: Rows, of: Rows) -> float:
    if not gold or not predicted:
        return float(not gold and not predicted)
    gold_cells = {cell for row in gold for cell in row}
    predicted_cells = {cell for row in predicted for cell in row}
    return len(gold_cells & predicted_cells) / len(gold_cells if of is gold else predicted_cells)


def rank_agreement(ranks: Sequence[int], others: Sequence[int]) -> float:
    """Return Spearman's ρ of two rankings moved to [0, 1]: (ρ + 1) / 2; 1 for fewer than two ranks."""
    count = len(ranks)
    if count < 2:
        return 1.0
    squares = sum((rank - other) ** 2 for rank, other in zip(ranks, others, strict=True))
    # The ranks of common rows within longer results have gaps, so the formula can leave [-1, 1].
    return max(0.0, min(1.0, 1 - 3 * squares / (count * (count**2 - 1))))


def sorted_row(row: Sequence[Any]) -> tuple[Any, ...]:
    """Return the cells of a row in an order that does not depend on where they stood."""
    return tuple(sorted(row, key=_cell_key))


def _cell_key(cell: Any) -> tuple[int, Any]:
    if cell is None or cell != cell:
        return 0, "" if cell is None else "nan"
    if isinstance(cell, (int, float)):
        return 1, cell
    return (2, cell) if isinstance(cell, str) else (3, repr(cell))


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
    return nearest(evidence, empty, of_rows(cell_precision_of))


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
    return nearest(evidence, empty, of_rows(cell_recall_of))


@reward(needs={"execution"})
def column_recall(evidence: Evidence, *, empty: Empty = "mask") -> Score:
    """Share of the gold columns that are predicted, each as the values it holds, in [0, 1].

    Formula: |columns(g) ∩ columns(p)| / |columns(g)|, a column being its values and how often each is there, whatever
    its name and place; each predicted column counts once. 0 when the prediction does not run.

    Known to pay for: rows scrambled across columns, since each column stands for itself; columns beside the gold's. So
    a wrong result can reach 1, as a right one does: alone it breaks the law `right_above_wrong`. Put a match above it.

    Args:
        empty: as in `cell_precision`.

    Example:
        >>> column_recall()
        column_recall()

    References:
        PaVeRL-SQL, `accuracy_reward.py`, commit 5ce9a48, 2025, which also aligns results up to five rows apart.
    """
    return nearest(evidence, empty, of_rows(column_recall_of))


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
    return nearest(evidence, empty, of_rows(tuple_cardinality_of))


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
    return nearest(evidence, empty, of_rows(tuple_constraint_of))


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
    return nearest(evidence, empty, of_rows(tuple_order_of))


def of_rows(measure: Callable[..., float]) -> Callable[[Execution, Execution], float]:
    """Return a measure of rows as a measure of executions."""
    return lambda gold, predicted: measure(gold.rows, predicted.rows)


def nearest(evidence: Evidence, empty: Empty, measure: Callable[[Execution, Execution], float]) -> Score:
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
