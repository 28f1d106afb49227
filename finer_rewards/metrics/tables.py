"""How near one result is to another, in [0, 1]: QATCH's measures, soft F1, FINER-SQL's rank scorer.

Rows are sequences of cells; cells are equal as Python finds them equal (1 = 1.0, NULL = NULL, no tolerance).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from finer_rewards.metrics.assignment import best_pairs

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

Rows = Sequence[Sequence[Any]]


def cell_precision(gold: Rows, predicted: Rows) -> float:
    """Share of the distinct predicted cells that are gold cells, in [0, 1]; where a cell stands is ignored.

    $|cells(p) \\cap cells(g)| / |cells(p)|$; 1 when both results are empty, 0 when one is.

    Example:
        >>> cell_precision([("a", "b"), ("c", "d")], [("a", "b"), ("c", "e")])
        0.75

    References:
        Papicchio, Papotti, Cagliero, QATCH, NeurIPS 2023, section 3; the code rounds to three digits.
    """
    return _cell_share(gold, predicted, of=predicted)


def cell_recall(gold: Rows, predicted: Rows) -> float:
    """Share of the distinct gold cells that are predicted, in [0, 1]; returning everything earns 1.

    $|cells(p) \\cap cells(g)| / |cells(g)|$; 1 when both results are empty, 0 when one is.

    Example:
        >>> cell_recall([("a", "b"), ("c", "d")], [("a", "x"), ("y", "d")])
        0.5

    References:
        Papicchio, Papotti, Cagliero, QATCH, NeurIPS 2023, section 3; the code rounds to three digits.
    """
    return _cell_share(gold, predicted, of=gold)


def tuple_cardinality(gold: Rows, predicted: Rows) -> float:
    """The smaller number of rows divided by the larger, in [0, 1]; 1 when both results are empty.

    Example:
        >>> tuple_cardinality([(1,), (2,)], [(7,)])
        0.5

    References:
        Papicchio, Papotti, Cagliero, QATCH, NeurIPS 2023, section 3; the code rounds to three digits.
    """
    few, many = sorted((len(gold), len(predicted)))
    return few / many if many else 1.0


def tuple_constraint(gold: Rows, predicted: Rows) -> float:
    """Share of the distinct gold rows that are predicted as often as in gold, in [0, 1].

    The order of cells in a row is ignored, and so are further predicted rows. 1 when both results are
    empty, 0 when one is.

    Example:
        >>> tuple_constraint([("a", "b"), ("c", "d")], [("a", "b"), ("a", "b"), ("c", "d")])
        0.5

    References:
        Papicchio, Papotti, Cagliero, QATCH, NeurIPS 2023, section 3; the code rounds to three digits.
    """
    if not gold or not predicted:
        return float(not gold and not predicted)
    counts = Counter(_sorted_row(row) for row in gold)
    found = Counter(_sorted_row(row) for row in predicted)
    return sum(found[row] == count for row, count in counts.items()) / len(counts)


def tuple_order(gold: Rows, predicted: Rows) -> float:
    """Agreement in order of the distinct rows that both results have, in [0, 1].

    $(\\rho + 1) / 2$ with Spearman's rank correlation $\\rho$. 1 when the order is the same or there is one
    common row, 0.5 when there is none, 0 when it is reversed or one result is empty.

    Example:
        >>> tuple_order([("a",), ("b",)], [("b",), ("x",), ("a",)])
        0.0

    References:
        Papicchio, Papotti, Cagliero, QATCH, NeurIPS 2023, section 3; the code rounds to three digits.
    """
    if not gold or not predicted:
        return float(not gold and not predicted)
    predicted_order = dict.fromkeys(map(tuple, predicted))
    common = [row for row in dict.fromkeys(map(tuple, gold)) if row in predicted_order]
    if not common:
        return 0.5
    ranks = {row: rank for rank, row in enumerate(common)}
    return _spearman(range(len(common)), [ranks[row] for row in predicted_order if row in ranks])


def soft_f1(gold: Rows, predicted: Rows, *, work: int = 1_000_000) -> float:
    r"""F1 over cells under the best one-to-one alignment of rows, in [0, 1]; row order never matters.

    $$ F_1 = \frac{2 M}{|g| + |p|}, \qquad M = \max_{\pi} \sum_i | g_i \cap p_{\pi(i)} | $$

    with $|\cdot|$ the number of cells, $g_i \cap p_j$ the cells two rows share as multisets, whatever their
    columns, and $\pi$ over all one-to-one alignments. 1 exactly when the rows are the same multiset up to
    the order of cells in each row; 1 when both results are empty.

    Rows that are equal are aligned first, which costs nothing: symmetric difference is a metric. What is
    left is solved exactly while n² m is within `work`. Beyond that each gold row in turn takes the best free
    predicted row among a few that it shares a cell with, so the result is a lower bound.

    Args:
        gold: gold rows.
        predicted: predicted rows.
        work: bound on n² m for the exact solution; the default is about half a second.

    Example:
        >>> soft_f1([(1, "a"), (2, "b")], [(2, "b"), (1, "x")])
        0.75

    References:
        Li et al., BIRD mini-dev, 2024 (soft F1); alignment asked for in bird-bench/mini_dev issue 15.
    """
    total = sum(map(len, gold)) + sum(map(len, predicted))
    if not total:
        return 1.0 if len(gold) == len(predicted) else 0.0
    gold_left = Counter(_sorted_row(row) for row in gold)
    predicted_left = Counter(_sorted_row(row) for row in predicted)
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


def soft_f1_reference(gold: Rows, predicted: Rows) -> float:
    """BIRD's soft F1, in [0, 1]: distinct rows, the i-th predicted row against the i-th gold row.

    For each pair of rows, in units of the gold width: predicted cells that the gold row holds count as
    matched, others as predicted only; gold cells that the predicted row lacks as gold only. A row without
    a partner counts 1. F1 over the sums; 1 when both results are empty.

    Known to judge wrongly: the gold rows in another order score 0; duplicates do not count; `5, 5, 5` scores
    1 against `5`.

    Example:
        >>> soft_f1_reference([(1,), (2,)], [(2,), (1,)])
        0.0

    References:
        Li et al., BIRD mini-dev, 2024, `evaluation_f1.py`.
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


