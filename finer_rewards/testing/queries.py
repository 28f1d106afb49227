"""A small model of SELECT statements, to be drawn, changed in one place (`changes`), and written in several ways."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from finer_rewards.testing.small_databases import literal, name_of
from finer_rewards.types import Cell

#: A column: its table and its name.
Name: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Term:
    """A column, an aggregate of it, or its rank among the rows that share a value.

    Args:
        column: the column; `None` counts rows.
        function: name of an aggregate; empty for the column itself.
        distinct: whether the aggregate counts each value once.
        partition: if given, the term is the row number inside each group of this column, ordered by `column`.
    """

    column: Name | None
    function: str = ""
    distinct: bool = False
    partition: Name | None = None

    @property
    def aggregates(self) -> bool:
        """True if the term makes one value of many rows."""
        return bool(self.function) and self.partition is None


@dataclass(frozen=True)
class Condition:
    """A comparison of a term with a value, several values, or the result of another query."""

    term: Term
    operator: str
    value: Cell | tuple[Cell, ...] | Select = None
    negated: bool = False


@dataclass(frozen=True)
class Join:
    """A joined table; without columns it is a cross join."""

    table: str
    left: Name | None
    right: Name | None
    outer: bool = False


@dataclass(frozen=True)
class Select:
    """One SELECT."""

    terms: tuple[Term, ...]
    table: str
    joins: tuple[Join, ...] = ()
    where: tuple[Condition, ...] = ()
    connective: str = "AND"
    group: tuple[Name, ...] = ()
    having: tuple[Condition, ...] = ()
    order: tuple[tuple[Term, bool], ...] = ()
    limit: int | None = None
    offset: int = 0
    distinct: bool = False

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables of its FROM clause, without those of subqueries."""
        return (self.table, *(join.table for join in self.joins))


@dataclass(frozen=True)
class Compound:
    """Two SELECTs and the set operation between them."""

    first: Select
    operator: str
    second: Select


Query: TypeAlias = Select | Compound


@dataclass(frozen=True)
class Style:
    """A way to write a query; it never changes the meaning.

    Args:
        aliases: tables have short names.
        lower: keywords in lower case, names in upper case.
        lines: every clause on its own line, and more blanks.
        comments: with comments in two places.
        quoted: every name in double quotes.
        mirrored: the literal stands first in a comparison.
        spelled: BETWEEN and IN are written as comparisons.
    """

    aliases: bool = False
    lower: bool = False
    lines: bool = False
    comments: bool = False
    quoted: bool = False
    mirrored: bool = False
    spelled: bool = False


def write(query: Query, style: Style = Style()) -> str:
    """Return the SQL of a query.

    Example:
        >>> one = Select((Term(("member", "name")),), "member", where=(Condition(Term(("member", "age")), ">", 8),))
        >>> write(one)
        'SELECT name FROM member WHERE age > 8'
        >>> write(one, Style(aliases=True, mirrored=True))
        'SELECT a0.name FROM member AS a0 WHERE 8 < a0.age'
    """
    text = _Writer(style).query(query)
    return f"{text} -- done" if style.comments else text


_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = frozenset(
    (
        *("order", "group", "table", "index", "select", "from", "where", "limit", "values", "union", "join"),
        *("on", "and", "or", "not", "in", "is", "as", "by", "having", "distinct", "all", "case", "to", "set"),
    )
)
_MIRROR = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}


