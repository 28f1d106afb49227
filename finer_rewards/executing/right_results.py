"""Finding out which results of a gold query are right: how its rows may be ordered, and what else it leaves to chance.

    steps = right_results(sql, run, dialect, sorting, views)

This is a generator: it yields statements to run and is sent their executions, so that `PooledExecutor` can run the
statements of many golds together. The statements come from `order_probe.py` and `tie_breaks.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from finer_rewards.comparing import compare
from finer_rewards.executing.order_probe import Sorting, probes, rankings, sort_key, with_order
from finer_rewards.executing.tie_breaks import Variants, variants
from finer_rewards.types import Choices, Execution, Row

Steps = Generator[list[str], list[Execution], Execution]

# Why a gold has several right results; users read these in a score's reason.
_CUT = "its LIMIT cuts through rows that tie"
_MOST = "its LIMIT cuts through a tie over more than half of what it ranks"
#: The reasons of golds whose own LIMIT, rather than that of a subquery, cuts through a tie.
CUTS_TIES = frozenset((_CUT, _MOST))
_CHANCE = "it leaves to chance which rows a LIMIT or a window takes of those that tie"
_ANY = "it has a LIMIT without an order"
_BARE = "it shows, or strings together, columns of several rows in the order they happen to come in"
_BEST = "several rows have the least or greatest value beside which it shows a column"


def right_results(
    sql: str, gold: Execution, dialect: str, sorting: Sorting, views: Mapping[str, str]
) -> Steps:
    """Find out what of a gold query's result is left to chance.

    Args:
        sql: the query.
        gold: its execution.
        dialect: sqlglot's name of its dialect.
        sorting: how the engine sorts.
        views: the statements that made the views of the database, by name.

    Yields:
        Statements to run on the same database; their executions have to be sent back.

    Returns:
        The execution with `order`, `ambiguous` and `choices` filled, as far as they are known.
    """
    if not gold.ok or gold.volatile or gold.truncated:
        return gold
    ranked = False
    for way in (_ranked, _probed) if "order" in sql.lower() else ():
        found = yield from way(sql, gold, dialect, sorting)
        if found is not None:
            gold, ranked = found, way is _ranked
            break
    if gold.ambiguous and gold.choices is not None:
        return gold
    left = variants(
        sql,
        dialect,
        width=len(gold.columns),
        top=not ranked,
        bare_columns=sorting.bare_columns,
        views=views,
    )
    if not (left.choices or left.checked or left.extremes):
        return gold
    return (yield from _varied(sql, gold, left))


Found = Generator[list[str], list[Execution], "Execution | None"]


def _probed(sql: str, gold: Execution, dialect: str, sorting: Sorting) -> Found:
    """Return the gold with the sort keys of its rows, found by a probe; `None` when no probe fits."""
    for probe in probes(sql, dialect, sorting):
        (run,) = yield [probe.sql]
        found = with_order(gold, run, probe)
        if found is not None:
            return found
    return None


def _ranked(sql: str, gold: Execution, dialect: str, sorting: Sorting) -> Found:
    """Return the gold with sort keys and cut ties, found by window functions; `None` when no ranking fits.

    The engine itself says which rows tie, so this is right for collations too, where a probe can only compare bytes.
    """
    width = len(gold.columns)
    for ranking in rankings(sql, dialect, sorting):
        (run,) = yield [ranking.sql]
        hidden = sum(key.column is None for key in ranking.keys)
        if not run.ok or len(run.columns) != width + hidden + 3 or len(run.rows) != len(gold.rows):
            continue
        ties = _ties(run.rows, width)
        if ties is None or not all(tie.is_cut or _alike(tie.rows, gold.rows[tie.start :]) for tie in ties):
            continue
        keys = [sort_key(run.rows[tie.start], width, ranking.keys) for tie in ties]
        if None in keys:
            continue
        order = tuple(key for key, tie in zip(keys, ties, strict=True) for _ in tie.rows if key is not None)
        found = replace(gold, order=order)
        cut = [tie for tie in ties if tie.is_cut]
        if not cut:
            return found
        (whole,) = yield [ranking.tied(cut[0].first, cut[-1].last)]
        return _with_choices(found, ties, whole, width)
    return None


class _Tie(NamedTuple):
    """Rows of a result that tie with each other.

    Args:
        start: the index of the first in the result.
        rows: those that the result shows.
        first: the place, from 1, of the first of the tie among all rows before the LIMIT.
        last: the place of the last of the tie.
        total: the number of all rows before the LIMIT.
    """

    start: int
    rows: tuple[Row, ...]
    first: int
    last: int
    total: int

    @property
    def is_cut(self) -> bool:
        """Whether the LIMIT left some rows of the tie out."""
        return len(self.rows) <= self.last - self.first


def _ties(rows: Sequence[Row], width: int) -> list[_Tie] | None:
    """Return the ties in a ranking's rows, read from its last three columns; `None` when these are not in order."""
    found: list[_Tie] = []
    for place, some in groupby(rows, key=lambda row: row[-3:]):
        run = tuple(row[:width] for row in some)
        start = found[-1].start + len(found[-1].rows) if found else 0
        first, last, total = place
        if not (isinstance(first, int) and isinstance(last, int) and isinstance(total, int)):
            return None
        if found and first <= found[-1].first:
            return None
        found.append(_Tie(start, run, first, last, total))
    return found


