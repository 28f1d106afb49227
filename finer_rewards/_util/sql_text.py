"""Reads SQL as text: which parts are quoted or comments, and where a statement ends.

It scans and does not parse, so it needs no package, cannot recurse, and takes linear time on hostile text: a quote or
a comment that is never closed reaches to the end. It does not know quotes of single dialects (dollar quotes,
backslashes).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

# Regular expressions for use with `re.DOTALL`. Brackets quote names in SQLite; elsewhere they are subscripts.
_LITERAL = r"'[^']*(?:''[^']*)*(?:'|\Z)"
_NAME = r'"[^"]*(?:""[^"]*)*(?:"|\Z)|`[^`]*(?:``[^`]*)*(?:`|\Z)'
_BRACKETS = r"\[[^\]]*(?:\]|\Z)"
QUOTED_ANYWHERE = f"{_LITERAL}|{_NAME}"
QUOTED = f"{QUOTED_ANYWHERE}|{_BRACKETS}"
COMMENT = r"--[^\n]*|/\*.*?(?:\*/|\Z)"

_ENDS = " \t\n\f\r;"
_SPACES = re.compile(rf"({QUOTED})|[ \t\n\f\r]{{2,}}|[\t\n\f\r]")
_ASIDE = re.compile(rf"({QUOTED})|(?:{COMMENT}|\s)+", re.DOTALL)
# Marks that spaces may stand around.
_MARKS = "(),=<>"
_QUOTED = re.compile(f"({QUOTED})")
_OPAQUE = re.compile(f"{QUOTED}|{COMMENT}", re.DOTALL)
_SEPARATOR = re.compile(f"{QUOTED}|{COMMENT}|(;)", re.DOTALL)
_TOKEN = re.compile(
    rf"""(?P<space>\s+|{COMMENT})
      | (?P<text>{_LITERAL})
      | (?P<quoted>{_NAME}|{_BRACKETS})
      | (?P<word>[^\W\d][\w$]*)
      | (?P<number>\d+(?:\.\d*)?|\.\d+)
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)


def normalise(sql: str) -> str:
    """Return the statement without white space around it, the `;` at its end, and runs of spaces.

    Text in quotes is left alone; if there may be a comment, all of the text is.

    Example:
        >>> normalise("  SELECT 'a  b',\\n   x FROM t ; ")
        "SELECT 'a  b', x FROM t"
    """
    sql = sql.strip(_ENDS)
    if "--" in sql or "/*" in sql or not ("  " in sql or "\n" in sql or "\t" in sql):
        return sql
    return _SPACES.sub(lambda found: found.group(1) or " ", sql)


def without_comments(sql: str) -> str:
    """Return the text with one space for each run of comments and white space outside quotes.

    Example:
        >>> without_comments("SELECT '--', a -- why" + chr(10) + "FROM t")
        "SELECT '--', a FROM t"
    """
    return _ASIDE.sub(lambda found: found.group(1) or " ", sql)


def one_line(sql: str) -> str:
    """Return the text on one line: without comments, and with spaces for the line breaks within quotes."""
    return " ".join(without_comments(sql).splitlines()).strip()


def bare(sql: str) -> str:
    """Return the text with `''` for everything quoted and for each comment.

    Example:
        >>> bare("SELECT ';' FROM [a b]")
        "SELECT '' FROM ''"
    """
    return _OPAQUE.sub("''", sql)


def outside_quotes(sql: str, change: Callable[[str], str]) -> str:
    """Return the text with `change` applied to each piece between quoted ones.

    Example:
        >>> outside_quotes("Select 'A' From T", str.lower)
        "select 'A' from t"
    """
    pieces = _QUOTED.split(sql)
    pieces[::2] = map(change, pieces[::2])
    return "".join(pieces)


def folded(sql: str) -> str:
    """Return the text without differences of case and spaces that SQLite ignores; comments stay.

    Example:
        >>> folded("SELECT Name FROM singer WHERE  Country = 'Italy';")
        "select name from singer where country='Italy'"
    """
    sql = normalise(sql)
    return sql if "--" in sql or "/*" in sql else outside_quotes(sql, _fold).strip()


def _fold(piece: str) -> str:
    piece = piece.lower()
    # Faster than one regular expression, and every prediction that matches comes here.
    for mark in _MARKS:
        if mark in piece:
            piece = piece.replace(f" {mark}", mark).replace(f"{mark} ", mark)
    return piece


def split_statements(text: str) -> list[str]:
    """Return the statements of a text, split at each `;` outside quotes and comments, brackets or not.

    White space around them is cut off, and comments after the last `;` are dropped. A `;` that is alone on
    its line is an empty statement. Brackets are ignored, so that a statement with an open bracket does not swallow
    the statements after it.

    Example:
        >>> split_statements("-- first\\nSELECT ';';\\nSELECT (2; SELECT 3 -- end")
        ["-- first\\nSELECT ';'", 'SELECT (2', 'SELECT 3 -- end']
    """
    pieces: list[str] = []
    start = 0
    for match in _SEPARATOR.finditer(text):
        if match.group(1):
            piece = text[start : match.start()]
            if piece.strip() or start == 0 or "\n" in piece:
                pieces.append(piece.strip())
            start = match.end()
    rest = text[start:].strip()
    return [*pieces, rest] if without_comments(rest).strip() else pieces


def tokens(sql: str) -> Iterator[tuple[str, str]]:
    """Yield the tokens as (kind, text), without white space and comments.

    Kinds: `text` (a literal), `name` (a quoted name, without its quotes), `word`, `number`, `mark`.

    Example:
        >>> list(tokens('SELECT "a b", 1.5'))
        [('word', 'SELECT'), ('name', 'a b'), ('mark', ','), ('number', '1.5')]
    """
    for match in _TOKEN.finditer(sql):
        kind, text = match.lastgroup or "mark", match.group()
        if kind == "quoted":
            yield "name", text[1:-1]
        elif kind != "space":
            yield kind, text