@dataclass
class _Writer:
    style: Style
    depth: int = 0
    names: dict[str, str] = field(default_factory=dict)
    qualified: bool = False

    def query(self, query: Query) -> str:
        if isinstance(query, Select):
            return self.select(query)
        gap = "\n" if self.style.lines else " "
        return f"{self.select(query.first)}{gap}{self.word(query.operator)}{gap}{self.select(query.second)}"

    def select(self, query: Select) -> str:
        outer = self.names, self.qualified
        self.qualified = self.style.aliases or len(query.tables) > 1
        letter = chr(ord("a") + self.depth)
        self.names = {
            table: f"{letter}{number}" if self.style.aliases else self.name(table)
            for number, table in enumerate(query.tables)
        }
        self.depth += 1
        clauses = [
            self.word("SELECT ")
            + ("/* what was asked */ " if self.style.comments else "")
            + (self.word("DISTINCT ") if query.distinct else "")
            + self.comma(self.term(term) for term in query.terms),
            self.word("FROM ") + self.table(query.table),
            *map(self.join, query.joins),
        ]
        if query.where:
            between = f" {self.word(query.connective)} "
            clauses.append(self.word("WHERE ") + between.join(self.condition(one) for one in query.where))
        if query.group:
            clauses.append(self.word("GROUP BY ") + self.comma(map(self.column, query.group)))
        if query.having:
            clauses.append(
                self.word("HAVING ") + self.word(" AND ").join(self.condition(one) for one in query.having)
            )
        if query.order:
            keys = (self.term(term) + (self.word(" DESC") if down else "") for term, down in query.order)
            clauses.append(self.word("ORDER BY ") + self.comma(keys))
        if query.limit is not None:
            clauses.append(f"{self.word('LIMIT ')}{query.limit}")
            if query.offset:
                clauses.append(f"{self.word('OFFSET ')}{query.offset}")
        self.depth -= 1
        self.names, self.qualified = outer
        return ("\n  " if self.style.lines else " ").join(clauses)

    def word(self, keyword: str) -> str:
        return keyword.lower() if self.style.lower else keyword

    def comma(self, texts: Iterable[str]) -> str:
        return (" ,\t" if self.style.lines else ", ").join(texts)

    def name(self, name: str) -> str:
        if self.style.quoted or not _PLAIN.fullmatch(name) or name.lower() in _RESERVED:
            return name_of(name)
        return name.upper() if self.style.lower else name

    def column(self, column: Name) -> str:
        name = self.name(column[1])
        return f"{self.names[column[0]]}.{name}" if self.qualified else name

    def table(self, table: str) -> str:
        if not self.style.aliases:
            return self.name(table)
        return f"{self.name(table)} {self.word('AS')} {self.names[table]}"

    def join(self, join: Join) -> str:
        if join.left is None or join.right is None:
            return self.word("CROSS JOIN ") + self.table(join.table)
        kind = self.word("LEFT JOIN " if join.outer else "JOIN ")
        sides = [self.column(join.left), self.column(join.right)]
        if self.style.mirrored:
            sides.reverse()
        return f"{kind}{self.table(join.table)}{self.word(' ON ')}{' = '.join(sides)}"

    def term(self, term: Term) -> str:
        if term.column is None:
            return self.word("COUNT") + "(*)"
        column = self.column(term.column)
        if term.partition is not None:
            inner = (
                f"{self.word('PARTITION BY')} {self.column(term.partition)} {self.word('ORDER BY')} {column}"
            )
            return f"{self.word('ROW_NUMBER')}() {self.word('OVER')} ({inner})"
        if not term.function:
            return column
        return f"{self.word(term.function)}({self.word('DISTINCT ') if term.distinct else ''}{column})"

    def condition(self, condition: Condition) -> str:
        left = self.term(condition.term)
        operator, value = condition.operator, condition.value
        if isinstance(value, Select):
            text = f"{left} {self.word(operator)} ({self.select(value)})"
        elif operator == "IS NULL":
            text = f"{left} {self.word('IS NULL')}"
        elif operator == "BETWEEN" and isinstance(value, tuple):
            low, high = map(literal, value)
            if self.style.spelled:
                text = f"{left} >= {low} {self.word('AND')} {left} <= {high}"
                return self.negate(f"({text})") if condition.negated else f"({text})"
            text = f"{left} {self.word('BETWEEN')} {low} {self.word('AND')} {high}"
        elif operator == "IN" and isinstance(value, tuple):
            if self.style.spelled:
                text = f" {self.word('OR')} ".join(f"{left} = {literal(one)}" for one in value)
                return self.negate(f"({text})") if condition.negated else f"({text})"
            text = f"{left} {self.word('IN')} ({self.comma(map(literal, value))})"
        elif operator == "LIKE":
            text = f"{left} {self.word('LIKE')} {literal(value)}"  # type: ignore[arg-type]
        elif self.style.mirrored:
            text = f"{literal(value)} {_MIRROR[operator]} {left}"  # type: ignore[arg-type]
        else:
            text = f"{left} {operator} {literal(value)}"  # type: ignore[arg-type]
        return self.negate(text) if condition.negated else text

    def negate(self, text: str) -> str:
        return f"{self.word('NOT')} ({text})"
