"""Ways to ask one thing, beside ways to ask nearly that: families of queries; `engine_sql` changes their parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from engine_sql import DATES, NUMBERS, TEXTS, Compound, Expr, Query, Writer

ONE: Expr = ("lit", "1")
FALSE: Expr = ("bin", "=", ONE, ("lit", "2"))
STAR: Expr = ("star",)


def equal(left: Expr, right: Expr) -> Expr:
    return ("bin", "=", left, right)


def every(*conditions: Expr | None) -> Expr | None:
    found: Expr | None = None
    for one in conditions:
        found = one if found is None else found if one is None else ("bin", "AND", found, one)
    return found


def count(argument: Expr = STAR, distinct: bool = False) -> Expr:
    return ("agg", "COUNT", distinct, argument)


def rows_where(condition: Expr, otherwise: str = "NULL") -> Expr:
    return (
        "agg",
        "SUM" if otherwise == "0" else "COUNT",
        False,
        ("case", condition, ONE, ("lit", otherwise)),
    )


def bound(term: Expr, operator: str, number: int) -> Expr:
    return ("bin", operator, term, ("lit", str(number)))


@dataclass
class Ways:
    """Writes families with a writer of parts."""

    parts: Writer

    def family(self, size: int) -> list[str]:
        """Return texts of which several mean the same; some have a part changed as well."""
        rng = self.parts.rng
        kinds: list[Callable[[], list[Any]]] = [
            self.nulls, self.itself, self.groups, self.lists, self.least, self.unions, self.first, self.one_row,
            self.distinct_rows, self.given_back, self.side_by_side, self.branches, self.counted,
        ]  # fmt: skip
        bases = rng.choice(kinds)()
        reading = [one for one in bases if isinstance(one, Compound) or one.sources]
        changed = [self.parts.changed(rng.choice(reading)) for _ in range(max(0, size - len(bases)))]
        return list(dict.fromkeys(map(self.parts.sql, [*bases, *changed])))

    def frame(self) -> tuple[Query, dict[str, Any], Expr]:
        """Return a query without items, its scope, and one of its columns."""
        sources, scope = self.parts.sources()
        where = self.parts.condition(scope, 0) if self.parts.rng.random() < 0.4 else None
        return Query((ONE,), sources, where=where), scope, self.parts.column(scope)

    def constants(self, column: Expr) -> tuple[Expr, Expr]:
        return self.parts.literal(column), self.parts.literal(column)

    def table_of(self, query: Query, column: Expr) -> str:
        return next(source for _, source, alias, _ in query.sources if alias == column[1])

    def nulls(self) -> list[Any]:
        """Aggregates beside `IS NOT NULL` of what they read."""
        query, scope, column = self.frame()
        items = tuple(self.parts.aggregate(scope) for _ in range(self.parts.rng.choice([1, 2])))
        read = next((item[3] for item in items if item[3][0] == "col"), column)
        items = tuple(count(read) if item == count() else item for item in items)
        asked = every(query.where, ("isnull", read, True))
        every_row = tuple(count() if item == count(read) else item for item in items)
        return [
            replace(query, items=items),
            replace(query, items=items, where=asked),
            replace(query, items=every_row, where=asked),
            replace(query, items=items, where=every(query.where, ("isnull", column, True))),
            replace(query, items=items, where=asked, group=(column,)),
        ]

    def itself(self) -> list[Any]:
        """A table that is read again for a column of its row."""
        query, _, column = self.frame()
        table = self.table_of(query, column)
        again = ("col", "z", column[2])
        other = self.parts.column({"z": self.parts.tables[table]})
        value = self.parts.literal(column)
        operator = self.parts.rng.choice(["=", "<>", "<"])

        def inside(where: Expr | None) -> Query:
            return Query((again,), (("", table, "z", None),), where=where)

        conditions = [
            every(("isnull", column, True), ("bin", operator, column, value)),
            ("bin", operator, column, value),
            ("inq", column, inside(("bin", operator, again, value)), False),
            ("exists", inside(every(equal(again, column), ("bin", operator, again, value))), False),
            ("inq", column, inside(every(("bin", operator, again, value), ("isnull", other, True))), False),
            ("inq", column, inside(None), False),
            ("isnull", column, True),
        ]
        return [replace(query, items=(column,), where=every(query.where, one)) for one in conditions]

    def groups(self) -> list[Any]:
        """HAVING that asks for some row of a group, or none."""
        query, scope, key = self.frame()
        asked, other = self.parts.condition(scope, 0), self.parts.condition(scope, 0)
        whole = replace(query, items=(key,), group=(key,))
        some = replace(query, items=(key,), where=every(query.where, asked))
        having = [
            bound(rows_where(asked), ">", 0),
            bound(rows_where(asked, "0"), ">=", 1),
            bound(rows_where(asked, "0"), "=", 0),
            bound(rows_where(asked), "<", 1),
            every(bound(rows_where(asked), ">", 0), bound(rows_where(other), ">", 0)),
            every(bound(rows_where(asked), ">", 0), bound(rows_where(other), "=", 0)),
            bound(rows_where(asked), ">", 1),
        ]
        plain = replace(query, items=(key,))
        others = replace(query, items=(key,), where=every(query.where, other))
        return [
            *(replace(whole, having=one) for one in having),
            replace(some, group=(key,)),
            replace(some, distinct=True),
            Compound("EXCEPT", plain, some),
            Compound("INTERSECT", some, others),
            Compound("EXCEPT", some, others),
        ]

    def lists(self) -> list[Any]:
        """COUNT(DISTINCT x) of as many values as a list has."""
        query, scope, key = self.frame()
        column = self.parts.column(scope)
        a, b = self.constants(column)
        among = ("in", column, (a, b), False)
        of = [replace(query, items=(key,), where=every(query.where, equal(column, one))) for one in (a, b)]
        grouped = replace(query, items=(key,), group=(key,))
        both = every(*(bound(rows_where(equal(column, one)), ">", 0) for one in (a, b)))
        return [
            replace(grouped, where=every(query.where, among), having=bound(count(column, True), "=", 2)),
            replace(grouped, where=every(query.where, among), having=bound(count(column, True), ">", 1)),
            replace(grouped, where=every(query.where, among), having=both),
            replace(grouped, having=both),
            replace(grouped, having=bound(count(column, True), "=", 2)),
            Compound("INTERSECT", *of),
            replace(query, items=(key,), where=every(query.where, among, equal(column, a))),
            of[0],
        ]

    def least(self) -> list[Any]:
        """What is compared with the least or the greatest of its column."""
        query, _, column = self.frame()
        table = self.table_of(query, column)
        again = ("col", "z", column[2])
        found = []
        for name in ("MIN", "MAX"):
            extreme = ("scalar", Query((("agg", name, False, again),), (("", table, "z", None),)))
            for operator in ("<>", ">", "<"):
                where = every(query.where, ("bin", operator, column, extreme))
                found.append(replace(query, items=(column,), where=where))
        return found

    def unions(self) -> list[Any]:
        """UNION ALL of two values of a column, and one block for both."""
        query, _, column = self.frame()
        item = self.parts.column({"q0": self.parts.tables[query.sources[0][1]]})
        a, b = self.constants(column)
        of = [replace(query, items=(item,), where=every(query.where, equal(column, one))) for one in (a, b)]
        among = replace(query, items=(item,), where=every(query.where, ("in", column, (a, b), False)))
        return [Compound("UNION ALL", *of), Compound("UNION", *of), among, replace(among, distinct=True)]

    def first(self) -> list[Any]:
        """The first row of all, and of those that differ."""
        query, _, column = self.frame()
        if column[2] in ("c", "b", "e", "x"):
            return [query]  # of what is equal but not the same, 'a' and 'A' or 1 and 1.0, any may come first
        sorted_ = replace(query, items=(column,), order=((column, ""),))
        return [
            replace(sorted_, limit=f" LIMIT {limit}", distinct=distinct)
            for limit in (1, 2)
            for distinct in (True, False)
        ]

    def one_row(self) -> list[Any]:
        """Counts of what a key fixes."""
        query, scope, _ = self.frame()
        keyed = [("col", alias, "id") for alias, names in scope.items() if "id" in names]
        key = keyed[0] if keyed else self.parts.column(scope)
        other = self.parts.column(scope)
        inside = Query((count(),), (("", "t", "z", None),), where=equal(("col", "z", "id"), key))
        whole = replace(query, items=(key,))
        counts = [count(), count(other), count(other, True)]
        bounds = [("=", 1), (">", 1), ("<", 2), (">=", 2), (">", 0)]
        rng = self.parts.rng
        conditions = [bound(rng.choice(counts), *rng.choice(bounds)) for _ in range(4)]
        return [
            whole,
            replace(whole, group=(key,)),
            replace(whole, where=FALSE),
            replace(whole, where=every(query.where, FALSE), order=((key, ""),)),
            *(replace(whole, group=(key,), having=one) for one in conditions),
            *(
                replace(whole, where=every(query.where, bound(("scalar", inside), *one)))
                for one in rng.sample(bounds, 3)
            ),
        ]

    def distinct_rows(self) -> list[Any]:
        """How many values there are."""
        query, _, column = self.frame()
        values = replace(query, items=(column,), distinct=True)
        over = (("", values, "w", None),)
        return [
            replace(query, items=(count(column, True),)),
            Query((count(("col", "w", "c0")),), over),
            Query((count(),), over),
            replace(query, items=(count(column),)),
        ]

    def side_by_side(self) -> list[Any]:
        """Two aggregates of one FROM clause: in subqueries, in one of them, in none."""
        query, scope, _ = self.frame()
        asked = [self.parts.condition(scope, 0) for _ in range(2)]
        items = [self.parts.aggregate(scope, numeric=True) for _ in range(2)]

        def under(item: Expr, condition: Expr) -> Expr:
            then = ONE if item[3] == STAR else item[3]
            return (*item[:3], ("case", condition, then, ("lit", "NULL")))

        def shown(first: Expr, second: Expr) -> tuple[Expr, ...]:
            return (("bin", "-", first, second), second)

        alone = [
            replace(query, items=(item,), where=every(query.where, one))
            for item, one in zip(items, asked, strict=True)
        ]
        subqueries = [("scalar", one) for one in alone]
        inside = [under(item, one) for item, one in zip(items, asked, strict=True)]
        return [
            Query(shown(*subqueries), ()),
            replace(query, items=shown(*inside)),
            replace(alone[0], items=shown(items[0], subqueries[1])),
            replace(alone[0], items=shown(items[0], inside[1])),
            replace(query, items=shown(inside[0], subqueries[1])),
            replace(query, items=shown(*subqueries)),
        ]

    def branches(self) -> list[Any]:
        """What is in a UNION, in one of its branches, or joined with it."""
        query, _, column = self.frame()
        alike = next((names for names in (NUMBERS, TEXTS, DATES) if column[2] in names), None)
        first, second = (
            Query((self.parts.column({"z": self.parts.tables[table]}, alike),), (("", table, "z", None),))
            for table in (self.table_of(query, column), self.parts.rng.choice("tuv"))
        )
        first = replace(first, where=self.parts.condition({"z": self.parts.tables[first.sources[0][1]]}, 0))
        absent = self.parts.rng.random() < 0.5

        def found(inside: Any) -> Expr:
            return ("inq", column, inside, absent)

        def exists(inside: Query) -> Expr:
            asked: Expr = (
                "exists",
                replace(inside, where=every(inside.where, equal(inside.items[0], column))),
                absent,
            )
            return asked

        values = replace(first, distinct=True)
        joined = (*query.sources, ("JOIN", values, "w", equal(("col", "w", "c0"), column)))
        conditions = [
            found(Compound("UNION", first, second)),
            found(Compound("UNION ALL", second, first)),
            ("bin", "AND" if absent else "OR", found(first), found(second)),
            ("bin", "AND" if absent else "OR", exists(first), exists(second)),
            ("bin", "OR" if absent else "AND", found(first), found(second)),
            found(Compound("INTERSECT", first, second)),
        ]
        return [
            *(replace(query, items=(column,), where=every(query.where, one)) for one in conditions),
            replace(query, items=(column,), sources=joined),
            replace(query, items=(column,), where=every(query.where, ("inq", column, first, False))),
        ]

    def counted(self) -> list[Any]:
        """Rows by how many others they have, and groups of both."""
        rng = self.parts.rng
        tables = self.parts.tables
        table = rng.choice([name for name, columns in tables.items() if "id" in columns])
        other = rng.choice(list(tables))
        key = ("col", "q0", "id")
        link = equal(self.parts.column({"z": tables[other]}, NUMBERS), key)
        item = rng.choice([key, self.parts.column({"q0": tables[table]})])
        counts = [count(), count(self.parts.column({"z": tables[other]}), rng.random() < 0.3)]
        own, read = (("", table, "q0", None),), (("", other, "z", None),)
        bounds = [(">", 0), (">=", 2), ("=", 1), ("<", 2), ("=", 0)]
        found: list[Any] = []
        for one, (operator, number) in zip(counts * 2, rng.sample(bounds, 4), strict=True):
            inside = ("scalar", Query((one,), read, where=link))
            found += [
                Query((item,), own, where=bound(inside, operator, number)),
                Query((item,), (*own, *read), where=link, group=(key,), having=bound(one, operator, number)),
            ]
        return found

    def given_back(self) -> list[Any]:
        """CASE that gives back what it tests, shown and compared."""
        query, scope, column = self.frame()
        kind = next((names for names in (NUMBERS, TEXTS, DATES) if column[2] in names), NUMBERS)
        other = self.parts.column({column[1]: scope[column[1]]}, kind)
        value = self.parts.literal(column)
        terms = [
            ("case", ("isnull", column, True), column, ("lit", "NULL")),
            ("case", ("isnull", column, True), column, other),
            ("fn", "COALESCE", column, other),
            column,
        ]
        shown = [replace(query, items=(one,)) for one in terms]
        return [*shown, *(replace(query, items=(ONE,), where=equal(one, value)) for one in terms)]
