"""Reading from the text of a query whether and by what its rows are ordered.

An ORDER BY orders the result exactly when it stands outside every parenthesis, string and comment. So a scan of the
tokens is enough; a parser would need a package, and could recurse deeply or take long on hostile text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from finer_rewards._util.sql_text import tokens

_ENDS_ORDER_BY = frozenset({"limit", "offset", "fetch", "for", "window"})
_ENDS_SELECT_LIST = frozenset(
    {"from", "where", "group", "having", "window", "union", "intersect", "except", "order", "limit"}
)
_SET_OPERATIONS = frozenset({"union", "intersect", "except"})
_MAX_CHARACTERS = 200_000


@dataclass(frozen=True, slots=True)
class Ordering:
    """The top-level ORDER BY of a query.

    Args:
        present: whether there is one.
        terms: its sort expressions, normalised (lower case, no spaces, no ASC or DESC).
        selected: for each result column, the names its expression goes by (alias, expression, last
            part of a qualified name); empty when the select list cannot be read, as with a star.
    """

    present: bool
    terms: tuple[str, ...] = ()
    selected: tuple[frozenset[str], ...] = ()

    def positions(self, columns: Sequence[str] | None = None) -> tuple[int, ...] | None:
        """Return the result columns that are the sort keys, or `None` when a key is not among them.

        Args:
            columns: names of the result columns, where known; they serve `SELECT *`.

        Example:
            >>> ordering_of("SELECT a, b FROM t ORDER BY b DESC, 1").positions()
            (1, 0)
            >>> ordering_of("SELECT a FROM t ORDER BY b").positions() is None
            True
        """
        if not self.present or not self.terms:
            return None
        found = [self._position(term, columns) for term in self.terms]
        return None if None in found else tuple(position for position in found if position is not None)

    def _position(self, term: str, columns: Sequence[str] | None) -> int | None:
        if term.isdigit():
            return int(term) - 1 if int(term) > 0 else None
        names = self.selected or tuple(frozenset({_fold(name)}) for name in columns or ())
        hits = [index for index, known in enumerate(names) if term in known]
        if not hits and "." in term:
            # `ORDER BY t.a` means the column written `a`, but not the one written `u.a`.
            bare = term.rpartition(".")[2]
            hits = [i for i, known in enumerate(names) if bare in known and not any("." in n for n in known)]
        return hits[0] if len(hits) == 1 else None


NO_ORDERING = Ordering(False)


def _fold(text: str) -> str:
    return re.sub(r"\s+", "", text).lower()


def tokens_of(sql: str) -> list[tuple[str, str, int]]:
    """Return the tokens as (kind, text, depth of parentheses), without spaces and comments; names lose their quotes."""
    found = []
    depth = 0
    for kind, text in tokens(sql):
        if text == ")":
            depth -= 1
        found.append((kind, text, depth))
        if text == "(" and kind == "mark":
            depth += 1
    return found


def _text(tokens: Sequence[tuple[str, str, int]]) -> str:
    return "".join(text if kind == "text" else text.lower() for kind, text, _ in tokens)


def _split(tokens: Sequence[tuple[str, str, int]]) -> list[list[tuple[str, str, int]]]:
    """Split at the commas outside parentheses."""
    parts: list[list[tuple[str, str, int]]] = [[]]
    for token in tokens:
        if token[1] == "," and token[2] == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _names(tokens: list[tuple[str, str, int]]) -> frozenset[str] | None:
    """Return the names by which one result column can be meant; `None` for a star, which is any number of columns."""
    if not tokens or (tokens[-1][1] == "*" and (len(tokens) == 1 or tokens[-2][1] == ".")):
        return None
    names = set()
    expression = tokens
    if len(tokens) > 2 and tokens[-2][1].lower() == "as":
        names.add(tokens[-1][1].lower())
        expression = tokens[:-2]
    elif (
        len(tokens) > 1
        and tokens[-1][0] in ("word", "name", "text")
        and (tokens[-2][0] in ("word", "name", "number", "text") or tokens[-2][1] == ")")
    ):
        names.add(tokens[-1][1].lower())
        expression = tokens[:-1]
    names.add(_text(expression))
    if len(expression) >= 3 and expression[-2][1] == "." and all(t[0] != "mark" for t in expression[::2]):
        names.add(expression[-1][1].lower())
    return frozenset(names)


@lru_cache(maxsize=4096)
def ordering_of(sql: str | None) -> Ordering:
    """Return the top-level ORDER BY of a query; without a text, none.

    Example:
        >>> ordering_of("SELECT a FROM t WHERE x IN (SELECT x FROM u ORDER BY y)").present
        False
        >>> ordering_of("SELECT a FROM t -- order by\\nORDER BY a").terms
        ('a',)
    """
    if not sql:
        return NO_ORDERING
    tokens = tokens_of(sql[:_MAX_CHARACTERS])
    words = [text.lower() if kind == "word" and depth == 0 else "" for kind, text, depth in tokens]
    start = next(
        (i for i in range(len(words) - 2, -1, -1) if words[i] == "order" and words[i + 1] == "by"), None
    )
    if start is None:
        return NO_ORDERING
    stop = next((i for i in range(start + 2, len(words)) if words[i] in _ENDS_ORDER_BY), len(words))
    terms = [_term(part) for part in _split([t for t in tokens[start + 2 : stop] if t[1] != ";"])]
    return Ordering(True, tuple(terms), _select_list(tokens[:start], words[:start]))


def _term(tokens: list[tuple[str, str, int]]) -> str:
    """Return a sort expression without ASC, DESC and NULLS FIRST or LAST."""
    words = [token[1].lower() for token in tokens]
    if len(words) > 2 and words[-2] == "nulls":
        tokens, words = tokens[:-2], words[:-2]
    if len(words) > 1 and words[-1] in ("asc", "desc"):
        tokens = tokens[:-1]
    return _text(tokens)


def _select_list(tokens: list[tuple[str, str, int]], words: list[str]) -> tuple[frozenset[str], ...]:
    """Return the names of each result column; empty when there is a star or no SELECT."""
    # In a set operation (UNION ...) the columns have the names of the first SELECT.
    start = next((i for i, word in enumerate(words) if word == "select"), None)
    if start is None:
        return ()
    start += 1
    if start < len(words) and words[start] in ("distinct", "all"):
        start += 1
    stop = next((i for i in range(start, len(words)) if words[i] in _ENDS_SELECT_LIST), len(words))
    names = [_names(part) for part in _split(tokens[start:stop])]
    return () if None in names else tuple(name for name in names if name is not None)


def is_select_text(sql: str) -> bool:
    """Whether the text begins with SELECT, WITH or EXPLAIN; unlike elsewhere, comments before them are not skipped."""
    return sql.lstrip().lower().startswith(("select", "with", "explain"))
