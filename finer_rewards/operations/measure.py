"""How much two multisets of operations agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .multiset import Operations

__all__ = ["WEIGHTS", "Agreement", "agreement", "operation_f1"]

#: How much an operation of each kind counts; 1 where a kind is not named.
WEIGHTS: Mapping[str, float] = {}


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
    chosen = WEIGHTS if weights is None else weights
    both = predicted.counts.keys() & gold.counts.keys()
    matched = sum(min(predicted.count(one), gold.count(one)) * chosen.get(one.kind, 1.0) for one in both)
    return Agreement(matched, _weight(predicted, chosen), _weight(gold, chosen))


def _weight(operations: Operations, weights: Mapping[str, float]) -> float:
    return sum(n * weights.get(one.kind, 1.0) for one, n in operations.counts.items())


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
