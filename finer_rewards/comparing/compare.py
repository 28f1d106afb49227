"""`compare`: one call, every mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from finer_rewards.comparing.aligned import aligned
from finer_rewards.comparing.defog import defog_exact, defog_subset
from finer_rewards.comparing.frames import dict_rows, ibm_exec, ibm_subset, spider2
from finer_rewards.comparing.mode import Mode
from finer_rewards.comparing.named import modes
from finer_rewards.comparing.result import Comparison, Sides, table_of
from finer_rewards.comparing.rows import qatch, row_set, sorted_rows, test_suite, typed_rows
from finer_rewards.errors import ConfigError, suggest
from finer_rewards.types import Execution

__all__ = ["compare", "find_mode"]

_RULES: Mapping[str, Callable[[Sides, Mode], Comparison]] = {
    "aligned": aligned,
    "row_set": row_set,
    "test_suite": test_suite,
    "spider2": spider2,
    "defog_exact": defog_exact,
    "defog_subset": defog_subset,
    "qatch": qatch,
    "ibm_exec": ibm_exec,
    "ibm_subset": ibm_subset,
    "sorted_rows": sorted_rows,
    "typed_rows": typed_rows,
    "dict_rows": dict_rows,
}


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
        gold_sql: the gold statement. Modes under which row order may count read it; without it the order
            is taken not to count, unless `gold` carries its sort keys, and the comparison says so.
        predicted_sql: the predicted statement, which `finer_reference` and `defog_*` read.
        gold_columns: names of the gold columns, where rows come without them.
        predicted_columns: names of the predicted columns, likewise.
        question: the question in words, which `defog_*` searches for `order`, `sort` and `arrange`.

    Returns:
        A `Comparison`: match, score, reason, the rule that decided, and the first rows that differ.

    Raises:
        ConfigError: an unknown mode, or rows that are not rows.

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
        table_of(gold, gold_columns, "gold"),
        table_of(predicted, predicted_columns, "predicted"),
        gold_sql,
        predicted_sql,
        question,
    )
    comparison = _RULES[how.rule](sides, how)
    assumed = _assumed(sides, how)
    return replace(comparison, assumed=assumed) if assumed else comparison


def _assumed(sides: Sides, mode: Mode) -> str:
    assumed = []
    if sides.gold_sql is None and sides.gold.order is None and mode.row_order in ("text", "query"):
        assumed.append("no gold SQL was given, so the order of rows was taken not to count")
    if sides.predicted_sql is None and mode.rule == "dict_rows":
        assumed.append("no predicted SQL was given, so it was taken to begin with SELECT")
    if mode.rule in ("dict_rows", "defog_exact") and None in (sides.gold.columns, sides.predicted.columns):
        assumed.append("no column names were given, so columns were named by position")
    return "; ".join(assumed)


def find_mode(mode: str | Mode) -> Mode:
    """Return a mode by its name; a `Mode` is returned as it is.

    Raises:
        ConfigError: there is no mode of that name.

    Example:
        >>> find_mode("bird").rule
        'row_set'
    """
    if isinstance(mode, Mode):
        return mode
    known = modes()
    if isinstance(mode, str) and mode in known:
        return known[mode]
    raise ConfigError(
        f"`mode` should be one of {', '.join(known)} or a Mode, but got {mode!r:.80}. "
        f"{suggest(str(mode), known)}Run `finer-rewards modes` for what each does."
    )
