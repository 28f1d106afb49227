"""A quick reader of plain SELECTs: the terms that `Reader` makes of sqlglot's trees, without the trees, or nothing.

It knows a part of SQL in which each word has one meaning. At the first thing that it does not know it gives up, and
sqlglot reads the text. So it never decides what SQL is: the tests hold its terms against those of sqlglot's trees on
real queries and on texts damaged at random.
"""

from __future__ import annotations

from typing import Any

from ._scopes import Scope
from .expressions import number
from .facts import Facts
from .leaves import Number, Position
from .lexing import QUOTES, RESERVED, SIGNS, plain_tokens
from .operators import SortKey
from .plain_terms import PlainTerms, UnsureError
from .sources import Body, CommonTable, Numbers
from .terms import Outer, Query, Select, SetOperation, Term
from .walks import conjuncts

_MOST_PARTS = (
    500  # CTEs and aliases are read once for each use; beyond, `Reader` decides whether that is too many
)
_SET_OPERATIONS = frozenset({"UNION", "INTERSECT", "EXCEPT"})

# The names of a query's columns; `None` where only sqlglot knows one.
Names = list[str | None]


def read_plain(sql: str, facts: Facts) -> Query | None:
    """Return the query of a plain SELECT in SQLite's dialect, or `None` where sqlglot has to read it.

    Example:
        >>> read_plain("SELECT 'x'", Facts()).items
        (('text', 'x'),)
        >>> read_plain("SELECT a FROM t TABLESAMPLE (3)", Facts())
    """
    tokens = plain_tokens(sql)
    if tokens is None:
        return None
    reader = _PlainReader(tokens, facts)
    try:
        query, _ = reader.query(None)
    except UnsureError:
        return None
    return query if reader.place == len(tokens) else None


class _PlainScope(Scope):
    """A scope whose aliases and CTEs are places among the tokens."""

    def beside(self, outer: Scope | None) -> _PlainScope:
        return _PlainScope(self.reader, outer)

    def aliased(self, name: str) -> Term:
        term: Term = self.reader.again(self.aliases[name], lambda: self.reader.expression(self))
        return term


