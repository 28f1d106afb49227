"""Set operations of simple blocks as conditions."""

from __future__ import annotations

from typing import Any

from ..context import Context
from ..naming import canonical
from ..terms import (
    ONE,
    Column,
    Comparison,
    Connective,
    Derived,
    Exists,
    Not,
    Select,
    SortKey,
    Term,
    conjunction,
    substitute,
)
from .blocks import flatten_conditions
from .subqueries import _simple as simple


def rewrite_set_operation(query: Term, context: Context) -> Any:
    """Return INTERSECT and EXCEPT as [NOT] EXISTS, and UNION of one FROM clause as OR.

    The first holds where the left side only joins and filters and values are compared alike;
    the second where the branches differ in their conditions alone.
    """
    operator, branches, order, limit, offset = query[1:6]
    if len(query) > 6 or not all(isinstance(branch, Select) for branch in branches):
        return query
    if any(item[0] == "column" and item[2] == "*" for branch in branches for item in branch.items):
        return query
    if len({len(branch.items) for branch in branches}) != 1:
        return query
    if operator == "union":
        merged = _union(branches, context)
        return query if merged is None else _with_tail(merged, order, limit, offset)
    if operator not in ("intersect", "except"):
        return query
    first, *rest = branches
    if operator == "intersect" and not simple(first):
        movable = [branch for branch in branches if simple(branch)]
        if not movable:
            return query
        first = movable[0]
        rest = [branch for branch in branches if branch is not first]
    if not simple(first):
        return query
    conditions: list[Term] = []
    for branch in rest:
        probe = _probe(first, branch, context)
        if probe is None:
            return query
        conditions.append(probe if operator == "intersect" else Not(probe))
    block = first._replace(distinct=True, order=(), where=(*first.where, *conditions))
    return _with_tail(block, order, limit, offset)


def _with_tail(block: Select, order: Any, limit: Any, offset: Any) -> Select:
    keys = tuple(
        SortKey(key[0], block.items[key[1][1]], *key[2:]) if key[1][0] == "position" else key for key in order
    )
    return block._replace(order=keys, limit=limit, offset=offset)


def _probe(first: Select, branch: Select, context: Context) -> Term | None:
    """Return EXISTS (a row of the branch that is the row of the first), NULLs being alike."""
    if not simple(branch):
        number = context.fresh()
        columns: list[Term] = [Column(number, place) for place in range(len(branch.items))]
        if any(_differ(a, b, context) for a, b in zip(first.items, branch.items, strict=True)):
            return None
        equal = tuple(
            _alike(a, b, context, b2) for a, b, b2 in zip(first.items, columns, branch.items, strict=True)
        )
        source: Term = Derived(number, branch)
        probe = Select("select", "any", (ONE,), (source,), (), equal, None, (), (), None, None)
        return Exists(probe)
    if any(_differ(a, b, context) for a, b in zip(first.items, branch.items, strict=True)):
        return None
    equal = tuple(_alike(a, b, context, b) for a, b in zip(first.items, branch.items, strict=True))
    return Exists(branch._replace(items=(ONE,), where=(*branch.where, *equal), order=(), distinct="any"))


def _differ(a: Term, b: Term, context: Context) -> bool:
    """Set operations compare values as they are; `=` first fits them to the column."""
    return context.converts(a, b) or bool(context.collation(a) or context.collation(b))


def _alike(a: Term, b: Term, context: Context, origin: Term) -> Term:
    known = context.not_null(a) or context.not_null(origin)  # only truth counts here
    return Comparison("=" if known else "is", *sorted((a, b), key=repr))


def _union(branches: tuple[Select, ...], context: Context) -> Select | None:
    if not all(simple(branch) and not branch.outers and branch.sources for branch in branches):
        return None
    first = branches[0]
    frame = canonical(first._replace(where=(), distinct=False, order=()))
    alternatives = [conjunction(first.where)]
    for branch in branches[1:]:
        if canonical(branch._replace(where=(), distinct=False, order=())) != frame:
            return None
        mapping = _rename(first, branch)
        if mapping is None:
            return None
        renamed = substitute(branch.where, mapping)
        alternatives.append(conjunction(renamed))
    block = first._replace(distinct=True, order=(), where=(Connective("or", *alternatives),))
    return flatten_conditions(block, context)


def _rename(first: Select, other: Select) -> dict[Term, Term] | None:
    """Return the columns of one block as those of another with the same FROM clause, one reading a table."""
    from ..terms import columns_of

    tables = {source[2]: source[1] for source in first.sources if source[0] == "table"}
    if len(tables) != len(first.sources) or len(other.sources) != len(first.sources):
        return None
    numbers = {source[1]: tables.get(source[2]) for source in other.sources if source[0] == "table"}
    if len(numbers) != len(other.sources) or None in numbers.values():
        return None
    return {
        column: Column(numbers[column[1]], *column[2:])
        for column in columns_of(other)
        if column[1] in numbers
    }
