"""The expressions of plain SQL, read from tokens to terms: the half of the quick reader below `plain`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

from sqlglot import exp

from ._scopes import Scope
from .expressions import aggregate, cast_name, minus, number
from .leaves import NULL, Star, Text
from .lexing import ALLOWED_AFTER_TYPE, COLUMN_TOO, NUMBER, QUOTES, RESERVED
from .operators import Call, Case, Cast, Comparison, Connective, Exists, In, Like, List, Not, Scalar, binary
from .terms import Query, Term

_AGGREGATES = frozenset({"COUNT", "SUM", "AVG", "MIN", "MAX"})
# Functions that sqlglot reads as calls of this name, and the most arguments they may have.
_CALLS = {
    "ABS": ("abs", 1), "LENGTH": ("length", 1), "LOWER": ("lower", 1), "UPPER": ("upper", 1),
    "ROUND": ("round", 2), "SUBSTR": ("substring", 3), "SUBSTRING": ("substring", 3),
    "COALESCE": ("coalesce", 9), "IFNULL": ("coalesce", 2),
}  # fmt: skip
_LEAST_ARGUMENTS = {"SUBSTR": 2, "SUBSTRING": 2, "COALESCE": 2, "IFNULL": 2}
_TYPES = frozenset({"REAL", "FLOAT", "DOUBLE", "INTEGER", "INT", "TEXT", "NUMERIC", "DECIMAL"})
# The operators between two operands and how tightly each binds (https://sqlite.org/lang_expr.html); those of one rank
# are taken from the left.
_EQUAL, _COMPARED, _SUM, _PRODUCT, _JOINED = range(1, 6)
_OPERATORS = {
    "=": (_EQUAL, "="), "==": (_EQUAL, "="), "<>": (_EQUAL, "<>"), "!=": (_EQUAL, "<>"),
    **dict.fromkeys(("IS", "NOT", "LIKE", "BETWEEN", "IN"), (_EQUAL, "")),
    **{sign: (_COMPARED, sign) for sign in ("<", "<=", ">", ">=")},
    "+": (_SUM, "+"), "-": (_SUM, "-"),
    "*": (_PRODUCT, "*"), "/": (_PRODUCT, "/"), "%": (_PRODUCT, "%"),
    "||": (_JOINED, "||"),
}  # fmt: skip
_NO_OPERATOR = (0, "")


class UnsureError(Exception):
    """The text is not plain."""


class PlainTerms(ABC):
    """Takes expressions from the front of the tokens; names mean what they mean in the scope given."""

    def __init__(self, tokens: list[str]) -> None:
        self.place = 0
        self.tokens = [*tokens, ""]
        self.words = [token.upper() for token in self.tokens]
        self.connective: Connective | None = None  # what the last AND or OR made

    @abstractmethod
    def subquery(self, scope: Scope) -> Query:
        """Take a query that may refer to the scope."""

    def take(self, word: str) -> None:
        """Take a word that has to come next."""
        if self.words[self.place] != word:
            raise UnsureError
        self.place += 1

    def took(self, word: str) -> bool:
        """Take a word, if it comes next."""
        if self.words[self.place] == word:
            self.place += 1
            return True
        return False

    def name(self) -> str:
        """Take a name, without its quotation marks."""
        token = self.tokens[self.place]
        if token.isidentifier() and self.words[self.place] not in RESERVED:
            self.place += 1
            return token
        if token[:1] in QUOTES and len(token) > 2:
            self.place += 1
            return token[1:-1]
        raise UnsureError

    # Expressions, loosest first --------------------------------------------------------------------

    def expression(self, scope: Scope) -> Term:
        """Take an expression, and all that can belong to it."""
        return self._connected("or", "OR", scope)

    def _connected(self, head: str, word: str, scope: Scope) -> Term:
        """Take the operands of AND or OR; what brackets hold of the same connective is part of the chain."""
        below = self._negation if word == "AND" else self._conjunction
        first = below(scope)
        if self.words[self.place] != word:
            return first
        parts: list[Term] = []
        while True:
            chained = self.connective if first is self.connective else None
            parts += chained.operands if chained is not None and chained.head == head else (first,)
            if not self.took(word):
                self.connective = Connective(head, *parts)
                return self.connective
            first = below(scope)

    def _conjunction(self, scope: Scope) -> Term:
        return self._connected("and", "AND", scope)

    def _negation(self, scope: Scope) -> Term:
        return Not(self._negation(scope)) if self.took("NOT") else self._operation(_EQUAL, scope)

    def _operation(self, lowest: int, scope: Scope) -> Term:
        """Take an operand and the operators after it that bind at least as tightly as `lowest`."""
        term = self._primary(scope)
        while True:
            word = self.words[self.place]
            rank, operator = _OPERATORS.get(word, _NO_OPERATOR)
            if rank < lowest:
                return term
            self.place += 1
            term = (
                binary(operator, term, self._operation(rank + 1, scope))
                if operator
                else self._range(term, word, scope)
            )

    def _range(self, left: Term, word: str, scope: Scope) -> Term:
        """Take what follows one of `IS`, `LIKE`, `BETWEEN` and `IN`, or their NOT."""
        negated = word == "NOT"
        if negated:
            word = self.words[self.place]
            self.place += 1
        if word == "IS" and not negated:
            negated = self.took("NOT")
            self.take("NULL")
            if _OPERATORS.get(self.words[self.place], _NO_OPERATOR)[0] > _EQUAL:
                # It is IS (NULL < x).
                raise UnsureError
            term: Term = Comparison("is", left, NULL)
        elif word == "LIKE":
            term = Like("like", left, self._operation(_COMPARED, scope))
        elif word == "BETWEEN":
            low = self._operation(_EQUAL, scope)
            self.take("AND")
            term = Connective(
                "and", Comparison(">=", left, low), Comparison("<=", left, self._operation(_COMPARED, scope))
            )
        elif word == "IN":
            self.take("(")
            if self.words[self.place] == "SELECT":
                term = In(left, self.subquery(scope))
            elif self.words[self.place] == "(":
                raise UnsureError
            else:
                term = In(left, List(*self._several(scope)))
            self.take(")")
        else:
            raise UnsureError
        rank, operator = _OPERATORS.get(self.words[self.place], _NO_OPERATOR)
        if rank > _COMPARED or (rank and not operator):
            # Older releases of sqlglot do not read it.
            raise UnsureError
        return Not(term) if negated else term

    def _several(self, scope: Scope) -> list[Term]:
        found = [self.expression(scope)]
        while self.took(","):
            found.append(self.expression(scope))
        return found

    def _primary(self, scope: Scope) -> Term:
        word = self.words[self.place]
        first = word[:1]
        if first == "(":
            self.place += 1
            term: Term = (
                Scalar(self.subquery(scope)) if self.words[self.place] == "SELECT" else self.expression(scope)
            )
            self.take(")")
            return term
        if first == "'":
            text = self.tokens[self.place]
            if len(text) < 2 or self.words[self.place + 1][:1] == "'":
                raise UnsureError
            self.place += 1
            return Text(text[1:-1].replace("''", "'"))
        if first.isdigit():
            self.place += 1
            if not NUMBER.fullmatch(word):
                raise UnsureError
            return number(word)
        if first == "-":
            self.place += 1
            return minus(self._primary(scope))
        following = self.words[self.place + 1] if word else ""
        if following == "(":
            return self._call(word, scope)
        return self._column(word, following, scope)

    def _column(self, word: str, following: str, scope: Scope) -> Term:
        if word in RESERVED:
            return self._special(word, following, scope)
        quoted = word[:1] == '"'
        name = self.name()
        if following != ".":
            return scope.resolve(name.lower(), "", name if quoted else None)
        self.place += 1
        if self.words[self.place] in COLUMN_TOO:
            own = self.tokens[self.place]
            self.place += 1
        else:
            own = self.name()
        if self.words[self.place] in (".", "("):
            raise UnsureError
        return scope.resolve(own.lower(), name.lower(), None)

    def _special(self, word: str, following: str, scope: Scope) -> Term:
        self.place += 1
        if word in COLUMN_TOO and following in ALLOWED_AFTER_TYPE:
            return scope.resolve(word.lower(), "", None)
        if word == "NULL":
            return NULL
        if word != "CASE":
            raise UnsureError
        operand = None if self.words[self.place] == "WHEN" else self.expression(scope)
        branches: list[tuple[Term, Term]] = []
        while self.took("WHEN"):
            when = self.expression(scope)
            self.take("THEN")
            condition = when if operand is None else Comparison("=", operand, when)
            branches.append((condition, self.expression(scope)))
        otherwise = self.expression(scope) if self.took("ELSE") else NULL
        self.take("END")
        if not branches:
            raise UnsureError
        return Case(branches, otherwise)

    def _call(self, word: str, scope: Scope) -> Term:
        self.place += 2
        if word == "EXISTS" and self.words[self.place] == "SELECT":
            term: Term = Exists(self.subquery(scope))
        elif word in _AGGREGATES:
            distinct = self.took("DISTINCT")
            if word == "COUNT" and not distinct and self.took("*"):
                inner: Term = Star()
            else:
                inner = self.expression(scope)
            term = aggregate(word.lower(), distinct, [inner])
        elif word in _CALLS:
            name, most = _CALLS[word]
            parts = self._several(scope)
            if not _LEAST_ARGUMENTS.get(word, 1) <= len(parts) <= most:
                raise UnsureError
            term = Call(name, *parts)
        elif word == "CAST":
            inner = self.expression(scope)
            self.take("AS")
            declared = self.words[self.place]
            if declared not in _TYPES:
                raise UnsureError
            self.place += 1
            term = Cast(inner, _sqlite_type(declared))
        else:
            raise UnsureError
        self.take(")")
        return term


@cache
def _sqlite_type(declared: str) -> str:
    return cast_name(exp.DataType.build(declared, dialect="sqlite").sql(), "sqlite")
