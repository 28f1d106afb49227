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
# Where `*` stands for so many columns that a block would have more than these, it stays a star.
_MOST_COLUMNS = 1_000


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
        # In PostgreSQL only a whole key of GROUP BY or ORDER BY may be an alias.
        self.sees_aliases = self.dialect != "postgres"

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
        body = self._from_clause(node)
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
        body.where += self._conditions("WHERE", node.args.get("where"))
        group = self._group(node.args.get("group"), items)
        having = self._conditions("HAVING", node.args.get("having"))
        distinct = node.args.get("distinct")
        distinct_on = distinct.args.get("on") if distinct is not None else None
        extra = self._rare_clauses(node, distinct_on)
        keys = self._sort_keys(node.args.get("order"), items, names)
        if keys and _has_star(items) and self._orders_by_all(node.args["order"]):
            extra.append(Other("order by all", Word(" ".join([keys[0].head, *keys[0].nulls]))))
            keys = []
        return Select(
            "select", distinct is not None and distinct_on is None, tuple(items),
            tuple(body.sources), tuple(body.outers), tuple(body.where), group, having, tuple(keys),
            limit_term(node.args.get("limit"), self), limit_term(node.args.get("offset"), self), tuple(extra),
        ), names  # fmt: skip

    def _from_clause(self, node: Any) -> Body:
        """Return what a SELECT reads, and let its names be known."""
        body = Body()
        clause = argument(node, "from")
        if clause is not None:
            self._source(clause.this, body)
        for join in node.args.get("joins") or []:
            body = self._join(join, body)
        for lateral in node.args.get("laterals") or []:
            self._source(lateral, body)
        return body

    def _conditions(self, clause: str, node: Any) -> tuple[Term, ...]:
        """Return the conditions of WHERE or HAVING, and note for `origins` that they were written there."""
        if node is None:
            return ()
        conditions = conjuncts(read_term(node.this, self))
        self.reader.written.append((clause, conditions))
        return conditions

    def _rare_clauses(self, node: Any, distinct_on: Any) -> list[Term]:
        """Return the clauses that no rewrite knows; a block that has one is left as it is by most of them."""
        found: list[Term] = []
        if distinct_on is not None:
            found.append(Other("distinct on", read_term(distinct_on, self)))
        for name in ("qualify", "sample", "kind", "hint", "connect", "match", "pivots"):
            value = node.args.get(name)
            if value is not None and value != []:
                found.append(self._other(name, value.this if name == "qualify" else value))
        return found

    def _other(self, name: str, value: Any) -> Other:
        """Return a clause without a form of its own: its name, and its parts as terms or words."""
        parts = value if isinstance(value, list) else [value]
        return Other(
            name,
            *(
                read_term(part, self) if isinstance(part, exp.Expression) else Word(str(part))
                for part in parts
            ),
        )

    def _orders_by_all(self, order: Any) -> bool:
        """Return whether an ORDER BY is DuckDB's ORDER BY ALL, which sorts by every item."""
        keys = order.expressions
        if self.dialect != "duckdb" or len(keys) != 1:
            return False
        return isinstance(keys[0].this, exp.Var) and keys[0].this.name.upper() == "ALL"

    def _sort_keys(self, order: Any, items: list[Term], names: list[str]) -> list[SortKey]:
        if order is None:
            return []
        if self._orders_by_all(order):
            [key] = order_terms(order, lambda part: ONE)
            return [SortKey(key.head, item, *key.nulls) for item in items]
        return order_terms(order, lambda part: self._order_key(part, items, names))

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
                keys.append(self._other(name, value))
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
        # LIMIT -1 keeps all rows, and OFFSET 0 skips none.
        return None
    options = str(node.args.get("limit_options") or "").upper()
    rest = given(node) - {"expression", "count", "this", "direction"}
    if "TIES" not in options and "PERCENT" not in options:
        # FETCH FIRST n ROWS ONLY is LIMIT n.
        rest.discard("limit_options")
    return (
        remake(term, [*term, *(Word(f"{name} {node.args[name]}".lower()) for name in sorted(rest))])
        if rest
        else term
    )
