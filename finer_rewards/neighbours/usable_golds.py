"""Whether a gold can be judged on a database: its result says something, and no accident of order decides it."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from finer_rewards.engines.sqlite import SQLite
from finer_rewards.executing import Query
from finer_rewards.executing.order_probe import Probe, probes
from finer_rewards.neighbours.reversing import hang_on_order
from finer_rewards.types import Execution, Row

__all__ = ["limited_parts", "usable_on"]


def limited_parts(tree: exp.Query) -> list[str]:
    """Return the subqueries that cut an order at a LIMIT, as statements of their own."""
    return [
        part.sql("sqlite")
        for part in tree.find_all(exp.Select)
        if part.parent is not None and part.args.get("limit") and part.args.get("order")
    ]


def usable_on(
    db: str, golds: Sequence[str], parts: Sequence[Sequence[str]], executor: SQLite
) -> tuple[list[Execution], list[bool]]:
    """Return what each gold did on a database, and whether it can be judged by that.

    It cannot when it failed, was cut at a limit, has no row or nothing but NULL, is not reproducible, when
    it or a part of it cuts through a tie at a LIMIT (rows that tie and are alike count: who returns all of
    them is right too), or when it gives another result on rows read backwards.
    """
    runs = executor.execute_many([Query(sql, db, keep=True) for sql in golds])
    limited = sorted(
        {part for own in parts for part in own} | {sql for sql in golds if "limit" in sql.lower()}
    )
    tied = _tied(db, limited, executor)
    hanging = hang_on_order(db, golds, runs, timeout=executor.timeout)
    usable = [
        run.ok
        and not (run.truncated or run.ambiguous or run.volatile or hangs)
        and any(cell is not None for row in run.rows for cell in row)
        and not tied & {sql, *own}
        for sql, own, run, hangs in zip(golds, parts, runs, hanging, strict=True)
    ]
    return runs, usable


def _tied(db: str, statements: Sequence[str], executor: SQLite) -> set[str]:
    asked = [
        (sql, found[0])
        for sql in statements
        if (found := probes(sql, executor.dialect, executor.sorting)) and found[0].limit is not None
    ]
    runs = executor.execute_many([Query(sql, db, keep=True) for sql, _ in asked])
    more = executor.execute_many([Query(probe.sql, db) for _, probe in asked])
    return {
        sql
        for (sql, probe), run, longer in zip(asked, runs, more, strict=True)
        if run.ambiguous or _ties_at_limit(run, longer, probe)
    }


def _ties_at_limit(run: Execution, longer: Execution, probe: Probe) -> bool:
    count = len(run.rows)
    if not (run.ok and longer.ok) or count != probe.limit or len(longer.rows) <= count or not count:
        return False

    def key(row: Row) -> Row:
        shown = tuple(row[one.column] for one in probe.keys if one.column is not None)
        return (*row[len(run.columns) :], *shown)

    return key(longer.rows[count - 1]) == key(longer.rows[count])
