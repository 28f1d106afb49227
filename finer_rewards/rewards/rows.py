"""Rewards on whole rows: soft F1 with rows aligned at best, BIRD's own, and FINER-SQL's rank scorer.

As in `cells`, a score is the best over golds of the worst over databases, and a measure stands above as a
function of rows, named `..._of`, and below as a reward.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from finer_rewards._util.assignment import best_pairs
from finer_rewards.reward import reward
from finer_rewards.rewards.cells import Empty, Rows, nearest, of_rows, rank_agreement, sorted_row
from finer_rewards.types import Evidence, Execution, Score


def soft_f1_of(gold: Rows, predicted: Rows, *, work: int = 1_000_000) -> float:
    """Return `soft_f1` of two results: 1 exactly when the rows are the same up to order, also of cells in a row.

    Equal rows are aligned first, which costs nothing: symmetric difference is a metric. What is left is solved
    exactly while n² m is within `work`, about half a second. Beyond that each gold row in turn takes the best
    free predicted row among a few that it shares a cell with, so the result is a lower bound.

    Example:
        >>> soft_f1_of([(1, "a"), (2, "b")], [(2, "b"), (1, "x")])
        0.75
    """
    total = sum(map(len, gold)) + sum(map(len, predicted))
    if not total:
        return 1.0 if len(gold) == len(predicted) else 0.0
    gold_left = Counter(sorted_row(row) for row in gold)
    predicted_left = Counter(sorted_row(row) for row in predicted)
    equal = gold_left & predicted_left
    matched = float(sum(len(row) * count for row, count in equal.items()))
    rest = list((gold_left - equal).elements())
    others = list((predicted_left - equal).elements())
    few, many = sorted((len(rest), len(others)))
    if few * few * many <= work:
        weights = [[_shared_cells(row, other) for other in others] for row in rest]
        matched += sum(weights[row][column] for row, column in best_pairs(weights))
    else:
        matched += _greedy_overlap(rest, others)
    return 2 * matched / total


def soft_f1_reference_of(gold: Rows, predicted: Rows) -> float:
    """Return `soft_f1_reference` of two results; 1 when both are empty.

    Predicted cells that the gold row holds count as matched, others as predicted only; gold cells that the
    predicted row lacks as gold only. A row without a partner counts 1.

    Example:
        >>> soft_f1_reference_of([(1,), (2,)], [(2,), (1,)])
        0.0
    """
    if not gold and not predicted:
        return 1.0
    gold_rows = list(dict.fromkeys(map(tuple, gold)))
    predicted_rows = list(dict.fromkeys(map(tuple, predicted)))
    matched = predicted_only = gold_only = 0.0
    for gold_row, row in zip(gold_rows, predicted_rows, strict=False):
        hits = sum(cell in gold_row for cell in row)
        matched += hits / len(gold_row)
        predicted_only += (len(row) - hits) / len(gold_row)
        gold_only += sum(cell not in row for cell in gold_row) / len(gold_row)
    predicted_only += max(0, len(predicted_rows) - len(gold_rows))
    gold_only += max(0, len(gold_rows) - len(predicted_rows))
    precision = matched / (matched + predicted_only) if matched + predicted_only else 0.0
    recall = matched / (matched + gold_only) if matched + gold_only else 0.0
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def rank_score_of(
    gold: Rows,
    predicted: Rows,
    *,
    gold_columns: Sequence[str],
    predicted_columns: Sequence[str],
    alpha: float = 0.5,
    gamma: float = 1.2,
    footrule: bool = False,
) -> float:
    """Return `rank_score` of two results; 0 when the sets of column names differ, or one result is empty.

    The order o is (ρ + 1) / 2, or 1 - F / ⌊k² / 2⌋ with the footrule; both may fall below 0 and are cut there.

    Example:
        >>> rank_score_of([(1,), (2,)], [(2,), (1,)], gold_columns=["a"], predicted_columns=["a"])
        0.5
    """
    if not gold or not predicted or set(gold_columns) != set(predicted_columns):
        return 0.0
    names = list(dict.fromkeys(gold_columns))
    gold_keys = _numbered(_named_row(row, gold_columns, names) for row in gold)
    predicted_keys = _numbered(_named_row(row, predicted_columns, names) for row in predicted)
    gold_ranks = {key: rank for rank, key in enumerate(gold_keys)}
    common = [(rank, gold_ranks[key]) for rank, key in enumerate(predicted_keys) if key in gold_ranks]
    coverage = len(common) / max(len(gold), len(predicted))
    order = 1.0
    if len(common) > 1:
        ranks, others = [pair[0] for pair in common], [pair[1] for pair in common]
        order = _footrule(ranks, others) if footrule else rank_agreement(ranks, others)
    return float(coverage**gamma) * (alpha * order + 1 - alpha)


def _footrule(ranks: Sequence[int], others: Sequence[int]) -> float:
    distance = sum(abs(rank - other) for rank, other in zip(ranks, others, strict=True))
    return max(0.0, 1 - distance / (len(ranks) ** 2 // 2))


def _shared_cells(row: Iterable[Any], other: Iterable[Any]) -> int:
    return sum((Counter(row) & Counter(other)).values())


def _greedy_overlap(rest: list[tuple[Any, ...]], others: list[tuple[Any, ...]]) -> float:
    """Give each row the best free partner among one candidate a cell: linear in the number of cells."""
    others = sorted(others, key=repr, reverse=True)
    holders: dict[Any, list[int]] = {}
    for index, other in enumerate(others):
        for cell in dict.fromkeys(other):
            holders.setdefault(cell, []).append(index)
    free = set(range(len(others)))
    total = 0
    for row in sorted(rest, key=repr):
        candidates = []
        for cell in dict.fromkeys(row):
            held = holders.get(cell, [])
            while held and held[-1] not in free:
                held.pop()
            candidates += held[-1:]
        if candidates:
            shared, best = max((_shared_cells(row, others[index]), index) for index in candidates)
            free.discard(best)
            total += shared
    return float(total)


def _named_row(row: Sequence[Any], columns: Sequence[str], names: Sequence[str]) -> tuple[Any, ...]:
    by_name = dict(zip(columns, row, strict=True))
    return tuple(_rounded(by_name[name]) for name in names)


def _rounded(cell: Any) -> Hashable:
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, (int, float)):
        return round(float(cell), 6)
    text = str(cell)
    try:
        return round(float(text), 6)
    except ValueError:
        return text.strip().lower()


def _numbered(rows: Iterable[tuple[Any, ...]]) -> list[tuple[tuple[Any, ...], int]]:
    """Give each of several equal rows its own key, by how many came before."""
    seen: Counter[tuple[Any, ...]] = Counter()
    keys = []
    for row in rows:
        keys.append((row, seen[row]))
        seen[row] += 1
    return keys


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
    return nearest(evidence, empty, of_rows(soft_f1_of))


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
    return nearest(evidence, empty, of_rows(soft_f1_reference_of))


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
        return rank_score_of(
            gold.rows,
            predicted.rows,
            gold_columns=gold.columns,
            predicted_columns=predicted.columns,
            alpha=alpha,
            gamma=gamma,
            footrule=footrule,
        )

    return nearest(evidence, empty, measure)
