"""The rule on INTERSECT, EXCEPT and UNION: set operations of simple blocks are conditions of one block."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TypeGuard

from ..context import Context
from ..leaves import ONE, Column, Position
from ..naming import canonical
from ..operators import Comparison, Connective, Exists, In, Not, SortKey
from ..terms import Derived, Query, Select, SetOperation, Term, is_cut
from ..walks import columns_of, conjunction, substitute
from ._shared import any_row, shows_all_columns, table_readings, without
from .blocks import contradictory, flatten_conditions
from .subqueries import only_joins_and_filters


def rewrite_set_operation(query: SetOperation, context: Context) -> Query:
    """Return INTERSECT and EXCEPT as [NOT] EXISTS, and UNION of one FROM clause as OR.

    The first two hold where the left side only joins and filters and values are compared alike;
    the last where the branches differ in their conditions alone, and no row is in two of them if repeats count.
    """
    branches = query.branches
    if query.extra or not _have_known_columns(branches):
        return query
    block: Select | None = None
    if query.operator in ("union", "union all"):
        block = _union(branches, query.operator == "union all", context)
    elif len(branches) > _MOST_COMPARED:
        return query
    elif query.operator == "intersect":
        # Either side may come first.
        first = next(filter(only_joins_and_filters, branches), branches[0])
        block = _filtered(first, without(branches, first), False, context)
    elif query.operator == "except":
        block = _filtered(branches[0], branches[1:], True, context)
    return query if block is None else _with_tail(block, query)


def _have_known_columns(branches: tuple[Query, ...]) -> TypeGuard[tuple[Select, ...]]:
    """Return whether all branches are blocks of as many columns, none of them behind a `*`."""
    return (
        all(isinstance(branch, Select) and not shows_all_columns(branch) for branch in branches)
        and len({len(branch.items) for branch in branches if isinstance(branch, Select)}) == 1
    )


def _filtered(first: Select, others: Sequence[Select], absent: bool, context: Context) -> Select | None:
    """Return the first branch where its rows are in all others, or in none; `None` where that cannot be asked."""
    if not only_joins_and_filters(first):
        return None
    conditions: list[Term] = []
    for branch in others:
        probe = _among_groups(first, branch, context) or _probe(first, branch, context)
        if probe is None:
            return None
        conditions.append(Not(probe) if absent else probe)
    return first._replace(distinct=True, order=(), where=(*first.where, *conditions))


def _with_tail(block: Select, query: SetOperation) -> Select:
    """Return a block sorted and cut as the set operation was."""
    order = tuple(_key_of_item(key, block) for key in query.order)
    return block._replace(order=order, limit=query.limit, offset=query.offset)


def _key_of_item(key: SortKey, block: Select) -> SortKey:
    """Return a sort key with the item of a block in place of its position."""
    if not isinstance(key.term, Position):
        return key
    return SortKey(key.head, block.items[key.term.place], *key.nulls)


def _probe(first: Select, branch: Select, context: Context) -> Exists | None:
    """Return EXISTS (a row of the branch that is the row of the first), NULLs being alike."""
    pairs = list(zip(first.items, branch.items, strict=True))
    if any(_compare_otherwise(a, b, context) for a, b in pairs):
        return None
    # Only truth counts in EXISTS: where one of the two is not NULL, NULLs need not be alike.
    heads = ["=" if context.not_null(a) or context.not_null(b) else "is" for a, b in pairs]
    shown = branch.items
    if only_joins_and_filters(branch):
        probe = branch._replace(items=(ONE,), order=(), distinct="any")
    else:
        source = Derived(context.fresh(), branch)
        shown = tuple(Column(source.label, place) for place in range(len(branch.items)))
        probe = any_row((source,), ())
    equal = (
        Comparison(head, *sorted((a, b), key=repr))
        for head, a, b in zip(heads, first.items, shown, strict=True)
    )
    return Exists(probe._replace(where=(*probe.where, *equal)))


def _among_groups(first: Select, branch: Select, context: Context) -> In | None:
    """Return IN (a branch of the only keys of groups), of values that are never NULL."""
    if len(first.items) != 1 or branch.group != branch.items or is_cut(branch):
        return None
    [a], [b] = first.items, branch.items
    if _compare_otherwise(a, b, context) or not (context.not_null(a) and context.not_null(b)):
        return None
    return In(a, branch._replace(distinct=False, order=()))


def _compare_otherwise(a: Term, b: Term, context: Context) -> bool:
    """Set operations compare values as they are; `=` first fits them to the column."""
    return context.converts(a, b) or bool(context.collation(a) or context.collation(b))


def _union(branches: tuple[Select, ...], all_rows: bool, context: Context) -> Select | None:
    """Return the block of branches with one FROM clause and one list of items; `None` where they differ."""
    if not all(
        only_joins_and_filters(branch) and not branch.outers and branch.sources for branch in branches
    ):
        return None
    first = branches[0]
    frame = _frame(first)
    alternatives = [first.where]
    for branch in branches[1:]:
        same = columns_as_in(first, branch) if _frame(branch) == frame else None
        if same is None:
            return None
        alternatives.append(substitute(branch.where, same))
    if all_rows and not (_keep_repeats(branches) and _exclude_each_other(alternatives)):
        return None
    block = first._replace(
        distinct=not all_rows, order=(), where=(Connective("or", *map(conjunction, alternatives)),)
    )
    return flatten_conditions(block, context)


def _keep_repeats(branches: tuple[Select, ...]) -> bool:
    return not any(branch.distinct is True for branch in branches)


def _exclude_each_other(alternatives: list[tuple[Term, ...]]) -> bool:
    """Return whether no row satisfies two of these conjunctions."""
    pairs = combinations(alternatives[:_MOST_COMPARED], 2)
    return len(alternatives) <= _MOST_COMPARED and all(contradictory((*a, *b)) for a, b in pairs)


# Branches, each of which is held against every other one or becomes a subquery.
_MOST_COMPARED = 12


def _frame(block: Select) -> Query:
    """Return what is left of a block without its conditions."""
    return canonical(block._replace(where=(), distinct=False, order=()))


def columns_as_in(first: Select, other: Select) -> dict[Column, Column] | None:
    """Return the columns of one block as those of another with the same FROM clause, one reading a table."""
    tables = {source.name: source.label for source in table_readings(first.sources)}
    theirs = {source.label: source.name for source in table_readings(other.sources)}
    if not len(tables) == len(theirs) == len(first.sources) == len(other.sources):
        return None
    if not tables.keys() >= set(theirs.values()):
        return None
    return {
        column: column.of_source(tables[theirs[column.source]])
        for column in columns_of(other)
        if column.source in theirs
    }
