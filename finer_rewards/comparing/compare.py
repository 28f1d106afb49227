"""`compare`, the entrance of this package: it checks both sides, finds the mode and calls the mode's rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.named import find_mode
from finer_rewards.comparing.result import Comparison, Sides, decoded, result_table, undecodable
from finer_rewards.comparing.rules import find_rule
from finer_rewards.types import Execution


def compare(
    gold: Execution | Iterable[Sequence[Any]],
    predicted: Execution | Iterable[Sequence[Any]],
    mode: str | Mode = "strict",
    *,
    gold_sql: str | None = None,
    predicted_sql: str | None = None,
    gold_columns: Sequence[str] | None = None,
    predicted_columns: Sequence[str] | None = None,
    question: str = "",
) -> Comparison:
    """Compare a predicted result with the gold result; a match is 1.0, anything else 0.0.

    Under `strict`: equal widths, and equal bags of rows under one reordering of the columns; in gold's
    order, up to ties of its sort keys, when the gold query has a top-level ORDER BY.

    Args:
        gold: the gold result: an `Execution`, or rows.
        predicted: the predicted result, likewise.
        mode: the name of a mode (`modes()` lists them) or a `Mode`.
        gold_sql: the gold statement. Modes under which row order may count read it. Without it, and if `gold` does
            not carry its sort keys, the order does not count, and the comparison says so.
        predicted_sql: the predicted statement, which `finer_reference` and `defog_*` read.
        gold_columns: names of the gold columns, if `gold` is given as rows.
        predicted_columns: names of the predicted columns, if `predicted` is given as rows.
        question: the question in words, which `defog_*` searches for `order`, `sort` and `arrange`.

    Returns:
        A `Comparison`: match, score, reason, the rule that decided, and the first rows that differ.

    Raises:
        ConfigError: an unknown mode, or rows that are not rows.
        MissingExtraError: the mode runs on pandas, which is not installed.

    Example:
        >>> compare([(1, "x"), (2, "y")], [("y", 2), ("x", 1)]).match
        True
        >>> print(compare([(1,), (1,)], [(1,)]).reason)
        1 row, but gold has 2
        >>> compare([(1,), (1,)], [(1,)], "bird").match
        True
    """
    how = find_mode(mode)
    for side, name in ((gold, "gold"), (predicted, "predicted")):
        if isinstance(side, Execution) and not side.ok:
            why = side.error or side.status.sentence
            return Comparison(False, 0.0, f"the {name} query gave no result: {why}", "not_run")
    sides = Sides(
        result_table(gold, gold_columns, "gold"),
        result_table(predicted, predicted_columns, "predicted"),
        gold_sql,
        predicted_sql,
        question,
    )
    if how.undecodable != "keep":
        name = undecodable(sides)
        if name and how.undecodable == "error":
            why = f"the evaluator cannot decode the text of the {name} result"
            return Comparison(False, 0.0, why, "evaluator_error")
        if name:
            sides = sides._replace(gold=decoded(sides.gold), predicted=decoded(sides.predicted))
    rule = find_rule(how.rule)
    rule.check_installed()
    comparison = rule.function(sides, how)
    if gold_sql is None and sides.gold.order is None and how.row_order in ("text", "query"):
        return comparison.assuming("no gold SQL was given, so the order of rows was taken not to count")
    return comparison
