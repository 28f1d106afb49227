"""Finding out whether a SQLite query reads the clock, by the arguments of its date functions; used by `worker.py`.

`date('now')` reads it and `date(born)` does not. A query that reads the clock is volatile: it may have another result
tomorrow, and is not kept in a cache. A pattern over the text finds the suspects; these run once more with the date
functions replaced by ones that look at their arguments.
"""

from __future__ import annotations

import re
import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: The functions that read the clock if an argument says so, or if there is none.
DATE_FUNCTIONS = frozenset(("date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff"))
#: A query with a date function reads the clock only if one of these is in its text: a literal with `now`, a call
#: without arguments, or something that could put such a literal together (concatenation, escapes, text functions).
_SUSPECT = re.compile(
    r"""(?ix) ['"][^'"]*now[^'"]*['"] | ['"](?:n|no|o|ow|w)['"] | subsec
    | \b(?:date|time|datetime|julianday|unixepoch)\s*\(\s*\) | \bstrftime\s*\(\s*(?:'[^']*'|"[^"]*")\s*\)
    | '[^']*' \s*\|\|\s* ' | "(?:n|no|ow|w)" \s*\|\| | \bx' | \\u00 | ->
    | \b(?:json\w*|group_concat|string_agg)\s*\(
    | \b(?:char|lower|upper|replace|substr|substring|trim|ltrim|rtrim|unhex|printf|format|concat|concat_ws|reverse)
      \s*\(\s* (?:'[^']*'|\d+) (?:\s*,\s*(?:'[^']*'|\d+))* \s*\)"""
)
# As a first argument, "subsec" and "subsecond" mean the present time too.
_NOW = frozenset(("now", "subsec", "subsecond"))


def may_read_clock(text: str) -> bool:
    """Whether a query or view that calls a date function may read the clock, judged by its text."""
    return _SUSPECT.search(text) is not None


def reads_clock(uri: str, sql: str, rows: int, late: Callable[[], bool]) -> bool:
    """Run a query once more and look at the arguments of its date functions; true when one reads the clock.

    Also true when the second run fails, so that nobody can tell. A literal elsewhere, as in `title = 'now'`, does not
    count.

    Args:
        uri: the URI that opens the database.
        sql: a query that ran.
        rows: how many rows of it were fetched.
        late: says whether its time is over.
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
    """Whether a date function reads the clock when called with these values."""
    times = values[1:] if name == "strftime" else values
    if not times:
        return True
    for value in times[: 2 if name == "timediff" else 1]:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        if text.partition("\0")[0].lower() in _NOW:
            return True
    return False
