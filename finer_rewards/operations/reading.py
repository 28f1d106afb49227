"""From sqlglot's queries to ours: names resolved, `*` expanded, CTEs put where they are used."""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from ._scopes import Scope, limit_term, place_of
from ._windows import argument, order_terms
from .expressions import read_term
from .facts import Facts
from .guard import OperationsError
from .leaves import Column, Position, Word
from .operators import SortKey
from .sources import Entry, Numbers
from .terms import Derived, Query, Select, SetOperation, Term, Values

# CTEs and aliases are read once for each use, which can double at every level.
_MOST_PARTS = 1_000


class Reader:
    """Reads one statement.

    Args:
        facts: what the schema says.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.numbers = Numbers()
        self.parts = 0
        # Conditions as written, each with the clause that it stands in; for `origins`.
        self.written: list[tuple[str, tuple[Term, ...]]] = []

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
            tuple(order_terms(order, lambda part: read_term(part, scope))) if order is not None else (),
            limit_term(limit, scope), limit_term(offset, scope),
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
                ordinal = place_of(part)
                if ordinal is not None:
                    return Position(ordinal - 1)
                if isinstance(part, exp.Column) and part.name.lower() in places:
                    return places[part.name.lower()]
                return read_term(part, scope)

            keys = order_terms(order, key)
        operator = f"{kind.__name__.lower()}{' all' if everything else ''}"
        extra = tuple(
            Word(f"{name} {node.args[name]}")
            for name in ("side", "kind", "by_name", "on")
            if node.args.get(name)
        )
        return SetOperation(
            operator, tuple(branches), tuple(keys),
            limit_term(node.args.get("limit"), scope), limit_term(node.args.get("offset"), scope), *extra,
        ), names  # fmt: skip


def _cells(row: Any) -> list[Any]:
    return row.expressions if isinstance(row, exp.Tuple) else [row]
