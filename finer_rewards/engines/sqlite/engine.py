"""SQLite's record for the registry: it takes every file and folder that no other engine claims."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial

from finer_rewards.engines.engine import Check, Engine, Fact, changes_fact, files_at
from finer_rewards.engines.sqlite.executor import SQLite
from finer_rewards.engines.sqlite.files import SUFFIXES

_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
# One long step inside SQLite, which no interrupt stops.
_LONG_STEP = "SELECT instr(hex(zeroblob(400000)), hex(zeroblob(200000)) || '1') FROM t"


# From docs/engines/differences.md, whose script runs the versions: what older versions than these do differently.
_CHANGES = {
    "3.43": "sums of floats end in other digits, and ROUND(2.675, 2) is 2.68",
    "3.44": "no CONCAT",
    "3.46": "date('2023-02-29') is itself, and ->> 'x.y' is a path",
    "3.53": "a REAL as text has 15 digits",
}


def _facts() -> Sequence[Fact]:
    limits = hasattr(sqlite3.Connection, "setlimit")
    return (
        Fact("SQLite", True, f"SQLite {sqlite3.sqlite_version}, threads {sqlite3.threadsafety}"),
        changes_fact("SQLite", sqlite3.sqlite_version, _CHANGES),
        Fact(
            "length limits",
            limits,
            "available" if limits else "not in this Python; memory and time limits still hold",
            "Use Python 3.11 or later.",
        ),
    )


SQLITE = Engine(
    "sqlite",
    SQLite,
    owns=lambda place: True,
    look=partial(files_at, suffixes=SUFFIXES),
    suffixes=SUFFIXES,
    facts=_facts,
    checks=(
        Check("a query runs", "SELECT sum(x) FROM t", "ok"),
        Check("an endless query ends", _ENDLESS, "timeout"),
        Check("a long step ends", _LONG_STEP, "timeout"),
        Check("writing is refused", "DELETE FROM t", "refused"),
        Check("attaching is refused", "ATTACH 'other.sqlite' AS other", "refused"),
    ),
)
