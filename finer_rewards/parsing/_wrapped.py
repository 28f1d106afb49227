"""Finding a query inside a JSON object, a tag of any name, or a pair of backticks in a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice

from finer_rewards.parsing._prose import begins_query

_CLOSING = re.compile(r"</([A-Za-z][\w-]*)>|\[/([A-Za-z][\w-]*)\]")
_LABEL = re.compile(r"\A\s*```\w*\s|```\s*\Z")
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
# The most tags, pieces of code or JSON values that are looked at.
_MOST = 50


def wrapped_query(text: str) -> str | None:
    """Return the only query that a text wraps in one of these ways; `None` if there is none, or several different ones.

    Example:
        >>> wrapped_query('{"reasoning": "Count them.", "sql": "SELECT COUNT(*) FROM t"}')
        'SELECT COUNT(*) FROM t'
        >>> wrapped_query("[SQL] SELECT a FROM t [/SQL]"), wrapped_query("It is `SELECT a FROM t`.")
        ('SELECT a FROM t', 'SELECT a FROM t')
        >>> wrapped_query("It is `SELECT a FROM t` or `SELECT b FROM t`.")
    """
    for found in (_in_json(text), _in_tags(text), _in_code(text)):
        queries = {
            " ".join(query.split()): query.strip() for query in islice(found, _MOST) if begins_query(query)
        }
        if queries:
            return next(iter(queries.values())) if len(queries) == 1 else None
    return None


def _in_json(text: str) -> Iterator[str]:
    """Yield all texts in the first JSON object, however deeply nested."""
    start = text.find("{")
    if start < 0:
        return
    try:
        # Not strict, because models write line breaks within a JSON text.
        waiting = [json.JSONDecoder(strict=False).raw_decode(text, start)[0]]
    except (ValueError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _in_tags(text: str) -> Iterator[str]:
    lower = text.lower()
    for closing in islice(_CLOSING.finditer(text), _MOST):
        opening = closing.group().lower().replace("/", "")
        start = lower.rfind(opening, 0, closing.start())
        if start >= 0:
            yield _LABEL.sub("", text[start + len(opening) : closing.start()])


def _in_code(text: str) -> Iterator[str]:
    """Yield code between backticks that has FROM; without it, it is a piece of a query that an explanation quotes."""
    return (code for code in _CODE.findall(text) if re.search(r"\bfrom\b", code, re.IGNORECASE))
