"""Supervision without SQL: the predicted result against answer rows, `Sample(gold=(), answer=rows)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finer_rewards.metrics import answers
from finer_rewards.reward import reward
from finer_rewards.rewards.execution import did_not_run
from finer_rewards.types import Evidence, Score, Status, unscored

__all__ = ["answer_coverage", "answer_match"]


@reward(needs={"predicted"})
def answer_match(evidence: Evidence, *, require_base_table: bool = True) -> Score:
    """1 when the result of the predicted SQL is the sample's answer, else 0.

    Formula: [distinct items of the result = distinct items of the answer]. An item is a cell when the answer
    has one column (the result may then have several), else a row. Texts are equal without case, accents,
    citations and details in brackets, numbers within 1e-6; `12,467` is a number.

    Known to reward wrongly: a wrong query that happens to return the answer; with short answers (`yes`, 2)
    that is common.

    Args:
        require_base_table: a query that reads no base table does not match.

    Returns:
        1 or 0; `None` when the sample has no answer, or an empty one.

    Example:
        >>> answer_match()
        answer_match()

    References:
        Pasupat and Liang, Compositional Semantic Parsing on Semi-Structured Tables, ACL 2015 (evaluator of
        WikiTableQuestions); Kulkarni and Srikumar, arXiv 2506.06093, 2025 (exact match).
    """
    return _against_answer(evidence, answers.answers_equal, require_base_table)


@reward(needs={"predicted"})
def answer_coverage(evidence: Evidence, *, require_base_table: bool = True, hedging: bool = False) -> Score:
    """Share of the answer's items that the predicted SQL returns, in [0, 1]; 0 when it returns more items.

    Formula: |items(p) ∩ items(a)| / |items(a)| if |items(p)| <= |items(a)|, else 0.

    Known to pay for: one right item of many. With `hedging`, as published, for returning everything.

    Args:
        require_base_table: a query that reads no base table covers nothing.
        hedging: pay for right items among any number of others.

    Returns:
        A degree; `None` when the sample has no answer, or an empty one.

    Example:
        >>> answer_coverage()
        answer_coverage()

    References:
        Kulkarni and Srikumar, arXiv 2506.06093, 2025 (relaxed exact match; their report of a model that
        returned all cities is why hedging is not paid).
    """
    measure = answers.answer_recall if hedging else answers.answer_overlap
    return _against_answer(evidence, measure, require_base_table)


def _against_answer(
    evidence: Evidence, measure: Callable[[Any, Any], float], require_base_table: bool
) -> Score:
    answer = evidence.sample.answer
    if answer is None:
        return unscored(Status.no_gold, "This reward compares with answer rows. Pass Sample(answer=rows).")
    if not answer:
        return unscored(Status.gold_empty)
    if not evidence.trials:
        return did_not_run(None)
    worst = 1.0
    for trial in evidence.trials:
        predicted = trial.predicted
        if predicted is None or not predicted.ok:
            return did_not_run(predicted)
        if require_base_table and predicted.tables is not None and not predicted.tables:
            return Score(0.0, "the query reads no base table, so its result is a guess")
        worst = min(worst, float(measure(answer, predicted.rows)))
    return Score(worst, f"{len(answer)} answer rows")
