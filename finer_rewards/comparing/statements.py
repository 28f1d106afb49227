"""Reading from a statement's text whether it drops repeated rows, asks for a greatest value, or shows only constants.

Like `ordering.py`, a scan of the tokens: it needs no package, and its time grows only with the length of the text.
"""

from __future__ import annotations

from functools import lru_cache

from finer_rewards.comparing.ordering import tokens_of

_AGGREGATES = frozenset(
    (
        "avg", "count", "group_concat", "json_group_array", "json_group_object", "max", "min", "string_agg",
        "sum", "total",
    )
)  # fmt: skip
_LIST_ENDS = frozenset(("from", "where", "group", "having", "order", "limit", "union", "intersect", "except"))
_CONSTANT_WORDS = frozenset(
    (
        "all", "and", "as", "between", "case", "cast", "distinct", "else", "end", "false", "glob", "in", "is", "isnull",
        "like", "not", "notnull", "null", "or", "then", "true", "when",
    )
)  # fmt: skip
_BEST = frozenset(("=", "(", "select", best, "(") for best in ("max", "min"))


@lru_cache(maxsize=4096)
def drops_repeats(sql: str) -> bool:
    """Whether a statement says DISTINCT, or groups without an aggregate, which has the same effect.

    Example:
        >>> drops_repeats("SELECT DISTINCT a FROM t"), drops_repeats("SELECT a FROM t GROUP BY a")
        (True, True)
        >>> drops_repeats("SELECT COUNT(DISTINCT a) FROM t"), drops_repeats("SELECT a, COUNT(*) FROM t GROUP BY a")
        (False, False)
    """
    words = _words(sql, depth=0)
    pairs = list(zip(words, [*words[1:], ""], strict=True))
    if ("select", "distinct") in pairs:
        return True
    return ("group", "by") in pairs and not any(word in _AGGREGATES and after == "(" for word, after in pairs)


@lru_cache(maxsize=4096)
def asks_for_best(sql: str) -> bool:
    """Whether the WHERE or HAVING of the statement itself has a condition `= (SELECT MAX(...) ...)`, or MIN.

    Example:
        >>> asks_for_best("SELECT name FROM t WHERE age = (SELECT MAX(age) FROM t) AND sex = 'F'")
        True
        >>> asks_for_best("SELECT name FROM t WHERE id IN (SELECT id FROM u WHERE age = (SELECT MAX(age) FROM u))")
        False
    """
    words = _words(sql, depth=1)
    start = next((i for i, word in enumerate(words) if word in ("where", "having")), len(words))
    return any(tuple(words[i : i + 5]) in _BEST for i in range(start, len(words)))


@lru_cache(maxsize=4096)
def limits_to_one(sql: str) -> bool:
    """Whether a statement ends in LIMIT 1.

    Example:
        >>> limits_to_one("SELECT name FROM t ORDER BY age DESC LIMIT 1;"), limits_to_one("SELECT 1 FROM t")
        (True, False)
    """
    return [word for word in _words(sql, depth=0) if word != ";"][-2:] == ["limit", "1"]


@lru_cache(maxsize=4096)
def shows_constants(sql: str) -> bool:
    """Whether all that a statement shows is constant: nothing in its select list is read from a table.

    Example:
        >>> shows_constants("SELECT 6, upper('x') AS n FROM t"), shows_constants("SELECT 1 UNION SELECT a FROM t")
        (True, False)
        >>> shows_constants("SELECT COUNT(*) FROM t"), shows_constants("SELECT (SELECT a FROM t)")
        (False, False)
    """
    listing, after_as, shown = False, False, False
    before = ""
    found = tokens_of(sql[:200_000])
    for (kind, text, depth), (_, following, _) in zip(found, [*found[1:], ("", "", 0)], strict=False):
        word = text.lower() if kind in ("word", "mark", "number") else f"({kind})"
        if kind == "word" and depth == 0 and word in ("select", "values", "with", *_LIST_ENDS):
            if word in ("values", "with"):
                return False
            listing = word == "select"
            shown = shown or listing
        elif listing and kind != "mark" and kind != "number" and kind != "text" and not after_as:
            call = following == "(" and word not in _AGGREGATES
            alias = before in (")", "(text)", "end") or before[:1].isdigit()
            if kind != "word" or not (call or alias or word in _CONSTANT_WORDS):
                return False
        elif listing and word == "*" and before in ("select", "distinct", ",", "(", "."):
            return False
        after_as = word == "as"
        before = word
    return shown


def _words(sql: str, depth: int) -> list[str]:
    """Return the words, marks and numbers that stand in at most this many parentheses; names and texts become ""."""
    return [
        text.lower() if kind in ("word", "mark", "number") else ""
        for kind, text, inside in tokens_of(sql[:200_000])
        if inside <= depth
    ]
