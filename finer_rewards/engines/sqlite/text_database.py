"""Making a database that is given as text, CREATE and INSERT statements, inside a worker and under a query's limits.

The statements run in memory, where they may make, fill and read tables, indexes and views, and nothing else: no other
file is opened, and a PRAGMA does nothing. The database goes back to `SQLite` as the bytes of a file.
"""

from __future__ import annotations

import sqlite3
import sys

from finer_rewards.engines.sqlite.serialising import serialised
from finer_rewards.executing.worker import Answer, Budget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes that a database made of text may take.
LARGEST = 64 << 20
_PAGE = 4096
# The actions that SQLite asks an authorizer about, by their numbers.
_FUNCTION, _PRAGMA = 31, 19
_ALLOWED = frozenset(
    (
        1,  # CREATE INDEX
        2,  # CREATE TABLE
        8,  # CREATE VIEW
        9,  # DELETE
        10,  # DROP INDEX
        11,  # DROP TABLE
        17,  # DROP VIEW
        18,  # INSERT
        20,  # READ
        21,  # SELECT
        22,  # BEGIN, COMMIT, ROLLBACK
        23,  # UPDATE
        26,  # ALTER TABLE
        27,  # REINDEX, which CREATE INDEX does
        32,  # SAVEPOINT
        33,  # recursive SELECT
    )
)
_ALLOW, _DENY, _IGNORE = 0, 1, 2


def build_database(
    text: str, settings: dict[str, Any], timeout: float, allowance: float, forbidden: frozenset[str]
) -> Answer:
    """Return an answer with the bytes of the database that the statements make, or with the reason why they fail.

    Args:
        text: the statements.
        settings: the settings of the worker.
        timeout: seconds that they may take.
        allowance: CPU seconds that they may take.
        forbidden: functions that they may not call.
    """
    budget = Budget(timeout, allowance)
    content = b""
    try:
        raw = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
        try:
            content = _content(raw, text, settings, budget, forbidden)
        finally:
            raw.close()
        status, message = ("ok", "") if content else ("failed", "the statements make no table")
    except (sqlite3.Error, sqlite3.Warning, MemoryError, UnicodeError, ValueError, OverflowError) as error:
        status, message = "failed", str(error) or "out of memory"
        if budget.over:
            status, message = "timeout", f"interrupted after {budget.over}"
    return status, (), [content] if content else [], 0.0, message, False, None, "", 0


def _content(
    raw: sqlite3.Connection, text: str, settings: dict[str, Any], budget: Budget, forbidden: frozenset[str]
) -> bytes:
    raw.execute(f"PRAGMA page_size={_PAGE}")
    raw.execute(f"PRAGMA max_page_count={LARGEST // _PAGE}")
    raw.execute("PRAGMA temp_store=2")
    if sys.version_info >= (3, 11):
        for category, limit in settings["limits"]:
            # Category 1 limits the length of a query, and these are many statements.
            if category != 1:
                raw.setlimit(category, limit)
    trusted = False

    def authorize(action: int, _first: str | None, second: str | None, *_: str | None) -> int:
        if trusted or action in _ALLOWED:
            return _ALLOW
        if action == _FUNCTION:
            return _DENY if (second or "").lower() in forbidden else _ALLOW
        return _IGNORE if action == _PRAGMA else _DENY

    raw.set_authorizer(authorize)
    raw.set_progress_handler(lambda: budget.left() <= 0, 1000)
    raw.executescript(text)
    # From here on the worker's own statements run.
    trusted = True
    if raw.in_transaction:
        # The text has a BEGIN without a COMMIT.
        raw.execute("COMMIT")
    (tables,) = raw.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()
    return serialised(raw) if tables else b""
