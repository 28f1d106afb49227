"""What names mean at one place of the text, and how a SELECT block is read by that; `reading` opens the scopes."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from ._sqlite_tokens import UNARY_PLUS
from ._windows import argument, order_terms
from .expressions import read_term
from .leaves import ONE, Column, Number, Operator, Star, Text, Word
from .operators import Aggregate, Other, SortKey
from .sources import Body, CommonTable, Entry, FromClause, given
from .terms import Query, Select, Term, contains
from .walks import conjuncts, remake

_ROWID = ("rowid", "oid", "_rowid_")
_MOST_COLUMNS = 1_000  # of a block; where `*` stands for more, it stays as it is


class Scope(FromClause):
    """The names that can be used at one place of the text."""

    def __init__(self, reader: Any, outer: Scope | None) -> None:
        self.reader = reader
        self.outer = outer
        self.dialect = reader.facts.dialect
        self.collated = reader.facts.collated
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
            [all_] = order_terms(order, lambda part: ONE)
            keys = [SortKey(all_.head, item, *all_.nulls) for item in items]
            if _has_star(items):
                extra.append(Other("order by all", Word(" ".join([all_.head, *all_.nulls]))))
                keys = []
        elif order is not None:
            keys = order_terms(order, lambda part: self._order_key(part, items, names))
        return Select(
            "select",
            distinct is not None and distinct.args.get("on") is None,
            tuple(items), tuple(body.sources), tuple(body.outers), tuple(body.where), group,
            groups,
            tuple(keys),
            limit_term(node.args.get("limit"), self), limit_term(node.args.get("offset"), self), tuple(extra),
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
            ordinal = place_of(one)
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
        ordinal = place_of(node)
        if ordinal is not None and 0 < ordinal <= len(items):
            return items[ordinal - 1]
        if isinstance(node, exp.Column) and not node.table and node.name.lower() in self.aliases:
            return (
                items[names.index(node.name.lower())] if node.name.lower() in names else read_term(node, self)
            )
        return read_term(node, self)


def place_of(node: Any) -> int | None:
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


def limit_term(node: Any, scope: Scope) -> Term | None:
    """Return what LIMIT or OFFSET asks for; `None` where it leaves every row."""
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
