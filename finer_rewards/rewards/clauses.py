"""Clause credit: how right each clause of an answer is, and where it stands in the completion. Experimental."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from finer_rewards.reward import Reward, reward
from finer_rewards.rewards.atomic import atomic_f1
from finer_rewards.rewards.execution import execution_match
from finer_rewards.types import Evidence, Score, Span

_RIGHT: Final = execution_match()
_OPERATIONS: Final = atomic_f1()
#: Clauses in the order of a statement, and the tokens that begin them.
_BEGINS: Final[Mapping[str, tuple[str, ...]]] = {
    "select": ("SELECT",),
    "from": ("FROM", "JOIN"),
    "where": ("WHERE",),
    "group_by": ("GROUP_BY",),
    "having": ("HAVING",),
    "order_by": ("ORDER_BY",),
    "limit": ("LIMIT",),
}


@reward(combines=True, needs={"schema"})
def clause_credit(evidence: Evidence, *, right: Reward = _RIGHT) -> Score:
    """How right the clauses of the predicted SQL are, on average and each by itself, in [0, 1]. Experimental.

    Formula: the mean over clauses that the prediction or the gold has of 2 m / (p + g), with m, p and g the operations
    of the clause that match, are predicted and are in the gold (as `atomic_f1` counts them); 1 where `right` is above
    0.

    `Score.spans` tells where in the completion each clause stands and what it is worth, for trainers that give credit
    to tokens (`finer_rewards.adapters.trl_clauses`). A clause that is not there has an empty span where it was passed
    over, with 0 when the gold has it and 1 when not. What stands in brackets belongs to the clause around it.

    Args:
        right: where this is above 0 every clause is right, however it is written.

    Returns:
        The mean; 0 without SQL or where it does not parse, with no spans. `None` when no gold parses, or where `right`
        has no value.

    Example:
        >>> from finer_rewards.reward import constant
        >>> from finer_rewards.types import Answer, Sample
        >>> sql = "SELECT a FROM t WHERE b > 1"
        >>> sample = Sample(sql, gold="SELECT a FROM t WHERE b > 2", db="x.sqlite")
        >>> score = clause_credit(right=constant(0))(Evidence(sample, Answer(None, sql)))
        >>> [(span.clause, sql[span.start : span.end], span.credit) for span in score.spans[:3]]
        [('select', 'SELECT a ', 1.0), ('from', 'FROM t ', 1.0), ('where', 'WHERE b > 1', 0.0)]

    References:
        CAPER, 2026, arXiv:2606.03327 (clauses as steps); benchmarks/results/learning_sound.md.
    """
    judged = right(evidence)
    if judged.value is None:
        return Score(None, judged.reason, judged.status, parts=((0, judged),))
    found = _OPERATIONS(evidence)
    if found.value is None:
        return Score(None, found.reason, found.status, parts=((0, judged), (0, found)))
    credit = {clause: _agreement(found.metrics, clause) for clause in _BEGINS}
    there = [value for value in credit.values() if value is not None]
    solved = judged.value > 0
    value = 1.0 if solved else sum(there) / len(there) if there else 0.0
    whole = {clause: 1.0 if solved or one is None else one for clause, one in credit.items()}
    spans = tuple(_spans(evidence, whole)) if there else ()
    return Score(value, found.reason, found.status, parts=((0, judged), (0, found)), spans=spans)


def _agreement(metrics: Mapping[str, float], clause: str) -> float | None:
    """Return the agreement in a clause; `None` when neither query has it."""
    matched, predicted, gold = (
        metrics.get(f"{clause}_{kind}", 0.0) for kind in ("matched", "predicted", "gold")
    )
    return 2 * matched / (predicted + gold) if predicted + gold else None


def _spans(evidence: Evidence, credit: Mapping[str, float]) -> Iterator[Span]:
    sql = evidence.answer.sql or ""
    # The last place: a thought may have tried the same query before.
    offset = evidence.sample.completion.rfind(sql)
    if not sql or offset < 0:
        return
    starts = list(_starts(sql, evidence.dialect))
    order = list(_BEGINS)
    # Clauses up to here have been written or passed over.
    passed = 0
    for number, (clause, start) in enumerate(starts):
        end = starts[number + 1][1] if number + 1 < len(starts) else len(sql)
        for skipped in order[passed : order.index(clause)]:
            yield Span(skipped, offset + start, offset + start, credit[skipped])
        yield Span(clause, offset + start, offset + end, credit[clause])
        passed = max(passed, order.index(clause) + 1)
    if starts:
        for skipped in order[passed:]:
            yield Span(skipped, offset + len(sql), offset + len(sql), credit[skipped])


def _starts(sql: str, dialect: str) -> Iterator[tuple[str, int]]:
    """Yield the clauses of a text and where they begin, those in brackets left out; nothing if it has no tokens."""
    from sqlglot import tokenize
    from sqlglot.errors import SqlglotError

    try:
        tokens = tokenize(sql, read=dialect)
    except SqlglotError:
        return
    depth, last = 0, ""
    for token in tokens:
        name = token.token_type.name
        depth += (name == "L_PAREN") - (name == "R_PAREN")
        clause = next((clause for clause, words in _BEGINS.items() if name in words), None)
        if depth == 0 and clause is not None and clause != last:
            yield clause, token.start
            last = clause
