"""Finding golds whose result depends on the order in which rows happen to be stored; used by `check`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlglot
from sqlglot import exp

from finer_rewards._neighbours.instance_database import extreme_ties
from finer_rewards._neighbours.sandbox import SandboxExecutor
from finer_rewards._util.sqlglot_log import quiet_sqlglot
from finer_rewards.comparing import compare
from finer_rewards.types import Execution


def hang_on_order(
    db: str, golds: Sequence[str], runs: Sequence[Execution], sandbox: SandboxExecutor
) -> list[bool]:
    """Return for each gold whether its result changes when rows are read in reverse.

    Args:
        db: the database.
        golds: the golds.
        runs: their executions.
        sandbox: runs statements in reverse.
    """
    asked = [
        sql
        for sql, run in zip(golds, runs, strict=True)
        if run.ok and not run.truncated and len(run.rows) > 0
    ]
    unfolded = {sql: plan for sql in asked if (plan := _unfold(sql)) is not None}
    statements = [*asked, *(plan.sql for plan in unfolded.values())]
    others = sandbox.in_other_order("reversed", db, statements)
    if others is None:
        # The database cannot be read this way, so nothing is known.
        return [False] * len(golds)
    found = dict(zip(asked, others, strict=False))
    tied = {
        sql
        for (sql, plan), run in zip(unfolded.items(), others[len(asked) :], strict=True)
        if run.ok and not run.truncated and extreme_ties(run.rows, plan.keys, plan.greatest)
    }
    return [
        sql in tied
        or (sql in found and found[sql].ok and not compare(run, found[sql], "strict", gold_sql=sql).match)
        for sql, run in zip(golds, runs, strict=True)
    ]


class Unfolded(NamedTuple):
    """A query that reads columns from the row of a group's MIN or MAX, rewritten without grouping and aggregates.

    Args:
        sql: returns for each row the group's columns, the columns read, and the value.
        keys: how many columns make up the group.
        greatest: true for MAX, false for MIN.
    """

    sql: str
    keys: int
    greatest: bool


def _unfold(sql: str) -> Unfolded | None:
    """Return the query without its aggregates; `None` when it reads no column beside a lone MIN or MAX.

    Its rows show whether several of them have the extreme value. Reading backwards would not, because the first and the
    last of the tied rows may be equal.
    """
    upper = sql.upper()
    if "MIN" not in upper and "MAX" not in upper:
        return None
    try:
        with quiet_sqlglot():
            tree = sqlglot.parse_one(sql, dialect="sqlite")
    except (sqlglot.errors.SqlglotError, RecursionError):
        return None
    return unfold_tree(tree)


def unfold_tree(tree: object) -> Unfolded | None:
    """Return what `_unfold` returns, for a parsed query."""
    if not isinstance(tree, exp.Select):
        return None
    extremes = [found for part in tree.selects for found in part.find_all(exp.Min, exp.Max)]
    if len(extremes) != 1 or extremes[0].expressions:
        return None
    keys = list((tree.args.get("group") or exp.Group()).expressions)
    grouped = {key.sql() for key in keys}
    bare = [
        part.unalias()
        for part in tree.selects
        if not part.find(exp.AggFunc) and part.unalias().sql() not in grouped
    ]
    if not any(part.find(exp.Column) for part in bare) or any(key.find(exp.Literal) for key in keys):
        return None
    plain = tree.copy()
    for clause in ("group", "having", "order", "limit", "offset", "distinct"):
        plain.set(clause, None)
    plain.set("expressions", [part.copy() for part in (*keys, *bare, extremes[0].this)])
    return Unfolded(plain.sql(dialect="sqlite"), len(keys), isinstance(extremes[0], exp.Max))
