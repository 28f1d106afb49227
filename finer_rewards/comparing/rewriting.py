"""The changes that published evaluators make to a query's text before they run it; `Mode.prepare` calls this."""

from __future__ import annotations

import re
from functools import lru_cache, partial

from finer_rewards._util.sql_text import outside_quotes

# The lexer takes 50 µs a token; a longer text is no honest query and is left as it is.
_LONGEST = 20_000
# Only a text with one of these would be changed (a second statement, DISTINCT), so only such a text is lexed.
_CONCERNED = re.compile(r";|distinct|\bgo\b", re.IGNORECASE)
_DISTINCT = re.compile(r"\bdistinct\b", re.IGNORECASE)
_CURRENT_YEAR = re.compile(r"YEAR\s*\(\s*CURDATE\s*\(\s*\)\s*\)\s*", re.IGNORECASE)


def rewrite(sql: str, rewriting: str) -> str:
    """Return the statement that is run in place of this one.

    Args:
        sql: the statement as written.
        rewriting: `none`; `repair` joins `> =`, `< =` and `! =` and puts 2020 for YEAR(CURDATE());
            `repair_and_drop_distinct` also strips every DISTINCT and all but the first statement of a
            text of at most 20,000 characters; `drop_distinct` does nothing but strip every DISTINCT.

    Example:
        >>> rewrite("SELECT count(DISTINCT a) FROM t WHERE b > = 2", "repair_and_drop_distinct")
        'SELECT count( a) FROM t WHERE b >= 2'
    """
    if rewriting == "none":
        return sql
    if rewriting == "drop_distinct":
        return outside_quotes(sql, partial(_DISTINCT.sub, ""))
    for broken, joined in (("> =", ">="), ("< =", "<="), ("! =", "!=")):
        sql = sql.replace(broken, joined)
    if rewriting == "repair_and_drop_distinct":
        sql = _first_statement_without_distinct(sql)
    return _CURRENT_YEAR.sub("2020", sql)


@lru_cache(maxsize=4096)
def _first_statement_without_distinct(sql: str) -> str:
    if len(sql) > _LONGEST or not _CONCERNED.search(sql):
        return sql
    # Imported here, because worker processes import this file and have no packages.
    from sqlparse.engine import FilterStack

    # Lex and split without grouping: the tokens are the same, and hostile nesting cannot cause deep recursion.
    statement = next(iter(FilterStack().run(sql)), None)  # type: ignore[no-untyped-call]
    if statement is None:
        return ""
    return "".join(token.value for token in statement.flatten() if token.value.lower() != "distinct")