class _PlainReader(PlainTerms):
    """Reads one text; each method takes what it names from the front of the tokens."""

    def __init__(self, tokens: list[str], facts: Facts) -> None:
        super().__init__(tokens)
        self.facts = facts
        self.numbers = Numbers()
        self.parts = 0

    def again(self, place: int, read: Any) -> Any:
        """Return what `read` takes from an earlier place."""
        after, self.place = self.place, place
        found = read()
        self.place, self.connective = after, None
        return found

    def subquery(self, scope: Scope) -> Query:
        query, _ = self.query(scope)
        return query

    # Queries -------------------------------------------------------------------------------------

    def enter(self) -> None:
        self.parts += 1
        if self.parts > _MOST_PARTS:
            raise UnsureError

    def query(self, outer: Scope | None) -> tuple[Query, Names]:
        self.enter()
        scope = _PlainScope(self, outer)
        if self.took("WITH"):
            self.common_tables(scope)
        block = _PlainScope(self, scope)
        query, names = self.select(block)
        if self.words[self.place] in _SET_OPERATIONS:
            return self.set_operation(query, scope, names), names
        return self.with_tail(query, block, names), names

    def common_tables(self, scope: _PlainScope) -> None:
        mentioned: set[str] = set()
        while True:
            name = self.name().lower()
            self.take("AS")
            self.take("(")
            inner = _PlainScope(self, scope.outer)
            inner.common = dict(scope.common)
            table = CommonTable(self.place, [], inner)
            # Read here for its grammar alone, so that no number of a source is taken.
            last = self.numbers.last
            self.query(inner)
            self.numbers.last = last
            words = {token.strip('"`').lower() for token in self.tokens[table.node : self.place]}
            mentioned |= words
            if name in mentioned:
                # It may be recursive, or used before it stands there.
                raise UnsureError
            scope.common[name] = table
            self.take(")")
            if not self.took(","):
                return

    def set_operation(self, query: Query, scope: _PlainScope, names: Names) -> SetOperation:
        branches: list[Query] = [query]
        operator = ""
        while self.words[self.place] in _SET_OPERATIONS:
            word = self.words[self.place].lower()
            self.place += 1
            word += " all" if word == "union" and self.took("ALL") else ""
            if operator not in ("", word):
                branches = [SetOperation(operator, tuple(branches), (), None, None)]
            operator = word
            branch, _ = self.select(_PlainScope(self, scope))
            branches.append(branch)
        order = self.keys(scope, lambda term, start: self.position(term, start, names))
        return SetOperation(operator, tuple(branches), order, *self.limits())

    def position(self, term: Term, start: int, names: Names) -> Term:
        """Return a sort key of a set operation, which may be the place or the name of a column."""
        if self.place == start + 1 and self.words[start].isdigit():
            return Position(int(self.words[start]) - 1)
        if isinstance(term, Number):
            raise UnsureError
        name = self.column_name(start)
        if name is not None and None in names:
            raise UnsureError
        return Position(names.index(name)) if name in names and name is not None else term

    def select(self, scope: _PlainScope) -> tuple[Select, Names]:
        """Take a block without ORDER BY and LIMIT."""
        self.take("SELECT")
        distinct = self.took("DISTINCT")
        start, clause = self.place, self.clause_from()
        body = Body()
        if clause is not None:
            self.place = clause + 1
            self.sources(body, scope)
        after, self.place = self.place, start
        items, names, aliases = self.items(scope)
        scope.aliases = aliases
        group: tuple[Term, ...] | None = None
        having: tuple[Term, ...] = ()
        if clause is not None:
            self.take("FROM")
            if self.place != clause + 1:
                raise UnsureError
            self.place = after
            if self.took("WHERE"):
                body.where += conjuncts(self.expression(scope))
            if self.took("GROUP"):
                self.take("BY")
                group = tuple(self.group_keys(scope, items))
            if self.took("HAVING"):
                having = conjuncts(self.expression(scope))
        return Select(
            "select", distinct, tuple(items), tuple(body.sources), tuple(body.outers), tuple(body.where), group, having,
            (), None, None,
        ), names  # fmt: skip

    def with_tail(self, query: Select, scope: _PlainScope, names: Names) -> Select:
        items = query.items
        order = self.keys(scope, lambda term, start: self.sort_key(term, start, items, names, scope))
        limit, offset = self.limits()
        if not order and limit is None:
            return query
        return query._replace(order=order, limit=limit, offset=offset)

    def sort_key(
        self, term: Term, start: int, items: tuple[Term, ...], names: Names, scope: _PlainScope
    ) -> Term:
        """Return a sort key of a block, which may be the place or the alias of an item."""
        if self.place != start + 1:
            if isinstance(term, Number):
                # A number in brackets is a place too.
                raise UnsureError
            return term
        word = self.words[start]
        if word.isdigit():
            return items[int(word) - 1] if 0 < int(word) <= len(items) else term
        name = self.column_name(start)
        if name not in scope.aliases:
            return term
        if None in names:
            raise UnsureError
        return items[names.index(name)]

    def keys(self, scope: _PlainScope, meant: Any) -> tuple[SortKey, ...]:
        if not self.took("ORDER"):
            return ()
        self.take("BY")
        found: list[SortKey] = []
        while True:
            start = self.place
            term = meant(self.expression(scope), start)
            down = self.took("DESC")
            if not down:
                self.took("ASC")
            found.append(SortKey("desc" if down else "asc", term))
            if not self.took(","):
                return tuple(found)

    def limits(self) -> tuple[Term | None, Term | None]:
        limit = self.whole() if self.took("LIMIT") else None
        offset = self.whole() if limit is not None and self.took("OFFSET") else None
        return limit, None if offset == ("number", "0") else offset

    def whole(self) -> Term:
        word = self.words[self.place]
        if not (word.isascii() and word.isdigit()):
            raise UnsureError
        self.place += 1
        return number(word)

    def group_keys(self, scope: _PlainScope, items: list[Term]) -> list[Term]:
        found = []
        while True:
            start = self.place
            term = self.expression(scope)
            word = self.words[start]
            if self.place == start + 1 and word.isdigit() and 0 < int(word) <= len(items):
                term = items[int(word) - 1]
            elif isinstance(term, Number):
                raise UnsureError
            found.append(term)
            if not self.took(","):
                return found

    # Items ---------------------------------------------------------------------------------------

    def items(self, scope: _PlainScope) -> tuple[list[Term], Names, dict[str, int]]:
        """Take the items; return them, their names, and the places of those that have an alias."""
        items: list[Term] = []
        names: Names = []
        aliases: dict[str, int] = {}
        while True:
            start = self.place
            if self.star(scope, items, names):
                pass
            else:
                items.append(self.expression(scope))
                name: str | None = self.item_name(start)
                alias = self.alias()
                if alias is not None:
                    name = alias.lower()
                    aliases[name] = start
                names.append(name)
            if not self.took(","):
                return items, names, aliases

    def star(self, scope: _PlainScope, items: list[Term], names: Names) -> bool:
        """Take `*` or `t.*`, if that is what comes next."""
        table = ""
        if self.words[self.place] == "*":
            self.place += 1
        elif self.words[self.place + 1 : self.place + 3] == [".", "*"]:
            table = self.name().lower()
            self.place += 2
        else:
            return False
        if self.words[self.place] not in ("FROM", ",", ")", ""):
            raise UnsureError
        scope.star(table, (), items, names)
        return True

    def item_name(self, start: int) -> str | None:
        """Return the name of the item that began there, as sqlglot has it."""
        first = self.words[start]
        if self.place == start + 1 and first[:1] in "'0123456789":
            return self.primary_name(start)
        name = self.column_name(start)
        if name is not None:
            return name
        composed = first == "CAST" or (first == "(" and self.words[start + 1] != "SELECT")
        return None if composed else ""

    def primary_name(self, start: int) -> str:
        token = self.tokens[start]
        return (token[1:-1].replace("''", "'") if token[0] == "'" else token).lower()

    def column_name(self, start: int) -> str | None:
        """Return the name of the column that was all the last expression; `None` when it was more."""
        dotted = self.place == start + 3 and self.words[start + 1] == "."
        token = self.tokens[self.place - 1]
        if not (dotted or self.place == start + 1) or token[:1] in "'0123456789" or token.upper() == "NULL":
            return None
        return (token[1:-1] if token[0] in QUOTES else token).lower()

    def alias(self) -> str | None:
        """Take an alias, with AS or without; `None` where there is none."""
        if self.took("AS"):
            return self.name()
        word = self.words[self.place]
        return None if word in RESERVED or word in SIGNS else self.name()

    # Sources -------------------------------------------------------------------------------------

    def clause_from(self) -> int | None:
        """Return the place of the FROM that belongs to the items here."""
        depth = 0
        for place in range(self.place, len(self.words)):
            word = self.words[place]
            if word == "(":
                depth += 1
            elif word == ")":
                depth -= 1
                if depth < 0:
                    return None
            elif depth == 0 and word == "FROM":
                return place
            elif depth == 0 and (word == "SELECT" or word in _SET_OPERATIONS):
                return None
        return None

    def sources(self, body: Body, scope: _PlainScope) -> None:
        self.source(body, scope)
        while True:
            word = self.words[self.place]
            if word == ",":
                self.place += 1
                right = Body()
                self.source(right, scope)
                body.sources += right.sources
                continue
            left = word == "LEFT"
            if left or word == "INNER":
                self.place += 1
                if left:
                    self.took("OUTER")
            elif word != "JOIN":
                return
            self.take("JOIN")
            right = Body()
            self.source(right, scope)
            self.take("ON")
            condition = conjuncts(self.expression(scope))
            if left:
                body.outers.append(Outer("left", tuple(right.sources), (), condition))
            else:
                body.sources += right.sources
                body.where += condition

    def source(self, body: Body, scope: _PlainScope) -> None:
        if self.took("("):
            query, names = self.query(scope.blank())
            self.take(")")
            self.derived(query, names, self.alias() or "", body, scope)
            return
        name = self.name().lower()
        alias = self.alias()
        common = scope.common_table(name)
        known_as = name if alias is None else alias.lower()
        if common is None:
            scope.base_table(name, known_as, body)
        else:
            query, names = self.again(common.node, lambda: self.query(common.scope))
            self.derived(query, names, known_as, body, scope)

    def derived(self, query: Query, names: Names, alias: str, body: Body, scope: _PlainScope) -> None:
        if None in names:
            raise UnsureError
        scope.derived(query, [name or "" for name in names], alias.lower(), body)
