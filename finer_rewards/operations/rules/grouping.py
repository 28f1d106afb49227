"""GROUP BY, HAVING and the forms of COUNT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..context import Context, numbers_in
from ..terms import (
    COUNT_ALL,
    LEAVES,
    NULL,
    ONE,
    QUERIES,
    Aggregate,
    Case,
    Exists,
    Select,
    Term,
    columns_of,
    computes_over_rows,
    contains,
    remake,
    sources_of,
    walk,
    walk_here,
)
from .closure import CONSTANTS, Closure
from .joins import rejects_null


def _folds(block: Select) -> bool:
    """Return whether an aggregate or a window is computed."""
    return any(
        computes_over_rows(one) for one in (*block.items, *block.having, *(key[1] for key in block.order))
    )


def _plain_keys(block: Select) -> bool:
    return block.group is not None and all(
        key[0] not in ("rollup", "cube", "grouping_sets", "all") for key in block.group
    )


def group_to_distinct(block: Select, context: Context) -> Select:
    """GROUP BY without aggregates is DISTINCT on its keys.

    Holds when the items are exactly the keys (constants aside); when a group is one row; and, where
    repeats do not matter, when the keys fix the items.
    """
    if not block.group or not _plain_keys(block) or _folds(block) or block.extra:
        return block
    closure = Closure(block, block.group, context)
    if not all(map(closure.fixes, block.having)):
        return block  # a condition on some row of a group
    plain = block._replace(group=None, having=(), where=(*block.where, *block.having))
    items = {item for item in block.items if item[0] not in CONSTANTS}
    if items == {key for key in block.group if key[0] not in CONSTANTS}:
        return plain._replace(distinct=block.distinct or True)
    if closure.one_row:
        return plain
    if block.distinct and all(closure.fixes(item) for item in block.items):
        return plain
    return block


def group_to_exists(block: Select, context: Context) -> Select:
    """GROUP BY a key of some tables, without aggregates, only asks whether the other tables match.

    Holds for inner joins whose other tables are used in conditions alone.
    """
    if not block.group or not _plain_keys(block) or _folds(block) or block.extra or block.outers:
        return block
    kept: set[int] = set()
    for source in block.sources:
        others = {source[1]} | kept
        if source[1] in Closure(block, block.group, context, others).rows:
            kept.add(source[1])
    own = numbers_in(block.sources)
    if not kept or kept == own:
        return block
    if not all(map(Closure(block, block.group, context).fixes, block.having)):
        return block
    used = sources_of((block.items, block.group, block.having, block.order))
    if used & (own - kept) or not Closure(block, block.group, context, kept).one_row:
        return block
    return _split_off(block, kept)._replace(group=None, having=())


def _split_off(block: Select, kept: set[int]) -> Select:
    """Move the sources that are not kept, and the conditions on them, into an EXISTS."""
    own = numbers_in(block.sources)
    away = [one for one in (*block.where, *block.having) if sources_of(one) & (own - kept)]
    stay = tuple(one for one in (*block.where, *block.having) if not sources_of(one) & (own - kept))
    moved = tuple(source for source in block.sources if source[1] not in kept)
    probe = Select("select", "any", (ONE,), moved, (), tuple(away), None, (), (), None, None)
    return block._replace(
        sources=tuple(source for source in block.sources if source[1] in kept),
        where=(*stay, Exists(probe)),
    )


def drop_determined_keys(block: Select, context: Context) -> Select:
    """A GROUP BY key that the others fix is dropped; so is a constant one. Holds always."""
    if not block.group or not _plain_keys(block):
        return block
    nothing = Closure(block, (), context)
    keys = [key for key in dict.fromkeys(block.group) if not nothing.fixes(key)]
    ordered = sorted(keys, key=lambda key: _key_rank(key, context), reverse=True)
    for key in ordered:
        rest = [one for one in keys if one != key]
        if rest and Closure(block, rest, context).fixes(key):
            keys = rest
    if not keys:
        keys = [ONE]
    return block if tuple(keys) == block.group else block._replace(group=tuple(keys))


def _key_rank(key: Term, context: Context) -> tuple[bool, bool, str]:
    """Columns of keys rank lowest, so that they are the ones that stay."""
    if key[0] != "column":
        return True, True, repr(key)
    in_key = any(key in one and len(one) == 1 for one in context.keys(key[1]))
    part = any(key in one for one in context.keys(key[1]))
    return not in_key, not part, f"{context.tables.get(key[1], '')}.{key[2]}"


def having_to_where(block: Select, context: Context) -> Select:
    """A HAVING condition on group keys alone is a WHERE condition. Holds with GROUP BY and without subqueries."""
    if not block.having or not block.group or not _plain_keys(block):
        return block
    closure = Closure(block, block.group, context)
    moved = [
        one
        for one in block.having
        if not contains(one, Aggregate)
        and not any(isinstance(part, QUERIES) for part in walk(one))
        and closure.fixes(one)
        and (context.facts.dialect != "duckdb" or columns_of(one) <= set(block.group))
    ]
    if not moved:
        return block
    return block._replace(
        where=(*block.where, *moved), having=tuple(one for one in block.having if one not in moved)
    )


def count_forms(block: Select, context: Context) -> Select:
    """COUNT(DISTINCT x) is COUNT(*) where x is unique and present; a sum of ones is a count.

    The first holds when x and the group keys fix a row; the second where no group is empty.
    """

    def change(term: Term) -> Any:
        counts = term[1] == "count" and len(term) == 4 and _present(term[3], block, context)
        if counts and (not term[2] or _unique_in_group(term[3], block, context)):
            return COUNT_ALL
        if term[1] in ("min", "max") or not block.group:
            return _cast_free(term, context)
        if term[1] == "sum" and not term[2] and term[3] == ONE:
            return COUNT_ALL
        if term[1] == "sum" and not term[2] and term[3][0] == "case" and len(term[3]) == 4:
            _, when, then, otherwise = term[3]
            if then == ONE and otherwise == ("number", "0"):
                return Aggregate("count", False, Case([(when, ONE)], NULL))
        return _cast_free(term, context)

    return change_aggregates(block, change)


def _present(term: Term, block: Select, context: Context) -> bool:
    """Return whether a term is not NULL in any row that the WHERE clause lets through."""
    if term[0] in CONSTANTS or term == ("star",):
        return False
    if context.not_null(term):
        return True
    return term[0] == "column" and any(
        rejects_null(one, {term[1]}) and columns_of(one) & {term} and _only(one, term) for one in block.where
    )


def _only(condition: Term, column: Term) -> bool:
    """Return whether the condition fails for lack of this column, not of another one of its source."""
    return all(one == column or one[1] != column[1] for one in columns_of(condition))


def change_aggregates(block: Select, change: Callable[[Term], Term]) -> Select:
    """Return the block with its aggregates changed."""
    before = block.items, block.having, block.order
    items, having, order = (_here(one, change) for one in before)
    if items is block.items and having is block.having and order is block.order:
        return block
    return block._replace(items=items, having=having, order=order)


def _here(term: Any, change: Callable[[Term], Term]) -> Any:
    """Change the aggregates in a term, those inside first, but not in subqueries: theirs belong to them."""
    head = term[0] if term else ""
    if term.__class__ in LEAVES or isinstance(term, QUERIES):
        return term
    changed: list[Any] | None = None
    for place, part in enumerate(term):
        if isinstance(part, tuple):
            new = _here(part, change)
            if new is not part:
                changed = list(term) if changed is None else changed
                changed[place] = new
    if changed is not None:
        term = remake(term, changed)
    return change(term) if head == "aggregate" else term


def _cast_free(term: Term, context: Context) -> Term:
    """AVG works in floating point, so a cast to it changes nothing."""
    if (
        term[1] == "avg"
        and len(term) == 4
        and term[3][0] == "cast"
        and term[3][2] in ("real", "float", "double")
    ):
        return Aggregate("avg", term[2], term[3][1])
    return term


def _unique_in_group(column: Term, block: Select, context: Context) -> bool:
    if column[0] != "column":
        return False
    return Closure(block, [*(block.group or ()), column], context).one_row


def groups_are_not_empty(block: Select, context: Context) -> Select:
    """`COUNT(*) > 0` and less is true of every group. Holds with GROUP BY."""
    if not block.group or not block.having:
        return block
    having = tuple(one for one in block.having if not _always(one))
    return block if having == block.having else block._replace(having=having)


def _always(term: Term) -> bool:
    if term[0] not in (">", "<>") or term[1] != COUNT_ALL or term[2][0] != "number":
        return False
    return bool(term[2][1].lstrip("-").isdigit()) and int(term[2][1]) < 1


def count_distinct_rows(block: Select, context: Context) -> Select:
    """COUNT(x) over SELECT DISTINCT x is COUNT(DISTINCT x), and so is COUNT(*) where x is not NULL."""
    if len(block.items) != 1 or len(block.sources) != 1 or block.sources[0][0] != "derived":
        return block
    _, number, query = block.sources[0]
    if block.items[0] not in (COUNT_ALL, ("aggregate", "count", False, ("column", number, 0))):
        return block
    if block.where or block.group is not None or block.having or block.outers or block.order or block.limit:
        return block
    if not isinstance(query, Select) or query.distinct is not True or query.aggregated or query.extra:
        return block
    if query.limit is not None or len(query.items) != 1:
        return block
    if block.items[0] == COUNT_ALL and not _present(query.items[0], query, context):
        return block
    counted: Term = Aggregate("count", True, query.items[0])
    return query._replace(items=(counted,), distinct=False, order=())


def count_case_to_where(block: Select, context: Context) -> Select:
    """`COUNT(CASE WHEN p THEN 1 END)` alone is COUNT(*) WHERE p. Holds without GROUP BY or other aggregates."""
    if block.group is not None or block.having or block.extra or block.outers:
        return block
    found = {part for item in block.items for part in walk_here(item) if part and part[0] == "aggregate"}
    if len(found) != 1:
        return block
    term = next(iter(found))
    if term[1] != "count" or len(term) != 4 or term[2] or term[3][0] != "case" or term[3][3:] != (NULL,):
        return block
    if columns_of(_here(block.items, lambda part: ONE if part == term else part)):
        return block
    when, then = term[3][1], term[3][2]
    counted: Term = COUNT_ALL if context.not_null(then) else Aggregate("count", False, then)
    items = _here(block.items, lambda part: counted if part == term else part)
    return block._replace(items=items, where=(*block.where, when))
