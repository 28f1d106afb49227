"""From sqlglot's queries to ours: names resolved, `*` expanded, CTEs put where they are used."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from ._sqlite_tokens import UNARY_PLUS
from .expressions import argument, order_terms, read_term
from .facts import Facts
from .guard import OperationsError
from .sources import Body, CommonTable, Entry, FromClause, Numbers, given
from .terms import (
    ONE,
    Aggregate,
    Column,
    Derived,
    Number,
    Operator,
    Other,
    Position,
    Query,
    Select,
    SetOperation,
    SortKey,
    Star,
    Term,
    Text,
    Values,
    Word,
    conjuncts,
    contains,
    remake,
)

__all__ = ["Reader"]

_ROWID = ("rowid", "oid", "_rowid_")
_MOST_COLUMNS = 1_000  # of a block; where `*` stands for more, it stays as it is
_MOST_PARTS = 1_000  # CTEs and aliases are read once for each use, which can double at every level


class Reader:
    """Reads one statement.

    Args:
        facts: what the schema says.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.numbers = Numbers()
        self.parts = 0
        self.written: list[tuple[str, tuple[Term, ...]]] = []  # conditions and the clauses they stand in

    def read(self, node: Any) -> Query:
        """Return the query of a parsed statement."""
        query, _ = self.query(node, Scope(self, None))
        return query

    def enter(self) -> None:
        """Begin to read a query or what an alias stands for."""
        self.parts += 1
        if self.parts > _MOST_PARTS:
            raise OperationsError(
                f"The SQL is too large: more than {_MOST_PARTS} subqueries once CTEs and aliases are in place"
            )

    def query(self, node: Any, outer: Scope) -> tuple[Query, list[str]]:
        """Return a query and the names of its columns."""
        self.enter()
        scope = Scope(self, outer)
        scope.add_common_tables(argument(node, "with"))
        if isinstance(node, exp.Subquery):
            return self._wrapped(node, scope)
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, scope)
        if isinstance(node, exp.Select):
            return scope.select(node)
        if isinstance(node, exp.Values):
            rows = tuple(tuple(read_term(one, scope) for one in _cells(row)) for row in node.expressions)
            width = len(next(iter(rows), ()))
            return Values(rows), [f"column{place + 1}" for place in range(width)]
        if isinstance(node, exp.Table):
            return scope.select(exp.select("*").from_(node.copy()))
        raise OperationsError(f"A query is needed, but the text holds {node.key.upper()}")

    def _wrapped(self, node: Any, scope: Scope) -> tuple[Query, list[str]]:
        query, names = self.query(node.this, scope)
        order, limit, offset = node.args.get("order"), node.args.get("limit"), node.args.get("offset")
        if order is None and limit is None and offset is None:
            return query, names
        number = next(self.numbers)
        items = tuple(Column(number, place) for place in range(len(names)))
        scope.entries.append(Entry("", dict(zip(names, items, strict=True)), number))
        return Select(
            "select", False, items, (Derived(number, query),), (), (), None, (),
            tuple(order_terms(order, scope)) if order is not None else (),
            _limit(limit, scope), _limit(offset, scope),
        ), names  # fmt: skip

    def _set_operation(self, node: Any, scope: Scope) -> tuple[Query, list[str]]:
        branches: list[Query] = []
        spine = [node]
        kind, everything = type(node), not node.args.get("distinct")
        left = node.this
        while (
            type(left) is kind
            and (not left.args.get("distinct")) == everything
            and not any(left.args.get(name) for name in ("order", "limit", "offset", "with_"))
        ):
            spine.append(left)
            left = left.this
        first, names = self.query(left, scope)
        branches.append(first)
        for one in reversed(spine):
            branch, _ = self.query(one.expression, scope)
            branches.append(branch)
        order = node.args.get("order")
        keys: list[SortKey] = []
        if order is not None:
            places = {name: Position(place) for place, name in reversed(list(enumerate(names)))}

            def key(part: Any) -> Term:
                ordinal = _ordinal(part)
                if ordinal is not None:
                    return Position(ordinal - 1)
                if isinstance(part, exp.Column) and part.name.lower() in places:
                    return places[part.name.lower()]
                return read_term(part, scope)

            keys = order_terms(order, scope, key)
        operator = f"{kind.__name__.lower()}{' all' if everything else ''}"
        extra = tuple(
            Word(f"{name} {node.args[name]}")
            for name in ("side", "kind", "by_name", "on")
            if node.args.get(name)
        )
        return SetOperation(
            operator, tuple(branches), tuple(keys),
            _limit(node.args.get("limit"), scope), _limit(node.args.get("offset"), scope), *extra,
        ), names  # fmt: skip


