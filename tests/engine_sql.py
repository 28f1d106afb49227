# ruff: noqa: E501 - an alternative is easier to read on one line
"""Random SQL as engines define it, in families of texts that look alike: each is another one with a few things changed.

A change may keep the meaning (operands swapped, IN for EXISTS, a derived table around a table) or lose it in a way that
only the engine knows (`+x`, a COLLATE, an ORDER BY in a subquery, a bracket less). Which of it is equal is for the
operations to say and for the engine to judge.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

Expr = tuple[Any, ...]

# (name, type) of each column, by table; what is NOT NULL, unique or a reference is in the DDL.
SQLITE_TABLES = {
    "t": ["id", "n", "r", "s", "x", "c"],
    "u": ["id", "t_id", "m", "w", "d", "k"],
    "v": ["a", "b", "e"],
}
SQLITE_DDL = """
CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL, n INTEGER, r REAL, s TEXT, x, c TEXT COLLATE NOCASE);
CREATE TABLE u (id INTEGER PRIMARY KEY NOT NULL, t_id INTEGER NOT NULL REFERENCES t(id), m NUMERIC, w TEXT, d DATE, k TEXT UNIQUE NOT NULL);
CREATE TABLE v (a INT, b VARCHAR(9) COLLATE RTRIM, e BLOB);
"""
TYPED_DDL = """
CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, r DOUBLE PRECISION, s VARCHAR, x BIGINT, c VARCHAR);
CREATE TABLE u (id INTEGER PRIMARY KEY, t_id INTEGER NOT NULL REFERENCES t(id), m NUMERIC(8,2), w VARCHAR, d DATE, k VARCHAR UNIQUE NOT NULL);
CREATE TABLE v (a INTEGER, b VARCHAR, e DOUBLE PRECISION);
"""
TEXTS = {"s", "c", "w", "k", "b"}
DATES = {"d"}
NUMBERS = {"id", "n", "r", "x", "t_id", "m", "a", "e"}


@dataclass(frozen=True)
class Query:
    """One SELECT."""

    items: tuple[Expr, ...]
    sources: tuple[tuple[str, Any, str, Expr | None], ...]  # join, table or query, alias, condition
    distinct: bool = False
    where: Expr | None = None
    group: tuple[Expr, ...] = ()
    having: Expr | None = None
    order: tuple[tuple[Expr, str], ...] = ()
    limit: str = ""
    common: bool = False  # whether derived tables stand in a WITH clause


@dataclass(frozen=True)
class Compound:
    """Two queries and what is between them."""

    operator: str
    left: Any
    right: Any
    order: str = ""
    limit: str = ""


@dataclass
class Writer:
    """Writes families of queries for one engine."""

    engine: str
    rng: random.Random
    tables: dict[str, list[str]] = field(default_factory=lambda: SQLITE_TABLES)
    loose: float = 0.1  # how often a bracket is left out

    # Expressions ----------------------------------------------------------------------------------

    def column(self, scope: dict[str, Any], among: set[str] | None = None) -> Expr:
        """Return a column of the scope, if there is one of those among which to choose."""
        choices = [
            ("col", alias, name)
            for alias, names in scope.items()
            for name in names
            if among is None or name.rstrip("0123456789_") in among or name in among
        ]
        return self.rng.choice(choices) if choices else ("lit", self.rng.choice(["1", "2"]))

    def number(self) -> Expr:
        literals = ["0", "1", "2", "2", "3", "7", "-1"]
        literals += ["2.0", "2.5", "1e0"] if self.engine == "sqlite" else ["2.5"]
        return ("lit", self.rng.choice(literals))

    def text(self) -> Expr:
        return ("lit", self.rng.choice(["'a'", "'A'", "'b'", "'b '", "'2'", "'7'", "''", "'a%'"]))

    def literal(self, column: Expr) -> Expr:
        """Return a literal to compare a column with; SQLite compares anything."""
        name = column[2] if column[0] == "col" else "n"
        mixed = self.engine == "sqlite" and self.rng.random() < 0.3
        if name in DATES and not mixed:
            return ("lit", self.rng.choice(["'2020-01-01'", "'2021-05-05'"]))
        return self.text() if (name in TEXTS) is not mixed else self.number()

    def value(self, scope: dict[str, Any], depth: int, kind: str = "") -> Expr:
        """Return a value: a column or something computed of one."""
        rng = self.rng
        kind = kind or rng.choice(["number", "number", "text"])
        names = NUMBERS if kind == "number" else TEXTS
        column = self.column(scope, names)
        if depth <= 0 or rng.random() < 0.55:
            return column
        if kind == "number":
            match rng.randrange(7):
                case 0:
                    return (
                        "bin",
                        rng.choice(["+", "-", "*"]),
                        self.value(scope, depth - 1, kind),
                        self.number(),
                    )
                case 1:
                    return ("fn", "ABS", column)
                case 2:
                    return ("fn", "COALESCE", column, rng.choice([self.number(), column]))
                case 3:
                    return (
                        "case",
                        self.condition(scope, depth - 1),
                        column,
                        rng.choice([column, self.number(), ("lit", "NULL")]),
                    )
                case 4:
                    return ("bin", "%", column, ("lit", "2")) if self.engine == "sqlite" else column
                case 5:
                    return ("scalar", self.scalar(scope, depth - 1))
                case _:
                    return ("cast", column, rng.choice(["INTEGER", "REAL"]))
        match rng.randrange(5):
            case 0:
                return ("bin", "||", column, self.text())
            case 1:
                return ("fn", rng.choice(["LOWER", "UPPER"]), column)
            case 2:
                return ("fn", "COALESCE", column, self.text())
            case 3 if self.engine == "sqlite":
                return (
                    "cast",
                    self.column(scope),
                    rng.choice(["TEXT", "STRING", "NUMERIC", "BLOB", "VARCHAR(9)"]),
                )
            case _:
                return (
                    ("collate", column, rng.choice(["NOCASE", "BINARY"]))
                    if self.engine == "sqlite"
                    else column
                )

    def condition(self, scope: dict[str, Any], depth: int) -> Expr:
        """Return a condition."""
        rng = self.rng
        if depth > 0 and rng.random() < 0.35:
            parts = self.condition(scope, depth - 1), self.condition(scope, depth - 1)
            return ("bin", rng.choice(["AND", "AND", "OR"]), *parts)
        if rng.random() < 0.08:
            return ("not", self.condition(scope, depth - 1))
        left = self.value(scope, depth, rng.choice(["number", "text"]))
        kind = "text" if left[0] == "col" and left[2] in TEXTS else "number"
        if left[0] in ("fn", "bin", "collate") and left[1] in ("||", "LOWER", "UPPER"):
            kind = "text"
        choice = rng.randrange(12)
        if choice < 4:
            return (
                "bin",
                rng.choice(["=", "=", "<>", "<", "<=", ">", ">="]),
                left,
                self.literal(left)
                if left[0] == "col"
                else (self.number() if kind == "number" else self.text()),
            )
        if choice == 4:
            right = (
                self.column(scope, NUMBERS if kind == "number" else TEXTS)
                if self.engine != "sqlite" or rng.random() < 0.6
                else self.column(scope)
            )
            return (
                "bin",
                rng.choice(["=", "=", "<", ">=", "<>", *(["IS"] if self.engine == "sqlite" else [])]),
                left,
                right,
            )
        if choice == 5:
            return ("isnull", left, rng.random() < 0.5)
        if choice == 6:
            few = [
                self.literal(left) if left[0] == "col" else self.number() if kind == "number" else self.text()
                for _ in range(rng.choice([1, 2, 3]))
            ]
            if rng.random() < 0.2:
                few[0] = self.column(scope, NUMBERS if kind == "number" else TEXTS)
            return ("in", left, tuple(few), rng.random() < 0.3)
        if choice == 7:
            low, high = (
                self.number() if kind == "number" else self.text(),
                self.number() if kind == "number" else self.text(),
            )
            return ("between", left, low, high, rng.random() < 0.2, False)
        if choice == 8 and kind == "text":
            return ("like", left, ("lit", rng.choice(["'a%'", "'%b'", "'_'", "'A%'"])), rng.random() < 0.3)
        if depth > 0 and choice in (9, 10):
            return self.membership(scope, depth, left, kind)
        if depth > 0 and choice == 11:
            return (
                ("bin", rng.choice(["=", ">", "<="]), left, ("scalar", self.scalar(scope, depth - 1)))
                if kind == "number"
                else ("isnull", left, True)
            )
        return ("bin", "=", left, self.number() if kind == "number" else self.text())

    def membership(self, scope: dict[str, Any], depth: int, left: Expr, kind: str) -> Expr:
        table, alias, inner = self.inner(scope)
        item = self.column({alias: inner[alias]}, NUMBERS if kind == "number" else TEXTS)
        where = (
            self.condition(inner if self.rng.random() < 0.3 else {alias: inner[alias]}, 0)
            if self.rng.random() < 0.6
            else None
        )
        query = Query((item,), (("", table, alias, None),), where=where)
        return ("inq", left, query, self.rng.random() < 0.3)

    def scalar(self, scope: dict[str, Any], depth: int) -> Query:
        table, alias, inner = self.inner(scope)
        item = (
            "agg",
            self.rng.choice(["MAX", "MIN", "COUNT"]),
            False,
            self.column({alias: inner[alias]}, NUMBERS),
        )
        return Query(
            (item,),
            (("", table, alias, None),),
            where=self.condition(inner, 0) if self.rng.random() < 0.5 else None,
        )

    def inner(self, scope: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
        table = self.rng.choice(list(self.tables))
        alias = self.alias(scope)
        return table, alias, {**scope, alias: self.tables[table]}

    def alias(self, scope: dict[str, Any]) -> str:
        return next(one for one in (f"q{n}" for n in range(99)) if one not in scope)

    # Queries --------------------------------------------------------------------------------------

    def sources(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return a FROM clause and its scope."""
        rng = self.rng
        first = rng.choice(list(self.tables))
        scope: dict[str, Any] = {"q0": self.tables[first]}
        found: list[Any] = [("", first, "q0", None)]
        for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
            other = rng.choice(list(self.tables))
            alias = self.alias(scope)
            outer = dict(scope)
            scope[alias] = self.tables[other]
            if {first, other} == {"t", "u"} and rng.random() < 0.6:
                child, parent = (alias, "q0") if other == "u" else ("q0", alias)
                on: Expr = ("bin", "=", ("col", child, "t_id"), ("col", parent, "id"))
            else:
                kind = rng.choice([NUMBERS, TEXTS])
                on = ("bin", "=", self.column(outer, kind), self.column({alias: scope[alias]}, kind))
            if rng.random() < 0.2:
                on = ("bin", "AND", on, self.condition({alias: scope[alias]}, 0))
            found.append((rng.choice(["JOIN", "JOIN", "LEFT JOIN"]), other, alias, on))
        return tuple(found), scope

    def query(self) -> Any:
        """Return a random query."""
        rng = self.rng
        if rng.random() < 0.15:
            kind = rng.choice([NUMBERS, TEXTS])
            parts = []
            for _ in range(2):
                table, alias, scope = self.inner({})
                where = self.condition(scope, 1) if rng.random() < 0.7 else None
                parts.append(
                    Query(
                        (self.column(scope, kind),),
                        (("", table, alias, None),),
                        where=where,
                        distinct=rng.random() < 0.1,
                    )
                )
            if rng.random() < 0.4:
                parts[1] = replace(
                    parts[0],
                    where=parts[1].where
                    and self.condition({parts[0].sources[0][2]: self.tables[parts[0].sources[0][1]]}, 1),
                )
            return Compound(rng.choice(["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]), *parts)
        sources, scope = self.sources()
        where = self.condition(scope, 2) if rng.random() < 0.8 else None
        shape = rng.random()
        if shape < 0.25:
            keys = tuple(self.column(scope) for _ in range(rng.choice([1, 1, 2])))
            items = (*keys, *(self.aggregate(scope) for _ in range(rng.choice([0, 1, 1, 2]))))
            having = (
                ("bin", rng.choice([">", ">=", "="]), self.aggregate(scope, numeric=True), self.number())
                if rng.random() < 0.3
                else None
            )
            query = Query(
                items, sources, where=where, group=keys, having=having, distinct=rng.random() < 0.05
            )
        elif shape < 0.4:
            query = Query(
                tuple(self.aggregate(scope) for _ in range(rng.choice([1, 1, 2]))), sources, where=where
            )
        elif shape < 0.5:
            query = Query((self.column(scope), self.window(scope)), sources, where=where)
        else:
            items = tuple(self.value(scope, rng.choice([0, 0, 1])) for _ in range(rng.choice([1, 1, 2, 3])))
            query = Query(items, sources, where=where, distinct=rng.random() < 0.2)
        if rng.random() < 0.3:
            directions = ("", "", " DESC")
            keys = [(item, rng.choice(directions)) for item in query.items]
            rng.shuffle(keys)
            query = replace(query, order=tuple(keys[: rng.choice([1, 3, 3])]))
            # Where rows tie, LIMIT may keep any of them; what a collation takes for equal ties.
            if len(query.order) == len(query.items) and not _collated(query.items) and rng.random() < 0.5:
                query = replace(
                    query, limit=f" LIMIT {rng.choice([1, 2, 3])}" + rng.choice(["", "", " OFFSET 1"])
                )
        if rng.random() < 0.25:
            query = self.wrapped(query)
        return query

    def aggregate(self, scope: dict[str, Any], numeric: bool = False) -> Expr:
        name = self.rng.choice(["COUNT", "COUNT", "SUM", "MIN", "MAX", "AVG"])
        if name == "COUNT" and self.rng.random() < 0.4:
            return ("agg", "COUNT", False, ("star",))
        argument = self.column(scope, NUMBERS if numeric or name in ("SUM", "AVG") else None)
        if name in ("COUNT", "SUM") and self.rng.random() < 0.3:
            argument = (
                "case",
                self.condition(scope, 0),
                ("lit", "1"),
                ("lit", self.rng.choice(["0", "NULL"])),
            )
        return ("agg", name, self.rng.random() < 0.2, argument)

    def window(self, scope: dict[str, Any]) -> Expr:
        rng = self.rng
        # A frame of rows depends on the order of equal keys, so the key has to be one.
        alone = len(scope) == 1 and "id" in next(iter(scope.values()))
        key = self.column(scope, {"id"}) if alone else self.column(scope)
        function = rng.choice(["SUM", "COUNT", "MAX"])
        partition = (self.column(scope),) if rng.random() < 0.4 else ()
        frame = rng.choice(["", "", "ROWS UNBOUNDED PRECEDING", "ROWS BETWEEN 1 PRECEDING AND CURRENT ROW", "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
                            "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING"])  # fmt: skip
        frame = frame if alone or not frame.startswith("ROWS") else ""
        if frame and rng.random() < 0.4:
            frame = frame if "BETWEEN" in frame else "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
            frame += rng.choice(
                [" EXCLUDE CURRENT ROW", " EXCLUDE TIES", " EXCLUDE NO OTHERS", " EXCLUDE GROUP"]
            )
        return ("win", function, self.column(scope, NUMBERS), partition, key, frame)

    def wrapped(self, query: Query) -> Query:
        """Return a query around another one."""
        rng = self.rng
        names = [f"c{place}" for place in range(len(query.items))]
        items: tuple[Expr, ...] = tuple(("col", "w0", name) for name in names)
        shape = rng.random()
        where = None
        if shape < 0.3:
            items = (
                (
                    "agg",
                    rng.choice(
                        ["COUNT", "MAX", "GROUP_CONCAT"] if self.engine == "sqlite" else ["COUNT", "MAX"]
                    ),
                    False,
                    items[0],
                ),
            )
        elif shape < 0.5:
            where = ("isnull", items[0], True)
        order, limit = query.order, query.limit
        if (
            rng.random() < 0.5
            and len(order) == len(items) == len(query.items)
            and not limit
            and not _collated(query.items)
        ):
            return Query(
                items, (("", query, "w0", None),), where=where, limit=" LIMIT 2", common=rng.random() < 0.3
            )
        return Query(items, (("", query, "w0", None),), where=where, common=rng.random() < 0.3)

    # Changes --------------------------------------------------------------------------------------

    def changed(self, query: Any) -> Any:
        """Return a query with one to three changes."""
        for _ in range(self.rng.choice([1, 1, 2, 3])):
            query = self._change(query)
        return query

    def _change(self, query: Any) -> Any:
        rng = self.rng
        if isinstance(query, Compound):
            return self._change_compound(query)
        options: list[Callable[[], Any]] = [
            lambda: replace(query, where=self._in_condition(query.where)) if query.where else query,
            lambda: replace(query, where=self._in_condition(query.where)) if query.where else query,
            lambda: replace(query, where=self._in_condition(query.where)) if query.where else query,
            lambda: replace(query, having=self._in_condition(query.having)) if query.having else query,
            lambda: replace(
                query,
                items=tuple(self._in_expr(item) if rng.random() < 0.5 else item for item in query.items),
            ),
            lambda: self._order(query),
            lambda: self._sources(query),
            lambda: self._sources(query),
            lambda: self._grouping(query),
            lambda: (
                replace(query, where=("bin", "AND", query.where, self.trivial()))
                if query.where
                else replace(query, where=self.trivial())
            ),
        ]
        return rng.choice(options)()

    def trivial(self) -> Expr:
        return self.rng.choice(
            [
                ("lit", "TRUE"),
                ("bin", "=", ("lit", "1"), ("lit", "1")),
                ("lit", "1") if self.engine == "sqlite" else ("lit", "TRUE"),
            ]
        )

    def _change_compound(self, query: Compound) -> Any:
        rng = self.rng
        match rng.randrange(5):
            case 0:
                return replace(query, left=query.right, right=query.left)
            case 1:
                return replace(query, left=self._change(query.left))
            case 2:
                return replace(query, right=self._change(query.right))
            case 3 if (
                query.left.sources[0][1] == query.right.sources[0][1]
                and query.left.items[0][2:] == query.right.items[0][2:]
                and query.left.where
                and query.right.where
                and query.left.sources[0][2] == query.right.sources[0][2]
            ):
                operator = {"UNION": "OR", "INTERSECT": "AND"}.get(query.operator)
                if operator:
                    return replace(
                        query.left,
                        distinct=True,
                        where=("bin", operator, query.left.where, query.right.where),
                    )
                return query
            case _ if query.operator in ("INTERSECT", "EXCEPT"):
                item = query.left.items[0]
                member = ("inq", item, query.right, query.operator == "EXCEPT")
                where = ("bin", "AND", query.left.where, member) if query.left.where else member
                return replace(query.left, distinct=True, where=where)
            case _:
                return query

    def _order(self, query: Query) -> Query:
        rng = self.rng
        if query.order and rng.random() < 0.5:
            keys = list(query.order)
            place = rng.randrange(len(keys))
            match rng.randrange(4):
                case 0:
                    del keys[place]
                case 1 if keys[place][0] in query.items:
                    number = str(query.items.index(keys[place][0]) + 1)
                    keys[place] = (
                        (
                            "lit",
                            rng.choice(
                                [number, f"({number})"] + ([f"+{number}"] if self.engine == "sqlite" else [])
                            ),
                        ),
                        keys[place][1],
                    )
                case 2:
                    keys[place] = (self._in_expr(keys[place][0]), keys[place][1])
                case _:
                    keys.append((query.items[0], ""))
            return replace(query, order=tuple(keys))
        (join, source, alias, on), *rest = query.sources
        if isinstance(source, Query):
            inner = (
                self._order(source)
                if rng.random() < 0.5
                else replace(
                    source,
                    order=()
                    if source.order and not source.limit
                    else ((source.items[0], rng.choice(["", " DESC"])),),
                )
            )
            return replace(query, sources=((join, inner, alias, on), *rest))
        return replace(query, distinct=not query.distinct) if rng.random() < 0.2 else query

    def _sources(self, query: Query) -> Query:
        rng = self.rng
        sources = list(query.sources)
        place = rng.randrange(len(sources))
        join, source, alias, on = sources[place]
        match rng.randrange(7):
            case 0 if isinstance(source, str):
                inner = Query(
                    tuple(("col", "z", name) for name in self.tables[source]), (("", source, "z", None),)
                )
                if rng.random() < 0.4:
                    inner = replace(
                        inner,
                        order=((inner.items[rng.randrange(len(inner.items))], rng.choice(["", " DESC"])),),
                    )
                # The columns keep their names.
                sources[place] = (join, ("named", inner, self.tables[source]), alias, on)
            case 1 if isinstance(source, Query):
                sources[place] = (join, self._change(source), alias, on)
            case 2 if on is not None and join == "JOIN":
                sources[place] = ("JOIN", source, alias, ("lit", "TRUE"))
                return replace(
                    query,
                    sources=tuple(sources),
                    where=("bin", "AND", on, query.where) if query.where else on,
                )
            case 3 if on is not None:
                sources[place] = (join, source, alias, self._in_condition(on))
            case 4 if join == "LEFT JOIN":
                sources[place] = ("JOIN", source, alias, on)
            case 5 if len(sources) == 2 and place == 1 and join == "JOIN":
                sources = [("", source, alias, None), ("JOIN", sources[0][1], sources[0][2], on)]
            case 6:
                return replace(query, common=not query.common)
            case _:
                pass
        return replace(query, sources=tuple(sources))

    def _grouping(self, query: Query) -> Query:
        rng = self.rng
        if query.group and query.items == query.group and not query.having:
            return replace(query, group=(), distinct=True)
        if (
            query.distinct
            and not query.group
            and not any(one[0] in ("agg", "win", "scalar") for one in query.items)
        ):
            return replace(query, distinct=False, group=query.items)
        if query.group and query.having is None and query.where and rng.random() < 0.4:
            return replace(query, where=None, having=query.where)
        if query.group:
            return replace(query, group=tuple(reversed(query.group)))
        return query

    def _in_condition(self, condition: Expr) -> Expr:
        """Return a condition with one change somewhere."""
        rng = self.rng
        if condition[0] == "bin" and condition[1] in ("AND", "OR") and rng.random() < 0.75:
            if rng.random() < 0.25:
                return ("bin", condition[1], condition[3], condition[2])
            place = rng.choice([2, 3])
            parts = list(condition)
            parts[place] = self._in_condition(condition[place])
            return tuple(parts)
        changes = [
            self._wrap_condition,
            self._of_comparison,
            self._of_comparison,
            self._of_comparison,
            self._operand,
            self._operand,
        ]
        return rng.choice(changes)(condition)

    def _wrap_condition(self, condition: Expr) -> Expr:
        match self.rng.randrange(6):
            case 0:
                return ("not", ("not", condition))
            case 1:
                return ("bin", "AND", condition, condition)
            case 2:
                return ("bin", "OR", condition, ("lit", "FALSE"))
            case 3 if condition[0] == "not":
                return self.negated(condition[1])
            case 4:
                return ("not", self.negated(condition))
            case _:
                return ("is", condition, ("lit", "TRUE"))

    def negated(self, condition: Expr) -> Expr:
        """Return the opposite of a condition, pushed inside."""
        head = condition[0]
        if head == "bin" and condition[1] in ("AND", "OR"):
            return (
                "bin",
                {"AND": "OR", "OR": "AND"}[condition[1]],
                self.negated(condition[2]),
                self.negated(condition[3]),
            )
        if head == "bin" and condition[1] in _OPPOSITE:
            return ("bin", _OPPOSITE[condition[1]], *condition[2:])
        if head in ("in", "inq", "isnull", "between", "like"):
            place = {"in": 3, "inq": 3, "isnull": 2, "between": 4, "like": 3}[head]
            return (*condition[:place], not condition[place], *condition[place + 1 :])
        return ("not", condition)

    def _of_comparison(self, condition: Expr) -> Expr:
        """Return a comparison in another form."""
        rng = self.rng
        head = condition[0]
        if head == "bin" and condition[1] in _FLIPPED:
            _, operator, left, right = condition
            match rng.randrange(6):
                case 0 | 1:
                    return ("bin", _FLIPPED[operator], right, left)
                case 2 if operator == "=":
                    return ("in", left, (right,), False)
                case 3 if operator == "=" and self.engine == "sqlite":
                    return ("bin", "IS", left, right)
                case 4:
                    return (
                        ("not", ("bin", _OPPOSITE.get(operator, operator), left, right))
                        if operator in _OPPOSITE
                        else condition
                    )
                case _:
                    return ("bin", operator, left, self.respelled(right))
        if head == "between":
            _, value, low, high, negated, symmetric = condition
            if not negated and rng.random() < 0.6:
                return ("bin", "AND", ("bin", ">=", value, low), ("bin", "<=", value, high))
            if self.engine != "sqlite":
                return (*condition[:5], not symmetric)
        if head == "in":
            _, left, few, negated = condition
            operator, glue = ("<>", "AND") if negated else ("=", "OR")
            parts = [("bin", operator, left, one) for one in few]
            whole: Expr = parts[0]
            for one in parts[1:]:
                whole = ("bin", glue, whole, one)
            return whole
        if head == "inq" and isinstance(condition[2], Query):
            _, left, query, negated = condition
            equal: Expr = ("bin", "=", query.items[0], left)
            where = ("bin", "AND", query.where, equal) if query.where else equal
            return ("exists", replace(query, items=(("lit", "1"),), where=where), negated)
        if head == "isnull":
            return ("not", ("isnull", condition[1], not condition[2]))
        if head == "like":
            return (*condition[:2], self.respelled(condition[2]), condition[3])
        return condition

    def _operand(self, condition: Expr) -> Expr:
        """Return a condition with one operand written otherwise."""
        if condition[0] in ("bin", "in", "between", "isnull", "inq", "like"):
            places = [2, 3] if condition[0] == "bin" else [1]
            place = self.rng.choice(places)
            if condition[0] == "bin" and condition[1] in ("AND", "OR"):
                return condition
            parts = list(condition)
            parts[place] = self._in_expr(condition[place])
            return tuple(parts)
        return condition

    def _in_expr(self, term: Expr) -> Expr:
        """Return a value in another form."""
        rng = self.rng
        sqlite = self.engine == "sqlite"
        if term[0] == "lit":
            return self.respelled(term)
        if term[0] == "agg":
            return self._of_aggregate(term)
        if term[0] == "win":
            frames = ["", "RANGE UNBOUNDED PRECEDING"]
            if term[4][2] == "id" and term[5].startswith("ROWS"):
                frames += ["ROWS UNBOUNDED PRECEDING", "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"]
            return (*term[:5], rng.choice([*frames, term[5].split(" EXCLUDE", maxsplit=1)[0]]))
        if term[0] == "bin" and term[1] in ("+", "*") and rng.random() < 0.6:
            return ("bin", term[1], term[3], term[2])
        match rng.randrange(10):
            case 0:
                return ("plus", term) if sqlite or term[0] != "col" or term[2] in NUMBERS else term
            case 1:
                return ("fn", "COALESCE", term, term)
            case 2:
                return ("fn", "COALESCE", term, ("lit", "NULL"))
            case 3:
                return ("case", ("bin", "=", ("lit", "1"), ("lit", "1")), term, ("lit", "NULL"))
            case 4:
                return ("case", ("isnull", term, True), term, ("lit", "NULL"))
            case 5 if sqlite:
                return ("collate", term, rng.choice(["NOCASE", "BINARY", "RTRIM"]))
            case 6 if sqlite:
                return ("cast", term, rng.choice(["TEXT", "INTEGER", "REAL", "NUMERIC", "BLOB", "STRING"]))
            case 7 if sqlite:
                return ("not", ("not", term))
            case 8 if sqlite:
                return ("bin", "AND", term, ("lit", "TRUE"))
            case _:
                return (
                    ("scalar", Query((term,), ()))
                    if rng.random() < 0.2
                    else ("bin", "+", term, ("lit", "0"))
                    if rng.random() < 0.1 and sqlite
                    else term
                )

    def _of_aggregate(self, term: Expr) -> Expr:
        _, name, distinct, argument = term
        match self.rng.randrange(5):
            case 0:
                return ("agg", name, not distinct and argument != ("star",), argument)
            case 1 if name == "COUNT":
                return (
                    "agg",
                    "COUNT",
                    distinct and argument != ("star",),
                    ("lit", "1") if argument == ("star",) else argument,
                )
            case 2 if name == "COUNT":
                return ("agg", "COUNT", False, ("star",))
            case 3 if argument[0] == "case":
                return (
                    "agg",
                    {"SUM": "COUNT", "COUNT": "SUM"}.get(name, name),
                    distinct,
                    (*argument[:3], ("lit", self.rng.choice(["0", "NULL"]))),
                )
            case _:
                return ("agg", name, distinct, self._in_expr(argument)) if argument != ("star",) else term

    def respelled(self, term: Expr) -> Expr:
        """Return a literal written otherwise."""
        if term[0] != "lit" or term[1] in ("NULL", "TRUE", "FALSE"):
            return term
        text = term[1]
        if text.startswith("'"):
            bare = text[1:-1]
            options = [text, text.swapcase(), f"'{bare} '"]
            if self.engine == "sqlite":
                options += [f'"{bare}"', f"`{bare}`", f"[{bare}]"] if bare else []
                options += [bare] if bare.isdigit() else []
        else:
            options = [text, f"{text}.0" if text.lstrip("-").isdigit() else text, text]
            if self.engine == "sqlite":
                options += [
                    f"'{text}'",
                    f"'{text}.0'" if text.lstrip("-").isdigit() else text,
                    f"{text}e0" if text.isdigit() else text,
                ]
        return ("lit", self.rng.choice(options))

    # Text -----------------------------------------------------------------------------------------

    def sql(self, query: Any) -> str:
        """Return a query as text."""
        if isinstance(query, Compound):
            return f"{self.sql(query.left)} {query.operator} {self.sql(query.right)}"
        if isinstance(query, tuple):
            return self._named(query)
        text, tail = "", []
        for join, source, alias, on in query.sources:
            if isinstance(source, str):
                said = f"{source} AS {alias}"
            elif query.common and not join and isinstance(source, Query):
                tail.append(f"{alias}_ AS ({self._columns_named(source)})")
                said = f"{alias}_ AS {alias}"
            else:
                said = f"({self._columns_named(source) if isinstance(source, Query) else self._named(source)}) AS {alias}"
            text += f" {join} {said}" if join else f" FROM {said}" if not text else f", {said}"
            if on is not None:
                text += f" ON {self.said(on)}"
        found = f"WITH {', '.join(tail)} " if tail else ""
        found += (
            "SELECT "
            + ("DISTINCT " if query.distinct else "")
            + ", ".join(map(self.said, query.items))
            + text
        )
        if query.where:
            found += f" WHERE {self.said(query.where)}"
        if query.group:
            found += " GROUP BY " + ", ".join(map(self.said, query.group))
        if query.having:
            found += f" HAVING {self.said(query.having)}"
        if query.order:
            found += " ORDER BY " + ", ".join(self.said(key) + direction for key, direction in query.order)
        return found + query.limit

    def _columns_named(self, query: Query) -> str:
        return self._with_names(query, [f"c{place}" for place in range(len(query.items))])

    def _named(self, source: tuple[Any, ...]) -> str:
        return self._with_names(source[1], source[2])

    def _with_names(self, query: Query, names: list[str]) -> str:
        items = tuple(("as", item, name) for item, name in zip(query.items, names, strict=True))
        return self.sql(replace(query, items=items))

    def said(self, term: Expr) -> str:
        """Return an expression as text; now and then without a bracket that it needs."""
        head = term[0]
        if head == "as":
            return f"{self.said(term[1])} AS {term[2]}"
        if head == "col":
            return f"{term[1]}.{term[2]}"
        if head == "lit":
            return str(term[1])
        if head == "star":
            return "*"
        if head == "bin":
            return f"{self.inside(term[2])} {term[1]} {self.inside(term[3])}"
        if head == "is":
            return f"{self.inside(term[1])} IS {self.said(term[2])}"
        if head == "not":
            return f"NOT {self.inside(term[1])}"
        if head == "plus":
            return f"+{self.inside(term[1])}"
        if head == "fn":
            return f"{term[1]}({', '.join(map(self.said, term[2:]))})"
        if head == "cast":
            return f"CAST({self.said(term[1])} AS {term[2]})"
        if head == "collate":
            return f"{self.inside(term[1])} COLLATE {term[2]}"
        if head == "case":
            return f"CASE WHEN {self.said(term[1])} THEN {self.said(term[2])} ELSE {self.said(term[3])} END"
        if head == "scalar":
            return f"({self.sql(term[1])})"
        if head == "exists":
            return f"{'NOT ' if term[2] else ''}EXISTS ({self.sql(term[1])})"
        if head == "in":
            return (
                f"{self.inside(term[1])} {'NOT ' if term[3] else ''}IN ({', '.join(map(self.said, term[2]))})"
            )
        if head == "inq":
            return f"{self.inside(term[1])} {'NOT ' if term[3] else ''}IN ({self.sql(term[2])})"
        if head == "like":
            return f"{self.inside(term[1])} {'NOT ' if term[3] else ''}LIKE {self.inside(term[2])}"
        if head == "isnull":
            return f"{self.inside(term[1])} IS {'NOT ' if term[2] else ''}NULL"
        if head == "between":
            symmetric = "SYMMETRIC " if term[5] else ""
            return f"{self.inside(term[1])} {'NOT ' if term[4] else ''}BETWEEN {symmetric}{self.inside(term[2])} AND {self.inside(term[3])}"
        if head == "agg":
            return f"{term[1]}({'DISTINCT ' if term[2] else ''}{self.said(term[3])})"
        partition = f"PARTITION BY {', '.join(map(self.said, term[3]))} " if term[3] else ""
        return f"{term[1]}({self.said(term[2])}) OVER ({partition}ORDER BY {self.said(term[4])} {term[5]})"

    def inside(self, term: Expr) -> str:
        text = self.said(term)
        if (
            term[0] in ("col", "lit", "fn", "cast", "case", "scalar", "agg", "star")
            or self.rng.random() < self.loose
        ):
            return text
        return f"({text})"

    def family(self, size: int) -> list[str]:
        """Return texts that look alike."""
        base = self.query()
        return list(dict.fromkeys([self.sql(base), *(self.sql(self.changed(base)) for _ in range(size - 1))]))


def _collated(items: tuple[Expr, ...]) -> bool:
    return any(name in repr(items) for name in ("'c')", "'b')", "COLLATE", "collate"))


_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>", "IS": "IS"}
_OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def rows_for(engine: str, rng: random.Random) -> dict[str, list[tuple[object, ...]]]:
    """Return rows of every table that keep its keys, with NULLs, repeats, edge values and, in SQLite, mixed types."""
    sqlite = engine == "sqlite"

    def maybe(values: list[object], share: float = 0.25) -> object:
        return None if rng.random() < share else rng.choice(values)

    texts: list[object] = ["a", "A", "b", "b ", "2", "7", "", "aB", "02"]
    numbers: list[object] = [0, 1, 2, 3, 7, -1]
    mixed: list[object] = [2, 2.0, "2", "a", 7, b"a", "7", 2.5] if sqlite else [0, 2, 7, 3]
    reals: list[object] = [2.0, 2.5, 7.0, -1.0, 0.0]
    dates: list[object] = ["2020-01-01", "2021-05-05", *(["2020", 2020] if sqlite else [])]
    ids = list(range(1, rng.choice([2, 3, 5, 6])))
    t = [(one, maybe(numbers), maybe(reals), maybe(texts), maybe(mixed), maybe(texts)) for one in ids]
    keys = rng.sample(["a", "A", "b", "c", "2", "7", ""], min(7, rng.choice([0, 2, 4, 5])))
    u = [
        (
            place + 1,
            rng.choice(ids),
            maybe(numbers if not sqlite else [*numbers, 2.5]),
            maybe(texts),
            maybe(dates),
            key,
        )
        for place, key in enumerate(keys)
    ]
    v = [
        (maybe(numbers), maybe(texts), maybe(mixed if sqlite else reals))
        for _ in range(rng.choice([0, 2, 4, 6]))
    ]
    return {"t": t, "u": u, "v": v}