def _alike(rows: Sequence[Row], others: Sequence[Row]) -> bool:
    """Whether the rows equal the first ones of `others`, in any order."""
    return Counter(rows) == Counter(others[: len(rows)])


def _with_choices(gold: Execution, ties: list[_Tie], whole: Execution, width: int) -> Execution:
    """Return the gold with the rows that may stand in place of those of cut ties.

    Args:
        gold: the gold's execution.
        ties: the ties of its rows.
        whole: the execution that shows all rows of the cut ties, also those that the LIMIT left out.
        width: how many columns the gold has.
    """
    members = {tie.first: tie.rows for tie in _ties(whole.rows, width) or ()} if whole.ok else {}
    runs, open_ties = [], []
    for tie in ties:
        rows = members.get(tie.first, ()) if tie.is_cut else tie.rows
        shown = gold.rows[tie.start : tie.start + len(tie.rows)]
        if tie.is_cut and (len(rows) != tie.last - tie.first + 1 or Counter(shown) - Counter(rows)):
            # The tie has too many rows to be shown, or the second query returned other rows than the gold.
            return replace(gold, ambiguous=True, choices=Choices(_MOST if whole.truncated else _CUT))
        runs.append((rows, len(tie.rows)))
        if tie.is_cut and len(set(rows)) > 1:
            open_ties.append(tie)
    if not open_ties:
        return gold
    if any(2 * (tie.last - tie.first + 1) > tie.total for tie in open_ties):
        return replace(gold, ambiguous=True, choices=Choices(_MOST))
    return replace(gold, ambiguous=True, choices=Choices(_CUT, tuple(runs)))


def _varied(sql: str, gold: Execution, left: Variants) -> Steps:
    """Run the query with its ties broken in several ways; if the results differ, the gold is one of several right."""
    checks = [text for text in (left.checked, left.extremes) if text]
    runs = yield [*left.choices, *checks]
    choices, checked = runs[: len(left.choices)], dict(zip(checks, runs[len(left.choices) :], strict=True))

    def differs(run: Execution | None) -> bool:
        """Whether a variant ran and its result is not the gold's."""
        return run is not None and run.ok and not compare(gold, run, "strict", gold_sql=sql).match

    extremes = checked.get(left.extremes)
    if differs(checked.get(left.checked)):
        found = Choices(_BARE, results=(gold.rows,))
    elif extremes is not None and extremes.ok and extremes.rows:
        found = Choices(_BEST, results=(gold.rows,))
    elif any(map(differs, choices)):
        results = tuple(dict.fromkeys((gold.rows, *(run.rows for run in choices if run.ok))))
        found = Choices(_ANY) if left.unordered else Choices(_CHANCE, results=results)
    else:
        return gold
    return replace(gold, ambiguous=True, choices=found)