class Scope(FromClause):
    """The names that can be used at one place of the text."""

    def __init__(self, reader: Any, outer: Scope | None) -> None:
        self.reader = reader
        self.outer = outer
        self.dialect = reader.facts.dialect
        self.entries: list[Entry] = []
        self.common: dict[str, CommonTable] = {}
        self.aliases: dict[str, Any] = {}
        self.windows: dict[str, Any] = {}
        self.resolving: set[str] = set()
        self.sees_aliases = (
            self.dialect != "postgres"
        )  # there only a whole key of GROUP BY or ORDER BY may be one

    def beside(self, outer: Scope | None) -> Scope:
        """Return an empty scope inside another one."""
        return Scope(self.reader, outer)

    def here(self) -> Scope:
        """Return this scope."""
        return self

    # Names ---------------------------------------------------------------------------------------

    def column(self, node: Any) -> Term:
        """Return the column a name stands for; an unknown one keeps its name."""
        if isinstance(node.this, exp.Star):
            return Star()
        # After a dot, parsers take placeholders and literals for names too.
        quoted = isinstance(node.this, exp.Identifier) and node.this.quoted
        return self.resolve(node.name.lower(), node.table.lower(), node.name if quoted else None)

    def resolve(self, name: str, table: str, quoted: str | None) -> Term:
        """Return the column a name stands for.

        Args:
            name: in lower case.
            table: what it is qualified with, or empty.
            quoted: the name as it stands between quotation marks; `None` where there are none.
        """
        scope: Scope | None = self
        while scope is not None:
            found = scope.look_up(name, table)
            if found is not None:
                return found
            if not table and name in scope.aliases and name not in scope.resolving and scope.sees_aliases:
                self.reader.enter()
                scope.resolving.add(name)
                try:
                    return scope.aliased(name)
                finally:
                    scope.resolving.discard(name)
            scope = scope.outer
        if not table and quoted is not None and self.dialect == "sqlite":
            return Text(quoted)
        if not table and name in _ROWID and self.entries:
            return self.entries[0].rowid
        return Column(-1, f"{table}.{name}" if table else name)

    def aliased(self, name: str) -> Term:
        """Return the item that has this alias."""
        return read_term(self.aliases[name], self)

    def look_up(self, name: str, table: str) -> Term | None:
        """Return the column of that name in this block's FROM clause."""
        if table:
            for entry in self.entries:
                if entry.alias == table:
                    return entry.find(name) or (entry.rowid if name in _ROWID else None)
            return None
        unsure = None
        found = None
        for entry in self.entries:
            if name in entry.hidden:
                continue
            if entry.columns is None:
                unsure = entry if unsure is None else unsure
            elif name in entry.columns:
                if found is not None:
                    return Column(-1, f"ambiguous {name}")
                found = entry.columns[name]
        if found is not None:
            return found
        return unsure.find(name) if unsure is not None and self._guess(name) else None

    def _guess(self, name: str) -> bool:
        """An unknown table may have any column, unless a block around this one surely has it."""
        scope = self.outer
        while scope is not None:
            if any(entry.columns is not None and name in entry.columns for entry in scope.entries):
                return False
            scope = scope.outer
        return True

    def named_window(self, name: str) -> Any:
        """Return the specification of a WINDOW clause."""
        return self.windows.get(name.lower())

    def query(self, node: Any) -> Query:
        """Return a subquery that may refer to this block."""
        while isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query) and len(given(node)) == 1:
            node = node.this
        read: Query
        read, _ = self.reader.query(node, self)
        return read

    def add_common_tables(self, clause: Any) -> None:
        """Make the CTEs of a WITH clause known."""
        if clause is None:
            return
        for one in clause.expressions:
            names = [column.name.lower() for column in one.args["alias"].columns]
            # A CTE sees those before it, in SQLite also those after it; a recursive one also itself.
            scope = Scope(self.reader, self.outer)
            scope.common = self.common if self.dialect == "sqlite" else dict(self.common)
            self.common[one.alias.lower()] = CommonTable(one.this, names, scope)

    def common_table(self, name: str) -> CommonTable | None:
        """Return the CTE of that name that can be seen from here."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.common:
                return scope.common[name]
            scope = scope.outer
        return None

    def select(self, node: Any) -> tuple[Query, list[str]]:
        """Return one SELECT block and the names of its columns."""
        body = Body()
        clause = argument(node, "from")
        if clause is not None:
            self._source(clause.this, body)
        for join in node.args.get("joins") or []:
            body = self._join(join, body)
        for lateral in node.args.get("laterals") or []:
            self._source(lateral, body)
        for window in node.args.get("windows") or []:
            self.windows[window.name.lower()] = window
        self.aliases = {
            one.alias.lower(): one.this
            for one in node.expressions
            if isinstance(one, exp.Alias) and one.alias
        }
        items: list[Term] = []
        names: list[str] = []
        for one in node.expressions:
            self._item(one, items, names)
        where = node.args.get("where")
        if where is not None:
            conditions = conjuncts(read_term(where.this, self))
            self.reader.written.append(("WHERE", conditions))
            body.where += conditions
        group = self._group(node.args.get("group"), items)
        having = node.args.get("having")
        groups = conjuncts(read_term(having.this, self)) if having is not None else ()
        self.reader.written.append(("HAVING", groups))
        order = node.args.get("order")
        distinct = node.args.get("distinct")
        extra: list[Term] = []
        if distinct is not None and distinct.args.get("on") is not None:
            extra.append(Other("distinct on", read_term(distinct.args["on"], self)))
        for name in ("qualify", "sample", "kind", "hint", "connect", "match", "pivots"):
            value = node.args.get(name)
            if value is not None and value != []:
                parts = value if isinstance(value, list) else [value]
                extra.append(
                    Other(
                        name,
                        *(
                            read_term(x.this if name == "qualify" else x, self)
                            if isinstance(x, exp.Expression)
                            else Word(str(x))
                            for x in parts
                        ),
                    )
                )
        keys: list[SortKey] = []
        if order is not None and self.dialect == "duckdb" and _orders_by_all(order):
            [all_] = order_terms(order, self, lambda part: ONE)
            keys = [SortKey(all_.head, item, *all_.nulls) for item in items]
            if _has_star(items):
                extra.append(Other("order by all", Word(" ".join([all_.head, *all_.nulls]))))
                keys = []
        elif order is not None:
            keys = order_terms(order, self, lambda part: self._order_key(part, items, names))
        return Select(
            "select",
            distinct is not None and distinct.args.get("on") is None,
            tuple(items), tuple(body.sources), tuple(body.outers), tuple(body.where), group,
            groups,
            tuple(keys), _limit(node.args.get("limit"), self), _limit(node.args.get("offset"), self), tuple(extra),
        ), names  # fmt: skip

    def _item(self, node: Any, items: list[Term], names: list[str]) -> None:
        inner = node.this if isinstance(node, exp.Alias) else node
        star = isinstance(inner, exp.Star) or (
            isinstance(inner, exp.Column) and isinstance(inner.this, exp.Star)
        )
        if star:
            table = inner.table.lower() if isinstance(inner, exp.Column) else ""
            options = tuple(
                Other(key, inner.args[key] and str(inner.args[key]).lower())
                for key in sorted(given(inner) - {"this", "table"})
            )
            self.star(table, options, items, names)
            return
        # An alias must not stand for itself while it is read.
        held = self.aliases
        self.aliases = {}
        items.append(read_term(inner, self))
        self.aliases = held
        names.append((node.alias if isinstance(node, exp.Alias) else node.output_name).lower())

    def star(self, table: str, options: tuple[Operator, ...], items: list[Term], names: list[Any]) -> None:
        """Add the columns that `*` stands for, of all sources or of one."""
        chosen = [entry for entry in self.entries if not table or entry.alias == table]
        width = len(items) + sum(len(entry.columns or ()) for entry in chosen)
        if (
            chosen
            and not options
            and width <= _MOST_COLUMNS
            and all(entry.columns is not None for entry in chosen)
        ):
            for entry in chosen:
                for name, term in (entry.columns or {}).items():
                    if table or name not in entry.hidden:
                        items.append(term)
                        names.append(name)
            return
        for entry in chosen or [Entry(table, None, -1)]:
            items.append(Column(entry.number, "*", *options))
            names.append("*")

    def _group(self, node: Any, items: list[Term]) -> tuple[Term, ...] | None:
        if node is None:
            return None
        keys: list[Term] = []
        for one in node.expressions:
            ordinal = _ordinal(one)
            if ordinal is not None and 0 < ordinal <= len(items):
                keys.append(items[ordinal - 1])
            else:
                self.sees_aliases |= isinstance(one, exp.Column)
                keys.append(read_term(one, self))
                self.sees_aliases = self.dialect != "postgres"
        if node.args.get("all") and not _has_star(items):
            return tuple(item for item in items if not contains(item, Aggregate))
        for name in ("rollup", "cube", "grouping_sets", "all"):
            value = node.args.get(name)
            if value:
                parts = value if isinstance(value, list) else [value]
                keys.append(
                    Other(
                        name,
                        *(
                            read_term(x, self) if isinstance(x, exp.Expression) else Word(str(x))
                            for x in parts
                        ),
                    )
                )
        return tuple(keys)

    def _order_key(self, node: Any, items: list[Term], names: list[str]) -> Term:
        ordinal = _ordinal(node)
        if ordinal is not None and 0 < ordinal <= len(items):
            return items[ordinal - 1]
        if isinstance(node, exp.Column) and not node.table and node.name.lower() in self.aliases:
            return (
                items[names.index(node.name.lower())] if node.name.lower() in names else read_term(node, self)
            )
        return read_term(node, self)


def _ordinal(node: Any) -> int | None:
    """Return the number that a key of ORDER BY or GROUP BY is; brackets and `+` leave it one."""
    while isinstance(node, exp.Paren) or (isinstance(node, exp.Anonymous) and node.this == UNARY_PLUS):
        node = node.this if isinstance(node, exp.Paren) else node.expressions[0]
    if isinstance(node, exp.Literal) and not node.is_string and node.this.isdigit():
        return int(node.this)
    return None


def _orders_by_all(order: Any) -> bool:
    """Return whether an ORDER BY is DuckDB's ORDER BY ALL."""
    keys = order.expressions
    return len(keys) == 1 and isinstance(keys[0].this, exp.Var) and keys[0].this.name.upper() == "ALL"


def _has_star(items: list[Term]) -> bool:
    return any(isinstance(item, Column) and item.name == "*" for item in items)


def _cells(row: Any) -> list[Any]:
    return row.expressions if isinstance(row, exp.Tuple) else [row]


def _limit(node: Any, scope: Scope) -> Term | None:
    if node is None:
        return None
    inner = node.expression if node.args.get("expression") is not None else node.args.get("count")
    term = read_term(inner, scope) if inner is not None else Word(node.sql())
    nothing = (
        term == Number("0")
        if isinstance(node, exp.Offset)
        else isinstance(term, Number) and term.numeral.startswith("-")
    )
    if scope.dialect == "sqlite" and nothing:
        return None  # LIMIT -1 keeps all rows, OFFSET 0 skips none
    options = str(node.args.get("limit_options") or "").upper()
    rest = given(node) - {"expression", "count", "this", "direction"}
    if "TIES" not in options and "PERCENT" not in options:
        rest.discard("limit_options")  # FETCH FIRST n ROWS ONLY is LIMIT n
    return (
        remake(term, [*term, *(Word(f"{name} {node.args[name]}".lower()) for name in sorted(rest))])
        if rest
        else term
    )
