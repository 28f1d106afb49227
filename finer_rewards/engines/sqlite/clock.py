"""Whether a query of SQLite reads the clock: told by what its date functions are given; a part of `worker.py`."""

from __future__ import annotations

import re
import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: The functions that read the clock where an argument says so.
DATE_FUNCTIONS = frozenset(("date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff"))
#: What stands in the text of a query with a date function that reads the clock, openly or not.
_SUSPECT = re.compile(
    r"""(?ix) ['"][^'"]*now[^'"]*['"] | ['"](?:n|no|o|ow|w)['"] | subsec
    | \b(?:date|time|datetime|julianday|unixepoch)\s*\(\s*\) | \bstrftime\s*\(\s*(?:'[^']*'|"[^"]*")\s*\)
    | '[^']*' \s*\|\|\s* ' | "(?:n|no|ow|w)" \s*\|\| | \bx' | \\u00 | ->
    | \b(?:json\w*|group_concat|string_agg)\s*\(
    | \b(?:char|lower|upper|replace|substr|substring|trim|ltrim|rtrim|unhex|printf|format|concat|concat_ws|reverse)
      \s*\(\s* (?:'[^']*'|\d+) (?:\s*,\s*(?:'[^']*'|\d+))* \s*\)"""
)
_NOW = frozenset(("now", "subsec", "subsecond"))  # the latter two alone stand for `now` and themselves


def may_read_clock(text: str) -> bool:
    """Whether the text of a query or view that calls a date function is worth a closer look."""
    return _SUSPECT.search(text) is not None


def reads_clock(uri: str, sql: str, rows: int, late: Callable[[], bool]) -> bool:
    """Run a query once more, its date functions watched; true when one reads the clock, or nobody can tell.

    A literal beside a date function, as in `title = 'now'`, is no clock; one that is put together is.

    Args:
        uri: how the database is opened.
        sql: a query that ran.
        rows: how many rows of it were fetched.
        late: whether its time is over.
    """
    plain = sqlite3.connect(":memory:")
    watched = sqlite3.connect(uri, uri=True, isolation_level=None, cached_statements=0)
    seen = False

    def watch(name: str) -> Callable[..., Any]:
        def call(*values: Any) -> Any:
            nonlocal seen
            if _reads(name, values):
                seen = True
                raise ValueError
            marks = ", ".join("?" * len(values))
            return plain.execute(f"SELECT {name}({marks})", values).fetchone()[0]

        return call

    try:
        watched.text_factory = bytes
        watched.execute("PRAGMA query_only=1")
        watched.set_progress_handler(late, 1000)
        for name in DATE_FUNCTIONS:
            watched.create_function(name, -1, watch(name), deterministic=True)
        watched.execute(sql).fetchmany(rows)
    except (sqlite3.Error, UnicodeError, MemoryError):
        return True
    finally:
        watched.close()
        plain.close()
    return seen


def _reads(name: str, values: tuple[object, ...]) -> bool:
    """Whether a date function reads the clock when it is given these."""
    times = values[1:] if name == "strftime" else values
    if not times:
        return True
    for value in times[: 2 if name == "timediff" else 1]:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        if text.partition("\0")[0].lower() in _NOW:
            return True
    return False
