"""Finds gold queries that cannot be used, before a training run pays for them (`check`, `prepare`, `preflight`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from finer_rewards._neighbours.sandbox import SandboxExecutor
from finer_rewards._neighbours.storage_order import hang_on_order
from finer_rewards._util.sql_text import normalise
from finer_rewards.comparing import compare
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.executing import Executor, Query
from finer_rewards.executing.right_results import CUTS_TIES
from finer_rewards.types import Execution, Status

#: The kinds of findings, and what each says of the gold.
KINDS: Final = {
    "no_database": "its database is missing or unreadable",
    "fails": "the database rejects it",
    "times_out": "it runs past the time limit",
    "writes": "it does something other than read",
    "no_query": "it is not one query that returns rows",
    "too_large": "its result is past the limits",
    "empty": "its result has no rows, which proves nothing",
    "null_only": "its result is nothing but NULL, which proves next to nothing",
    "not_reproducible": "it reads the clock or draws random values",
    "tied": "its LIMIT cuts through a tie, so that other results are as right",
    "order": "its result changes when rows are stored in another order",
    "duplicate": "the same question has the same gold before",
    "contradiction": "the same question has another gold before",
    "misplaced": "the file beside it has another gold or database in its place",
}

_STATUS: Final = {
    Status.unavailable: "no_database",
    Status.database_failed: "no_database",
    Status.failed: "fails",
    Status.timeout: "times_out",
    Status.refused: "writes",
    Status.too_large: "too_large",
}
_BATCH = 64


@dataclass(frozen=True)
class Gold:
    """A gold query, its database, and the question that it answers."""

    sql: str
    db: str
    question: str = ""


@dataclass(frozen=True)
class GoldFinding:
    """A fault of a gold: `kind` is one of `KINDS`, `reason` says more about this gold."""

    kind: str
    reason: str


def audit_golds(
    golds: Sequence[Gold], executor: Executor, *, on_done: Callable[[int], None] | None = None
) -> list[tuple[GoldFinding, ...]]:
    """Return the findings on each gold; none for a gold that can be used.

    A gold is run once as a gold (which finds ties at its LIMIT), once with every scan that no ORDER BY governs
    going backwards, and once on a copy of the database with its rows stored backwards (up to 64 MiB). If its
    results differ, they depend on the order of rows. (The last two runs are on SQLite only.)

    Args:
        golds: the golds to check.
        executor: the executor that knows the databases; the golds run under its limits.
        on_done: is called with the number of golds that were checked since the last call.

    Example:
        >>> import sqlite3, tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> connection = sqlite3.connect(folder / "concert.sqlite")
        >>> _ = connection.executescript("CREATE TABLE singer (name); INSERT INTO singer VALUES ('Joe')")
        >>> connection.close()
        >>> with SQLite(folder) as executor:
        ...     for found in audit_golds([Gold("SELECT nme FROM singer", "concert")], executor):
        ...         print(*found)
        GoldFinding(kind='fails', reason='no such column: nme')
    """
    found: list[list[GoldFinding]] = []
    with ExitStack() as stack:
        sandbox = None
        if isinstance(executor, SQLite):
            sandbox = stack.enter_context(SandboxExecutor(executor.root, timeout=executor.timeout, workers=1))
        for start in range(0, len(golds), _BATCH):
            batch = golds[start : start + _BATCH]
            runs = executor.execute_many([Query(gold.sql, gold.db, keep=True) for gold in batch])
            found += [_in_result(run) for run in runs]
            for index in _in_order(batch, runs, sandbox) if sandbox is not None else ():
                if not found[start + index]:
                    found[start + index].append(GoldFinding("order", "rows in reverse give another result"))
            if on_done is not None:
                on_done(len(batch))
    for index, finding in _repeated(golds).items():
        found[index].append(finding)
    return [tuple(one) for one in found]


def misplaced(golds: Sequence[Gold], others: Sequence[Gold]) -> dict[int, GoldFinding]:
    """Return the places at which two lists, which should hold the same golds, differ.

    Args:
        golds: the golds to check.
        others: the golds of the second file.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, one in enumerate(others, 1):
        places[_same(one.sql)].append(place)
    found = {}
    for index, gold in enumerate(golds):
        other: Gold | None = others[index] if index < len(others) else None
        if other is None:
            found[index] = GoldFinding("misplaced", "the file beside it ends before")
        elif _same(gold.sql) != _same(other.sql):
            near = places.get(_same(gold.sql), [])
            where = f"it stands there in place {near[0]}" if near else f"it has {other.sql!r:.80}"
            found[index] = GoldFinding("misplaced", where)
        elif gold.db and other.db and gold.db != other.db:
            found[index] = GoldFinding("misplaced", f"it names the database {other.db}")
    return found


def _same(sql: str) -> str:
    return "".join(normalise(sql).lower().split())


def _in_result(run: Execution) -> list[GoldFinding]:
    """Return the findings that follow from the result of a gold alone."""
    if not run.ok:
        kind = _STATUS.get(run.status, "no_query")
        return [GoldFinding(kind, run.error or run.status.sentence)]
    if run.truncated:
        return [GoldFinding("too_large", f"it has more than {len(run.rows):,} rows")]
    found = []
    if run.volatile:
        what = "reads the clock" if run.volatile == "clock" else "draws random values"
        found.append(GoldFinding("not_reproducible", f"it {what}"))
    if not run.rows:
        found.append(GoldFinding("empty", "no rows"))
    elif all(cell is None for row in run.rows for cell in row):
        found.append(GoldFinding("null_only", f"{len(run.rows)} row{'s' * (len(run.rows) > 1)} of NULL"))
    if run.ambiguous:
        if run.choices is None or run.choices.why in CUTS_TIES:
            found.append(GoldFinding("tied", "a row left out ties with one let through"))
        else:
            found.append(GoldFinding("order", f"rows in reverse may give another result: {run.choices.why}"))
    return found


def _in_order(golds: Sequence[Gold], runs: Sequence[Execution], sandbox: SandboxExecutor) -> set[int]:
    """Return the indices of the golds whose result changes if rows come in another order."""
    by_db: dict[str, list[int]] = defaultdict(list)
    for index, (gold, run) in enumerate(zip(golds, runs, strict=True)):
        if run.ok and not run.volatile:
            by_db[gold.db].append(index)
    found = set()
    for db, places in by_db.items():
        statements, known = [golds[index].sql for index in places], [runs[index] for index in places]
        hanging = hang_on_order(db, statements, known, sandbox)
        turned = sandbox.in_other_order("permuted", db, statements) or known
        for index, run, other, hangs in zip(places, known, turned, hanging, strict=True):
            differs = other.ok and not compare(run, other, "strict", gold_sql=golds[index].sql).match
            if run.rows and not run.truncated and (hangs or differs):
                found.add(index)
    return found


def _repeated(golds: Sequence[Gold]) -> dict[int, GoldFinding]:
    """Return the golds whose question came before. Equal golds alone say nothing: their questions may differ."""
    first: dict[tuple[str, str], int] = {}
    found = {}
    for index, gold in enumerate(golds):
        question = " ".join(gold.question.lower().split())
        if not question:
            continue
        before = first.setdefault((gold.db, question), index)
        if before != index:
            alike = _same(golds[before].sql) == _same(gold.sql)
            found[index] = GoldFinding("duplicate" if alike else "contradiction", f"see gold {before + 1}")
    return found
