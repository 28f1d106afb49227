"""The tokens of plain SQL for the quick reader (`plain`), and the words that it may not take for names.

A text that is not plain is no error: sqlglot reads it instead.
"""

from __future__ import annotations

import re

from sqlglot import tokens

# A number takes all that touches it, so that `1e5` and `1a` are not read in part. What starts `/*+` is a hint.
_TOKEN = re.compile(
    r"""--[^\n]*|/\*(?!\+)(?s:.)*?\*/|'(?:[^']|'')*'|"[^"]+"(?!")|`[^`]+`(?!`)|[A-Za-z_]\w*|\d[\w.]*"""
    r"""|<>|[<>!=]=|==|\|\||\S"""
)
NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
QUOTES = frozenset('"`')
SIGNS = frozenset(
    {"", "(", ")", ",", ".", "*", "+", "-", "/", "%", "||", "=", "<>", "!=", "<", "<=", ">", ">="}
)

# What sqlglot's tokenizer or parser may take for more than a name.
_MORE_RESERVED = """AT ATTACH AUTO_INCREMENT BULK BY CHANGES CLUSTER CONNECT CONNECT_BY_ROOT DETACH DISTRIBUTE ELSE
GLOB GROUP GROUPING HINT HISTORY IF IGNORE INDEXED INTERVAL MATCH MATCH_RECOGNIZE NEXT NO NULLS OF ONLY ORDER PRIMARY
PRIOR REGEXP RESPECT SAMPLE SEPARATOR SORT START STREAM TIES TOP TRY WAIT WITHIN WITHOUT"""
RESERVED = {word.split()[0] for word in tokens.Tokenizer.KEYWORDS if word[:1].isalpha()}.union(
    _MORE_RESERVED.split()
)
# Types that are also common names of columns; no column only where a text or a bracket follows.
COLUMN_TOO = frozenset(
    {"DATE", "YEAR", "TIME", "FORMAT", "LANGUAGE", "TEXT", "RANGE", "FILE", "NUMBER", "LIST"}
)
ALLOWED_AFTER_TYPE = SIGNS - {"(", "."} | frozenset(
    {"FROM", "AND", "OR", "ASC", "DESC", "LIMIT", "IS", "LIKE", "BETWEEN", "IN"}
)


def plain_tokens(sql: str) -> list[str] | None:
    """Return the tokens of a text without comments and the last semicolon; `None` where sqlglot has to read it.

    Example:
        >>> plain_tokens("SELECT a -- why" + chr(10) + "FROM t;")
        ['SELECT', 'a', 'FROM', 't']
    """
    found: list[str] = _TOKEN.findall(sql)
    if "--" in sql or "/*" in sql:
        comments = [token for token in found if token[:2] in ("--", "/*")]
        if any("/*" in comment[2:] for comment in comments):
            # sqlglot nests comments, SQLite does not.
            return None
        found = [token for token in found if token[:2] not in ("--", "/*")]
    if found and found[-1] == ";":
        found.pop()
    if not sql.isascii() and not all(token.isascii() or token[0] in "'\"`" for token in found):
        return None
    return found
