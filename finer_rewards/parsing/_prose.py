"""Finding queries in running text: where a query begins, and where it ends and an explanation goes on.

A query begins at the start of a line or after a colon, with a keyword all in capitals or all in small letters (a
capitalised word begins a sentence). It ends at its `;`, or at a blank line that is not followed by a further clause.
Nothing is guessed beyond that.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_GAP = re.compile(r"[\s(\ufeff]+")
_WORD = re.compile(r"(?:select|with|values)\b", re.IGNORECASE)
_NAME = r"(?:\"[^\"]*\"|`[^`]*`|\[[^\]]*\]|\w+)"
_START = re.compile(
    r"(?:\A|\n|:[ \t]*\*{0,2})[ \t]*(?P<tick>`?)"
    rf"(?=(?:SELECT|select)\b|(?:WITH|with)\s+(?:(?i:recursive)\s+)?{_NAME}\s*(?:\(|(?i:as)\b)|(?:VALUES|values)\s*\()"
)
# Quoted texts and comments, in which a `;` or a blank line ends nothing; and the signs that may end a query.
_PARTS = re.compile(
    r"'[^']*(?:'|\Z)|\"[^\"]*(?:\"|\Z)|`[^`\n]*`|--[^\n]*|/\*.*?(?:\*/|\Z)|[();]|\n[ \t\r]*\n\s*", re.DOTALL
)
# Words with which a further paragraph of a query begins (_GOES_ON), and endings of a paragraph that is not the last of
# its query (_IS_OPEN).
_CLAUSE = (
    "FROM|WHERE|GROUP|ORDER|HAVING|LIMIT|OFFSET|UNION|INTERSECT|EXCEPT|JOIN|LEFT|RIGHT|INNER|CROSS|FULL|NATURAL|ON|AND"
    "|OR|WINDOW|WHEN|ELSE|END"
)
_GOES_ON = re.compile(rf"[(),]|--|/\*|(?:{_CLAUSE}|{_CLAUSE.lower()})\b")
_IS_OPEN = re.compile(
    r"(?:[,(=<>+*/|-]|\b(?:SELECT|DISTINCT|FROM|WHERE|BY|HAVING|LIMIT|UNION|ALL|INTERSECT|EXCEPT|JOIN|ON|AND|OR|NOT|IN|AS"
    r"|WITH|CASE|THEN|ELSE))\Z",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"--[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_BLANK = re.compile(r"\n[ \t\r]*\n")
_LONGEST_LEAD = 400
_TAG = re.compile(r"[<＜]/?\w|\[/?[A-Za-z]\w*\]")


class ProseQuery(NamedTuple):
    """A query in running text, with the text before and after it.

    `after` begins with `;` if it goes on in the same line as the query's own `;`.
    """

    before: str
    sql: str
    after: str


def find_query(text: str) -> ProseQuery | None:
    """Return the first query of a text, or `None`.

    Only a sentence or two may stand before it; after a longer text, or one with tags, no query is looked for.

    Example:
        >>> find_query("The query is: SELECT 1;\\n\\nIt returns one row.")
        ProseQuery(before='The query is:', sql='SELECT 1', after='It returns one row.')
        >>> find_query("I would select the names.")
    """
    start, tick, word = 0, "", first_word(text)
    first = _WORD.match(text, word)
    # "With this in mind: ..." is a sentence, if a query follows.
    if first is None or first.group().istitle():
        found = _START.search(text)
        if found and (found.end() > _LONGEST_LEAD or _TAG.search(text[: found.end()])):
            found = None
        if found is None and first is None:
            return None
        if found is not None:
            start, tick, word = found.end(), found["tick"], found.end()
    end, rest = _end(text, word, tick, depth=text.count("(", start, word))
    after = text[rest:].strip()
    if after and text[end:rest] == ";" and not text[rest:].lstrip(" \t\r").startswith("\n"):
        after = f"; {after}"
    return ProseQuery(text[:start].rstrip("`* \t\r\n"), text[start:end].strip(), after)


def distinct_queries(text: str) -> int:
    """Return how many different queries a text has, at most 2; queries that differ only in white space count once.

    Example:
        >>> distinct_queries("SELECT a FROM t; Or, if b is meant: SELECT b FROM t")
        2
        >>> distinct_queries("SELECT a FROM t; SELECT a\\nFROM t; Here SELECT a means that ...")
        1
    """
    if is_one_query(text):
        return 1
    seen: set[str] = set()
    found = find_query(text)
    while found is not None and found.sql and len(seen) < 2:
        # Explanations quote pieces such as `SELECT a`, so after some text only a query with FROM counts.
        if not found.before or re.search(r"\bfrom\b", found.sql, re.IGNORECASE):
            seen.add(" ".join(found.sql.split()))
        found = find_query(found.after.lstrip("; "))
    return len(seen)


def is_one(text: str) -> bool:
    """Return whether a text that begins with a query has nothing that could end it, except a final `;`."""
    end = text.find(";") + 1
    return not (end and text[end:].strip()) and ("\n" not in text or _BLANK.search(text) is None)


def is_one_query(text: str) -> bool:
    """Return whether a text is certainly one query and nothing else; false may also mean that it is not certain.

    Example:
        >>> is_one_query("SELECT 1;"), is_one_query("With this in mind: SELECT 1")
        (True, False)
    """
    first = _WORD.match(text, first_word(text))
    return first is not None and not first.group().istitle() and is_one(text)


def begins_query(text: str) -> bool:
    """Return whether the first word of a text is SELECT, WITH or VALUES."""
    return _WORD.match(text, first_word(text)) is not None


def first_word(text: str) -> int:
    """Return the place of the first word, after white space, brackets and comments."""
    # True of nearly every text, and this function is called several times for each.
    if text[:1].isalpha():
        return 0
    at = 0
    while True:
        gap = _GAP.match(text, at)
        at = gap.end() if gap else at
        for opening, closing in (("--", "\n"), ("/*", "*/")):
            if text.startswith(opening, at):
                end = text.find(closing, at + 2)
                at = len(text) if end < 0 else end + len(closing)
                break
        else:
            return at


def _end(text: str, start: int, tick: str, depth: int) -> tuple[int, int]:
    """Return where the query that begins at `start` ends, and where the text after it begins."""
    if tick:
        # The query stands between backticks, which may also quote names in it: the paragraph's last one closes it.
        paragraph = text.find("\n\n", start)
        end = text.rfind("`", start, paragraph if paragraph >= 0 else len(text))
        end = end if end > start else text.rfind("`", start)
        return (end, end + 1) if end > start else (len(text), len(text))
    for part in _PARTS.finditer(text, start):
        what = part.group()
        if what == ";":
            return part.start(), part.end()
        if what in "()":
            depth += 1 if what == "(" else -1
        elif what[0] == "\n" and depth <= 0 and not _GOES_ON.match(text, part.end()):
            before = _COMMENT.sub("", text[max(start, part.start() - 300) : part.start()]).rstrip()
            if not (_IS_OPEN.search(before) or (before.endswith(")") and _WORD.match(text, part.end()))):
                return part.start(), part.end()
    return len(text), len(text)