def rank_score(
    gold: Rows,
    predicted: Rows,
    *,
    gold_columns: Sequence[str],
    predicted_columns: Sequence[str],
    alpha: float = 0.5,
    gamma: float = 1.2,
    footrule: bool = False,
) -> float:
    r"""FINER-SQL's rank scorer, in [0, 1]: coverage of rows times agreement in order.

    $$ c^{\gamma} \, (\alpha o + 1 - \alpha), \qquad c = \frac{|g \cap p|}{\max(|g|, |p|)} $$

    with rows as multisets and $o$ from the ranks of the common rows: $(\rho + 1) / 2$, or
    $1 - F / \lfloor k^2 / 2 \rfloor$ with the footrule; both may fall below 0 and are cut there. 0 when the
    sets of column names differ, and when both results are empty. NULL is the empty text, text is stripped and
    lower-cased, numbers and text that spells one are rounded to six digits, and of columns with one name the
    last counts.

    Args:
        gold: gold rows.
        predicted: predicted rows.
        gold_columns: names of the gold columns.
        predicted_columns: names of the predicted columns.
        alpha: share of the order.
        gamma: power of the coverage.
        footrule: measure order by Spearman's footrule instead of the rank correlation.

    Example:
        >>> rank_score([(1,), (2,)], [(2,), (1,)], gold_columns=["a"], predicted_columns=["a"])
        0.5

    References:
        FINER-SQL's published code, `sql_exec_scorer.py`, 2026; not used in the published runs.
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
        order = _footrule(ranks, others) if footrule else _spearman(ranks, others)
    return float(coverage**gamma) * (alpha * order + 1 - alpha)


def _cell_share(gold: Rows, predicted: Rows, of: Rows) -> float:
    if not gold or not predicted:
        return float(not gold and not predicted)
    gold_cells = {cell for row in gold for cell in row}
    predicted_cells = {cell for row in predicted for cell in row}
    return len(gold_cells & predicted_cells) / len(gold_cells if of is gold else predicted_cells)


def _spearman(ranks: Sequence[int], others: Sequence[int]) -> float:
    count = len(ranks)
    if count < 2:
        return 1.0
    squares = sum((rank - other) ** 2 for rank, other in zip(ranks, others, strict=True))
    # The ranks of common rows within longer results have gaps, so the formula can leave [-1, 1].
    return max(0.0, min(1.0, 1 - 3 * squares / (count * (count**2 - 1))))


def _footrule(ranks: Sequence[int], others: Sequence[int]) -> float:
    distance = sum(abs(rank - other) for rank, other in zip(ranks, others, strict=True))
    return max(0.0, 1 - distance / (len(ranks) ** 2 // 2))


def _sorted_row(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(sorted(row, key=_cell_key))


def _cell_key(cell: Any) -> tuple[int, Any]:
    if cell is None or cell != cell:
        return 0, "" if cell is None else "nan"
    if isinstance(cell, (int, float)):
        return 1, cell
    return (2, cell) if isinstance(cell, str) else (3, repr(cell))


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
