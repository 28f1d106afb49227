"""FROM clauses of sqlglot's trees as the sources of a block: tables, derived tables, CTEs and joins; for `_scopes`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from .expressions import read_term
from .guard import OperationsError, within
from .leaves import ONE, Column, Operator, Word
from .operators import Call, Comparison, Exists, Not, Other
from .terms import (
    Derived,
    Full,
    FunctionSource,
    Group,
    Itself,
    Outer,
    Query,
    Recursive,
    Select,
    Source,
    Table,
    Term,
)
from .walks import conjuncts

if TYPE_CHECKING:
    from ._scopes import Scope


def given(node: Any) -> set[str]:
    """Return the names of the arguments a node really has."""
    return {
        name for name, value in node.args.items() if value is not None and value is not False and value != []
    }


class Numbers:
    """Counts the sources of a text, from 1; `last` is the one given last, and may be set back."""

    def __init__(self) -> None:
        self.last = 0

    def __next__(self) -> int:
        self.last += 1
        return self.last


@lru_cache(maxsize=4096)
def _columns(number: int, names: tuple[str, ...]) -> Mapping[str, Column]:
    """Return the columns of a table, which are the same objects in every query that numbers it so."""
    return {name: Column(number, name) for name in names}


@dataclass
class Entry:
    """What a FROM clause calls a source, and the terms its columns stand for (`None` when not known)."""

    alias: str
    columns: Mapping[str, Term] | None
    number: int
    hidden: set[str] = field(default_factory=set)  # columns merged away by USING
    key: str = "rowid"  # the column that SQLite calls `rowid`

    @property
    def rowid(self) -> Term:
        """The number of a row."""
        return Column(self.number, self.key)

    def find(self, name: str) -> Term | None:
        """Return the column of that name, if the source has or may have it."""
        if self.columns is None:
            return Column(self.number, name)
        return self.columns.get(name)


@dataclass
class Body:
    """The FROM clause of one block, as far as it has been read."""

    sources: list[Source] = field(default_factory=list)
    outers: list[Outer] = field(default_factory=list)
    where: list[Term] = field(default_factory=list)

    def left_join(self, other: Body, condition: list[Term]) -> Body:
        """Return this, with another one on the padded side of a LEFT JOIN."""
        self.outers.append(
            Outer("left", tuple(other.sources), tuple(other.outers), (*other.where, *condition))
        )
        return self


@dataclass
class CommonTable:
    """A CTE: its node, the names of its columns, and where it was written."""

    node: Any
    names: list[str]
    scope: Scope
    own_number: int | None = None  # set while it is read, when it refers to itself
    open: bool = False  # set while it is read, where it may not refer to itself


class FromClause(ABC):
    """The part of a scope that reads FROM clauses."""

    reader: Any  # a `Reader`, or what reads plain texts
    outer: Scope | None
    dialect: str
    collated: bool
    entries: list[Entry]
    common: dict[str, CommonTable]
    merged: int = 0  # columns, by USING and NATURAL

    @abstractmethod
    def beside(self, outer: Scope | None) -> Scope:
        """Return an empty scope inside another one."""

    @abstractmethod
    def here(self) -> Scope:
        """Return this scope."""

    @abstractmethod
    def common_table(self, name: str) -> CommonTable | None:
        """Return the CTE of that name that can be seen from here."""

    @abstractmethod
    def column(self, node: Any) -> Term:
        """Return the column a name stands for."""

    @abstractmethod
    def query(self, node: Any) -> Query:
        """Return a subquery that may refer to this block."""

    @abstractmethod
    def named_window(self, name: str) -> Any:
        """Return the specification of a WINDOW clause."""

    def _source(self, node: Any, body: Body) -> None:
        alias = node.alias.lower()
        if isinstance(node, exp.Table) and isinstance(node.this, (exp.Identifier, str)):
            self._table(node, alias or node.name.lower(), body)
        elif isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table):
            inner = Body()
            self._source(node.this, inner)
            for join in node.args.get("joins") or []:
                inner = self._join(join, inner)
            body.sources += inner.sources
            body.outers += inner.outers
            body.where += inner.where
        elif isinstance(node, (exp.Query, exp.Values)):
            table_alias = node.args.get("alias")
            renamed = (
                [column.name.lower() for column in table_alias.columns] if table_alias is not None else []
            )
            if isinstance(node, exp.Subquery) and not node.args.get("joins"):
                inner_node = node.this if not given(node) - {"this", "alias"} else node
                query, names = self.reader.query(inner_node, self.blank())
            else:
                query, names = self.reader.query(node, self.blank())
            self.derived(query, renamed or names, alias, body)
        elif isinstance(node, exp.Lateral):
            inner = node.this
            if isinstance(inner, exp.Subquery):
                query, names = self.reader.query(inner.this, self.here())
                self.derived(query, names, alias, body)
            else:
                self._call(node, alias, body)
        else:
            self._call(node, alias, body)
        for join in (node.args.get("joins") or []) if isinstance(node, exp.Table) else []:
            changed = self._join(join, body)
            body.sources, body.outers, body.where = changed.sources, changed.outers, changed.where

    def blank(self) -> Scope:
        """Return a scope that sees the CTEs and the blocks around, but not the siblings in FROM."""
        scope = self.beside(self.outer)
        scope.common = self.common
        return scope

    def enter_source(self, entry: Entry) -> None:
        """Make a source known to the names of this block."""
        self.entries.append(entry)
        within("sources of one FROM clause", len(self.entries))

    def base_table(
        self, name: str, alias: str, body: Body, renamed: Sequence[str] = (), options: Iterable[Operator] = ()
    ) -> None:
        """Add a table of the database."""
        number = next(self.reader.numbers)
        table = self.reader.facts.table(name)
        known: Mapping[str, Term] | None = _columns(number, table.columns) or None
        if renamed and known:
            known = dict(zip(renamed, known.values(), strict=False))
        self.enter_source(Entry(alias, known, number, key=table.rowid))
        body.sources.append(Table(number, name, *options))

    def _table(self, node: Any, alias: str, body: Body) -> None:
        name = node.name.lower()
        common = None if node.args.get("db") else self.common_table(name)
        if common is not None:
            self._common(common, name, alias, body)
            return
        renamed = node.args["alias"].columns if node.args.get("alias") is not None else []
        options = [
            Other(key, str(node.args[key]).lower())
            for key in sorted(given(node) - {"this", "alias", "joins", "db", "catalog"})
        ]
        self.base_table(name, alias, body, [one.name.lower() for one in renamed], options)

    def _common(self, common: CommonTable, name: str, alias: str, body: Body) -> None:
        if common.own_number is not None:
            number = next(self.reader.numbers)
            places: dict[str, Term] = {one: Column(number, place) for place, one in enumerate(common.names)}
            self.enter_source(Entry(alias, places or None, number))
            body.sources.append(Itself(number, common.own_number))
            return
        recursive = isinstance(common.node, exp.SetOperation) and any(
            table.name.lower() == name for table in common.node.expression.find_all(exp.Table)
        )
        if not recursive:
            if common.open:
                raise OperationsError(f"The SQL does not run: {name} refers to itself")
            # In other dialects the name, within the CTE itself, is that of a table.
            common.open = self.dialect == "sqlite"
            query, names = self.reader.query(common.node, common.scope)
            common.open = False
            self.derived(query, common.names or names, alias, body)
            return
        common.own_number = next(self.reader.numbers)
        own_names = common.names
        if not own_names:
            common.names = (
                [one.output_name.lower() for one in common.node.this.selects]
                if hasattr(common.node.this, "selects")
                else []
            )
        inner = self.beside(common.scope)
        inner.common = {**common.scope.common, name: common}
        query, names = self.reader.query(common.node, inner)
        recursion = Recursive(common.own_number, query)
        names = common.names or names
        common.own_number, common.names = None, own_names
        self.derived(recursion, names, alias, body)

    def derived(self, query: Query | Recursive, names: list[str], alias: str, body: Body) -> None:
        """Add a query of the FROM clause."""
        number = next(self.reader.numbers)
        places: dict[str, Term] | None = {}
        for place, name in enumerate(names):
            places.setdefault(name, Column(number, place))  # type: ignore[union-attr]
        if "*" in names:
            places = None
        self.enter_source(Entry(alias, places, number))
        body.sources.append(Derived(number, query))

    def _call(self, node: Any, alias: str, body: Body) -> None:
        number = next(self.reader.numbers)
        bare = node.copy()
        if isinstance(bare, exp.Table) and bare.this is None:
            raise OperationsError("The SQL cannot be read: ROWS FROM")
        renamed = node.args["alias"].columns if node.args.get("alias") is not None else []
        bare.set("alias", None)
        self.entries.append(
            Entry(alias, None, number) if not renamed else
            Entry(alias, {one.name.lower(): Column(number, place) for place, one in enumerate(renamed)}, number)
        )  # fmt: skip
        body.sources.append(
            FunctionSource(number, read_term(bare.this if isinstance(bare, exp.Table) else bare, self))
        )

    def _join(self, join: Any, body: Body) -> Body:
        """Return the FROM clause that has been read so far, joined with one more source."""
        before = len(self.entries)
        right = Body()
        self._source(join.this, right)
        if isinstance(join.this, exp.Subquery) and not isinstance(join.this.this, exp.Table):
            for nested in join.this.args.get("joins") or []:
                right = self._join(nested, right)
        side, kind, method = ((join.args.get(name) or "").upper() for name in ("side", "kind", "method"))
        condition = self._join_condition(join, self.entries[:before], self.entries[before:])
        if kind in ("SEMI", "ANTI"):
            del self.entries[before:]
            where = (*right.where, *condition)
            sources, outers = tuple(right.sources), tuple(right.outers)
            probe = Select("select", False, (ONE,), sources, outers, where, None, (), (), None, None)
            exists: Term = Exists(probe)
            body.where.append(exists if kind == "SEMI" else Not(exists))
            return body
        if method in ("ASOF", "POSITIONAL") or side not in ("", "LEFT", "RIGHT", "FULL"):
            condition.append(Word(f"{method} {side}".strip().lower()))
        if side == "LEFT":
            return body.left_join(right, condition)
        if side == "RIGHT":
            return right.left_join(body, condition)
        if side == "FULL":
            number = next(self.reader.numbers)
            groups = [
                Group("group", tuple(one.sources), tuple(one.outers), tuple(one.where))
                for one in (body, right)
            ]
            return Body([Full(number, groups[0], groups[1], tuple(condition))])
        body.sources += right.sources
        body.outers += right.outers
        body.where += right.where
        body.where += condition
        return body

    def _join_condition(self, join: Any, left: list[Entry], right: list[Entry]) -> list[Term]:
        """Return the conditions of ON, USING or NATURAL, and note for `origins` that they were written in FROM."""
        shared = [one.name.lower() for one in join.args.get("using") or []]
        if (join.args.get("method") or "").upper() == "NATURAL":
            shared = [
                name
                for entry in right
                for name in entry.columns or ()
                if any(name in (one.columns or ()) and name not in one.hidden for one in left)
            ]
        self.merged += len(shared)
        within("columns merged by USING", self.merged)
        side = (join.args.get("side") or "").upper()
        condition = [term for name in shared for term in self._merge(name, left, right, side)]
        on = join.args.get("on")
        if on is not None:
            condition += conjuncts(read_term(on, self))
        self.reader.written.append(("FROM", tuple(condition)))
        return condition

    def _merge(self, name: str, left: list[Entry], right: list[Entry], side: str) -> list[Term]:
        """Return the equality that USING stands for, and let the name mean the merged column."""
        a = next((e for e in left if name not in e.hidden and e.find(name) is not None), None)
        b = next((e for e in right if e.find(name) is not None), None)
        if a is None or b is None:
            return [Word(f"using {name}")]
        first, second = a.find(name), b.find(name)
        assert first is not None and second is not None
        b.hidden.add(name)
        if side == "RIGHT":
            b.hidden.discard(name)
            a.hidden.add(name)
        elif side == "FULL" and a.columns is not None:
            a.columns = {**a.columns, name: Call("coalesce", first, second)}
        return [Comparison("=", first, second)]
