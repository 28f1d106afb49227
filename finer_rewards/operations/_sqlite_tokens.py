"""What sqlglot's parser would lose of SQLite's SQL, put into words that it keeps.

SQLite casts to an affinity, which any words may name (`UNSIGNED BIG INT`), and `+x` is x without its affinity. What
stands in double quotation marks may be a text if it can be no name; what stands in backticks or brackets may not.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlglot
from sqlglot import TokenType

from .facts import cast_affinity

#: The name of the function that stands for unary plus.
UNARY_PLUS = "unary plus"

_SIGNS = frozenset("+-~")
# What may stand before an operand; `+` after anything else is a sum.
_BEFORE_OPERAND = frozenset(
    ["(", ",", "=", "==", "<>", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "||", "&", "|", "<<", ">>", "~",
     "SELECT", "DISTINCT", "ALL", "WHERE", "AND", "OR", "NOT", "ON", "BY", "HAVING", "WHEN", "THEN", "ELSE", "CASE",
     "BETWEEN", "LIKE", "GLOB", "IN", "IS", "LIMIT", "OFFSET"]
)  # fmt: skip


@cache
def _type_of_token(text: str) -> Any:
    return sqlglot.Dialect.get_or_raise("sqlite").tokenize(text)[0].token_type


def _like(token: Any, kind: Any, text: str) -> Any:
    return type(token)(kind, text, token.line, token.col, token.start, token.end)


def as_engine_means(tokens: list[Any], sql: str, dialect: str) -> list[Any]:
    """Return the tokens with unary plus as a function and, in SQLite, casts to affinities and backticks left out."""
    partner = _partners(tokens)
    sqlite = dialect == "sqlite"
    types = _cast_types(tokens, partner) if sqlite else {}
    found: list[Any] = []
    # How many brackets to add after a token.
    closing: dict[int, int] = {}
    place = 0
    while place < len(tokens):
        token = tokens[place]
        if place in types:
            place, declared = types[place]
            found.append(_like(token, _type_of_token(declared), declared))
        elif sqlite and token.token_type is TokenType.IDENTIFIER and sql[token.start] in "`[":
            found.append(_like(token, TokenType.VAR, token.text))
        elif token.token_type is TokenType.PLUS and before_operand(tokens, place):
            end = _operand_end(tokens, place + 1, partner)
            closing[end] = closing.get(end, 0) + 1
            found += [_like(token, TokenType.VAR, UNARY_PLUS), _like(token, TokenType.L_PAREN, "(")]
        else:
            found.append(token)
        found += [_like(token, TokenType.R_PAREN, ")")] * closing.get(place, 0)
        place += 1
    return found


def _partners(tokens: list[Any]) -> dict[int, int]:
    """Return the place of the bracket that closes each opening one, and of the one that opens each closing one."""
    found: dict[int, int] = {}
    open_: list[int] = []
    for place, token in enumerate(tokens):
        if token.token_type is TokenType.L_PAREN:
            open_.append(place)
        elif token.token_type is TokenType.R_PAREN and open_:
            start = open_.pop()
            found[start], found[place] = place, start
    return found


def _cast_types(tokens: list[Any], partner: dict[int, int]) -> dict[int, tuple[int, str]]:
    """Return, for the place where the type of a CAST begins, the place where it ends and the affinity it names."""
    found: dict[int, tuple[int, str]] = {}
    for place, token in enumerate(tokens[:-1]):
        if token.text.upper() != "CAST" or place + 1 not in partner:
            continue
        end = at = partner[place + 1] - 1
        while at > place and tokens[at].token_type is not TokenType.ALIAS:
            at = min(at, partner.get(at, at)) - 1
        if place + 1 < at < end:
            found[at + 1] = end, cast_affinity(" ".join(one.text for one in tokens[at + 1 : end + 1])).upper()
    return found


def before_operand(tokens: list[Any], place: int) -> bool:
    """Return whether what stands at a place begins an operand."""
    return place == 0 or tokens[place - 1].text.upper().split(" ")[-1] in _BEFORE_OPERAND


def _operand_end(tokens: list[Any], place: int, partner: dict[int, int]) -> int:
    """Return where the operand of a sign ends: a name, a literal, a call, CASE ... END or what is in brackets."""
    last = len(tokens) - 1
    while place < last and tokens[place].text in _SIGNS:
        place += 1
    if place > last:
        return last
    if tokens[place].token_type is TokenType.CASE:
        depth = 0
        while place < last:
            depth += (tokens[place].token_type is TokenType.CASE) - (
                tokens[place].token_type is TokenType.END
            )
            if depth == 0:
                return place
            place += 1
        return last
    while place + 2 <= last and tokens[place + 1].token_type is TokenType.DOT:
        place += 2
    if place not in partner and place + 1 in partner and tokens[place + 1].token_type is TokenType.L_PAREN:
        place += 1
    return max(place, partner.get(place, place))


def refused_by_sqlite(tokens: list[Any]) -> str | None:
    """Return what SQLite does not take although sqlglot does; `None` where there is nothing.

    Example:
        >>> refused_by_sqlite(sqlglot.tokenize("(SELECT 1) UNION SELECT 2", read="sqlite"))
        'a query stands in brackets'
    """
    words = [token.text.upper() if token.token_type not in _QUOTED else "" for token in tokens]
    if words[:1] == ["("]:
        return "a query stands in brackets"
    # Whether ORDER BY or LIMIT has been seen, at each level of brackets.
    cut = [False]
    # Whether each bracket stands where a member of a compound query may.
    starts: list[bool] = []
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if word == "(":
            member = before in _COMPOUND and words[place + 1 : place + 2] in (
                ["SELECT"],
                ["VALUES"],
                ["WITH"],
                ["("],
            )
            if member:
                return "a member of UNION, INTERSECT or EXCEPT stands in brackets"
            cut.append(False)
            starts.append(before == "(")
        elif word == ")" and starts:
            cut.pop()
            if starts.pop() and words[place + 1 : place + 2] and words[place + 1] in _COMPOUND:
                return "a member of UNION, INTERSECT or EXCEPT stands in brackets"
        elif word in ("ORDER BY", "LIMIT"):
            cut[-1] = True
        elif word in _COMPOUND and word != "ALL" and cut[-1]:
            return "a member of UNION, INTERSECT or EXCEPT has an ORDER BY or LIMIT of its own"
    return None


_COMPOUND = frozenset({"UNION", "INTERSECT", "EXCEPT", "ALL"})
_QUOTED = frozenset({TokenType.STRING, TokenType.IDENTIFIER})
