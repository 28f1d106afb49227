"""Comparing two results inside a worker, because they are too large to be sent to the parent.

`settling.py` makes the request and reads the answer; the comparison itself is that of `comparing/`. A request of the
kind `compare` holds, marshalled, in the place of SQL:

    (mode, gold, predicted, gold_sql, predicted_sql, question, most)
        mode           the fields of the `Mode`, by name
        gold           (columns, rows, order) when all its rows are known, else (statement, probes), where the probes
                       are statements that show its sort keys
        predicted      the predicted statement
        gold_sql ...   the statements as written, and the question, for rules that look at them
        most           true when a prediction with more rows than the gold cannot match

The answer is `ok` with one chunk: the fields of a `Comparison`, then the other fields of `Settled`. When a statement
fails, the answer carries its status; when a limit leaves the comparison open, the status is `too_large`.
"""

from __future__ import annotations

import marshal

from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.partial_results import ResultPair
from finer_rewards.comparing.result import swapped
from finer_rewards.executing.order_probe import Probe, ProbedKey, with_order
from finer_rewards.types import Execution, Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from finer_rewards.executing.worker import Answer


class _OpenError(Exception):
    """A statement gave no result or only part of one, so that nothing can be compared; holds status and message."""


def decide(request: bytes, answer: Callable[[str, int], Answer]) -> Answer:
    """Return the answer to a request of the kind `compare`.

    Args:
        request: the request.
        answer: runs a statement and returns at most the given number of rows; 0 means all.
    """
    mode, gold_given, predicted_ran, gold_sql, predicted_sql, question, most = marshal.loads(request)

    def run(sql: str, max_rows: int = 0) -> Execution:
        status, columns, chunks, _, error, truncated, *_ = answer(sql, max_rows)
        if status != "ok":
            raise _OpenError(status, error)
        found = tuple(row for chunk in chunks for row in marshal.loads(chunk))
        return Execution(Status.ok, columns, found, truncated=bool(truncated))

    try:
        gold = _gold(gold_given, run)
        predicted = run(predicted_ran, max(1, len(gold.rows)) if most else 0)
        if gold.truncated or (predicted.truncated and not most):
            raise _OpenError("too_large", "the rows are more than a worker may hold")
        if predicted.truncated:
            return _answer(
                (False, 0.0, f"more than {len(gold.rows):,} rows, which is what gold has", "row_count")
            )
        pair = ResultPair("", gold, predicted, Mode(**mode), "", "", gold_sql, predicted_sql, question)
        found = pair.compared()
    except _OpenError as end:
        status, error = end.args
        return status, (), [], 0.0, error, False, None, "", 0
    except MemoryError:
        return "too_large", (), [], 0.0, "out of memory", False, None, "", 0
    fields = (found.match, found.score, found.reason, found.rule)
    shown = (_short(found.only_gold), _short(found.only_predicted), found.columns, found.assumed)
    are_swapped = bool(found.columns) and swapped(gold.rows, found.columns or ())
    return _answer((*fields, *shown), are_swapped, gold.ambiguous)


def _gold(given: tuple[Any, ...], run: Any) -> Execution:
    """Return the gold's execution with its sort keys: as the request holds it, or by running it here."""
    if len(given) == 3:
        columns, found, order = given
        return Execution(Status.ok, columns, tuple(found), order=None if order is None else tuple(order))
    statement, probes = given
    gold: Execution = run(statement)
    for sql, keys, limit, by_bytes in probes if not gold.truncated else ():
        probe = Probe(sql, tuple(ProbedKey(*key) for key in keys), limit, by_bytes)
        shown = with_order(gold, run(sql), probe)
        if shown is not None:
            return shown
    return gold


def _short(found: tuple[tuple[Any, ...], ...]) -> tuple[tuple[Any, ...], ...]:
    """Cut long cells: these rows only illustrate a reason, and the answer has to stay small."""
    return tuple(
        tuple(cell[:200] if isinstance(cell, (str, bytes)) else cell for cell in row) for row in found
    )


def _answer(fields: tuple[Any, ...], are_swapped: bool = False, ambiguous: bool = False) -> Answer:
    return "ok", (), [marshal.dumps((fields, are_swapped, ambiguous))], 0.0, "", False, None, "", 0
