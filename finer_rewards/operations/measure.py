"""How much two multisets of operations agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import fsum

from finer_rewards._util.assignment import best_pairs

from .multiset import Operation, Operations

#: How much an operation of each kind counts; 1 where a kind is not named. What a query returns weighs double:
#: `benchmarks/operations.py` ranks right above wrong candidates a little better so, on Spider and on BIRD.
WEIGHTS: Mapping[str, float] = {"columns": 2.0, "select": 2.0}


@dataclass(frozen=True)
class Agreement:
    """The weights of what two multisets share and of each.

    Args:
        matched: weight of the operations of both.
        predicted: weight of the predicted ones.
        gold: weight of the gold ones.
    """

    matched: float
    predicted: float
    gold: float

    @property
    def precision(self) -> float:
        """Matched / predicted; 1 when both are empty."""
        return self.matched / self.predicted if self.predicted else float(not self.gold)

    @property
    def recall(self) -> float:
        """Matched / gold; 1 when both are empty."""
        return self.matched / self.gold if self.gold else float(not self.predicted)

    @property
    def jaccard(self) -> float:
        """Matched / (predicted + gold - matched)."""
        union = self.predicted + self.gold - self.matched
        return self.matched / union if union else 1.0

    def f(self, beta: float = 1.0) -> float:
        """Return F-beta, (1 + b^2) P R / (b^2 P + R); `beta` above 1 weighs recall more."""
        square = beta * beta
        total = square * self.gold + self.predicted
        return (1 + square) * self.matched / total if total else 1.0


def agreement(
    predicted: Operations, gold: Operations, weights: Mapping[str, float] | None = None
) -> Agreement:
    """Return the weighted overlap of two multisets.

    Args:
        predicted: operations of the prediction.
        gold: operations of the gold.
        weights: how much a kind counts; `None` means `WEIGHTS`.
    """
    return weighed(beside(predicted, gold), WEIGHTS if weights is None else weights)


def beside(predicted: Operations, gold: Operations) -> list[tuple[Operation, int, int]]:
    """Return each operation of either side with how often the prediction, fitted to the gold, and the gold have it."""
    ours, theirs = predicted.fitted_to(gold).counts, gold.counts
    found = [(one, n, theirs.get(one, 0)) for one, n in ours.items()]
    return found + [(one, 0, n) for one, n in theirs.items() if one not in ours]


def weighed(both: Iterable[tuple[Operation, int, int]], weights: Mapping[str, float]) -> Agreement:
    """Return the overlap of what `beside` returned."""
    matched, predicted, gold = [], [], []
    for one, ours, theirs in both:
        weight = weights.get(one.kind, 1.0)
        matched.append(weight * min(ours, theirs))
        predicted.append(weight * ours)
        gold.append(weight * theirs)
    # `fsum` does not depend on the order, so that equal multisets score exactly 1 whatever the weights.
    return Agreement(fsum(matched), fsum(predicted), fsum(gold))


def operation_f1(predicted: Operations, gold: Operations) -> float:
    """Return the F1 of two multisets of operations, in [0, 1].

    Args:
        predicted: operations of the prediction.
        gold: operations of the gold.

    Example:
        >>> from finer_rewards.operations import sql_operations
        >>> operation_f1(sql_operations("SELECT a FROM t WHERE b > 1"), sql_operations("SELECT a FROM t WHERE 1 < b"))
        1.0
    """
    return agreement(predicted, gold).f()


def by_clause(both: Iterable[tuple[Operation, int, int]]) -> dict[str, tuple[int, int, int]]:
    """Return for each clause how many operations are matched, predicted and gold, of what `beside` returned.

    Example:
        >>> from finer_rewards.operations import sql_operations
        >>> predicted, gold = sql_operations("SELECT a FROM t"), sql_operations("SELECT a FROM t WHERE b > 1")
        >>> by_clause(beside(predicted, gold))["WHERE"]
        (0, 0, 1)
    """
    counts: dict[str, tuple[int, int, int]] = {}
    for one, ours, theirs in both:
        matched, predicted, gold = counts.get(one.clause, (0, 0, 0))
        counts[one.clause] = matched + min(ours, theirs), predicted + ours, gold + theirs
    return counts


def partial_agreement(
    predicted: Operations,
    gold: Operations,
    weights: Mapping[str, float] | None = None,
    credit: float = 0.5,
) -> Agreement:
    """Return the overlap with part of the credit for operations that differ in one argument.

    What is not matched is paired within its kind and scope, by the assignment that gives the most;
    a pair is worth `credit` times the share of its words in common.

    Args:
        predicted: operations of the prediction.
        gold: operations of the gold.
        weights: how much a kind counts; `None` means `WEIGHTS`.
        credit: what a nearly right operation is worth, in [0, 1).
    """
    predicted = predicted.fitted_to(gold)
    exact = agreement(predicted, gold, weights)
    chosen = WEIGHTS if weights is None else weights
    missing: dict[tuple[str, tuple[str, ...]], list[Operation]] = {}
    for one in gold - predicted:
        missing.setdefault((one.kind, one.scope), []).append(one)
    extra: dict[tuple[str, tuple[str, ...]], list[Operation]] = {}
    for one in predicted - gold:
        extra.setdefault((one.kind, one.scope), []).append(one)
    gained = 0.0
    for key, ours in extra.items():
        theirs = missing.get(key, [])[:_MOST_PAIRED]
        if key[0] in ("query", "columns") or not theirs:
            continue
        gains = [[_likeness(a, b) for b in theirs] for a in ours[:_MOST_PAIRED]]
        gained += (
            credit * chosen.get(key[0], 1.0) * sum(gains[row][column] for row, column in best_pairs(gains))
        )
    return Agreement(exact.matched + gained, exact.predicted, exact.gold)


_MOST_PAIRED = 60


def _likeness(a: Operation, b: Operation) -> float:
    """Return the share of arguments in the same place, in [0, 1)."""
    if len(a.arguments) != len(b.arguments) or len(a.arguments) < 2:
        return 0.0
    same = sum(x == y for x, y in zip(a.arguments, b.arguments, strict=True))
    return same / len(a.arguments)


def shaped(score: float, *, e: float = 0.05, beta: float = 0.79, gamma: float = 0.2) -> float:
    """Return `e*s + (1-e)*beta*s**gamma`, the shaping of FINER-SQL's code (its command line's defaults).

    Example:
        >>> round(shaped(0.5), 3)
        0.678
    """
    return e * score + (1 - e) * beta * score**gamma if score > 0 else 0.0
