"""Queries whose result hangs on the order in which rows happen to be stored."""

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
    """Return for each gold whether it has another result when rows are read in reverse.

    Args:
        db: the database.
        golds: queries.
        runs: what they did there.
        sandbox: what runs them.
    """
    asked = [
        sql
        for sql, run in zip(golds, runs, strict=True)
        if run.ok and not run.truncated and len(run.rows) > 0
    ]
    unfolded = {sql: plan for sql in asked if (plan := unfold(sql)) is not None}
    statements = [*asked, *(plan.sql for plan in unfolded.values())]
    others = sandbox.in_other_order("reversed", db, statements)
    if others is None:
        return [False] * len(golds)  # the database cannot be opened this way: nothing is known
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
    """A query that takes columns from the row of a group's least or greatest value, without its aggregates.

    Args:
        sql: returns for each row its group, the columns taken, and the value.
        keys: how many columns say the group.
        greatest: whether the greatest value counts.
    """

    sql: str
    keys: int
    greatest: bool


def unfold(sql: str) -> Unfolded | None:
    """Return the query without its aggregates; `None` when it takes no column beside a lone MIN or MAX.

    Reading backwards does not show such a tie: the first and the last of the rows that tie may be alike.
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
    """Return the same of a query that was read."""
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
