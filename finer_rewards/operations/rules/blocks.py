"""Rules on conditions and on derived tables: conjunctions split, blind blocks marked, derived tables merged.

`derived` has the rules on derived tables that cannot be merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from operator import eq
from typing import Any, TypeGuard

from .._truth import truth
from .._values import BY_PLACE
from ..context import Context, numbers_in
from ..leaves import FALSE, NULL, Column, Label, Null, Number, Text
from ..operators import Aggregate, Call, Collate, Comparison, Connective, Exists, In, Like, List, Window
from ..terms import (
    QUERIES,
    Derived,
    Outer,
    Query,
    Recursive,
    Select,
    SetOperation,
    Source,
    Term,
    contains,
    is_cut,
)
from ..walks import columns_of, conjunction, conjuncts, fold, remake, substitute, walk, walk_here
from ._nulls import asked_for, rejects_null
from ._shared import (
    derived_blocks,
    equality,
    is_equality,
    items_behind,
    shown_terms,
    shows_all_columns,
    without,
)

VOLATILE = frozenset({"random", "rand", "randomblob", "uuid", "gen_random_uuid", "nextval"})


def flatten_conditions(block: Select, context: Context) -> Select:
    """`p AND q` is two conditions; what others repeat or imply is dropped, a contradiction is false. Holds always."""
    where, having = split(block.where), split(block.having) if block.having else ()
    outers = tuple(map(_flatten_outer, block.outers))
    if where == block.where and having == block.having and outers == block.outers:
        return block
    return block._replace(where=where, having=having, outers=outers)


def _flatten_outer(outer: Outer) -> Outer:
    return outer._replace(where=split(outer.where), outers=tuple(map(_flatten_outer, outer.outers)))


def split(conditions: tuple[Term, ...]) -> tuple[Term, ...]:
    """Return the conjuncts without what others imply; what cannot be true is false, as NULL lets no row through."""
    if _is_split(conditions):
        return conditions
    parts = _present_not_equal_to_itself(_parts(conditions))
    if FALSE in parts or contradictory(parts):
        return (FALSE,)
    parts = _equal_where_present(parts)
    if len(parts) <= _MOST_IMPLIED and any(map(_may_be_implied, parts)):
        return tuple(part for part in parts if not _is_implied(part, parts))
    return tuple(parts)


#: Above so many conditions none is looked for that others imply: each is held against each other.
_MOST_IMPLIED = 300


def _is_split(conditions: tuple[Term, ...]) -> bool:
    """Return whether there is nothing to split or drop, as mostly: a quick check before the work."""
    if not all(map(_is_plain, conditions)):
        return False
    if len(conditions) == 1:
        return True
    return (
        len(set(conditions)) == len(conditions)
        and not contradictory(conditions)
        and not any(map(_lists, conditions))
    )


def _is_plain(condition: Term) -> bool:
    """Return whether a condition is one comparison, of two terms and not by IS."""
    if isinstance(condition, Comparison):
        return condition.head not in ("is", "is not") and condition.left != condition.right
    return isinstance(condition, (Like, In))


def _parts(conditions: tuple[Term, ...]) -> dict[Term, None]:
    """Return the conjuncts of conditions, each once; only their truth counts."""
    parts: dict[Term, None] = {}
    for condition in conditions:
        for part in conjuncts(_truth(condition)):
            if isinstance(part, Comparison) and part.head == "is" and isinstance(part.right, (Number, Text)):
                part = Comparison("=", part.left, part.right)
            parts[part] = None
    return parts


def _present_not_equal_to_itself(parts: dict[Term, None]) -> dict[Term, None]:
    """Return conditions with `x IS NOT NULL` at the end in place of `x = x`."""
    same = [part for part in parts if is_equality(part) and part.left == part.right]
    if not same:
        return parts
    present = (Comparison("is not", part.left, NULL) for part in same)
    return dict.fromkeys((*(part for part in parts if part not in same), *present))


def _equal_where_present(parts: dict[Term, None]) -> dict[Term, None]:
    """Return conditions without `x IS x`, and with `x = y` in place of `x IS y` where one of the two is not NULL.

    Two values that are alike and not both NULL are equal.
    """
    kept = {part: None for part in parts if not _is_itself(part)}
    for part in parts:
        columns = _alike_columns(part)
        if any(rejects_null(other, partial(eq, column)) for other in kept for column in columns):
            del kept[part]
            kept[equality(*columns)] = None
    return kept


def _is_itself(condition: Term) -> bool:
    """Return whether a condition is `x IS x`."""
    return isinstance(condition, Comparison) and condition.head == "is" and condition.left == condition.right


def _alike_columns(condition: Term) -> tuple[Term, ...]:
    """Return the columns of `x IS y`; nothing for other conditions."""
    if not isinstance(condition, Comparison) or condition.head != "is" or condition.left == condition.right:
        return ()
    columns = condition.left, condition.right
    return columns if all(isinstance(column, Column) for column in columns) else ()


def _may_be_implied(condition: Term) -> bool:
    """Return whether a condition is `x IS NOT NULL` or `x IN (...)`."""
    return asked_for(condition) is not None or _lists(condition)


def _lists(condition: Term) -> bool:
    """Return whether a condition is `x IN (...)`."""
    return isinstance(condition, In) and isinstance(condition.right, List)


def _is_implied(condition: Term, others: Iterable[Term]) -> bool:
    """Return whether a condition asks for a value that another condition needs anyway."""
    if isinstance(condition, In) and isinstance(condition.right, List):
        return any(
            is_equality(other) and other.left == condition.left and other.right in condition.right.items
            for other in others
        )
    value = asked_for(condition)
    if value is None:
        return False
    return any(rejects_null(other, partial(eq, value)) for other in others if other is not condition)


def _truth(term: Term) -> Term:
    """Return a condition that is true for the same rows."""
    term = truth(term)
    if isinstance(term, Null):
        return FALSE
    if not isinstance(term, Connective):
        return term
    if term.head == "and":
        return conjunction(split(term.operands))
    parts = [part for part in map(_truth, term.operands) if part != FALSE]
    if not parts:
        return FALSE
    return parts[0] if len(parts) == 1 else Connective("or", *parts)


def contradictory(conditions: Iterable[Term]) -> bool:
    """Return whether conditions ask one term to equal two constants."""
    values: dict[Term, Number | Text] = {}
    for condition in conditions:
        if not is_equality(condition) or isinstance(condition.left, Collate):
            continue
        value = condition.right
        if isinstance(value, (Number, Text)):
            first = values.setdefault(condition.left, value)
            if first.__class__ is value.__class__ and first != value and not _same_number(first, value):
                return True
    return False


def _same_number(a: Number | Text, b: Number | Text) -> bool:
    """Return whether two numerals may be the same number; a column of numbers reads a text as one."""
    try:
        return float(_spelling(a)) == float(_spelling(b))
    except ValueError:
        return False


def _spelling(literal: Number | Text) -> str:
    return literal.numeral if isinstance(literal, Number) else literal.text


def mark_branches(query: Query, context: Context) -> Query:
    """Mark the blocks whose repeats nobody can see: in IN, in EXISTS, and the branches of set operations."""
    return fold(query, _MARKS, context)


def _mark_set_operation(query: SetOperation, context: Context) -> SetOperation:
    return query if query.operator.endswith(" all") else query.with_branches(map(free, query.branches))


def _mark_in(term: In, context: Context) -> In:
    return In(term.left, _in_order(free(term.right), context)) if isinstance(term.right, QUERIES) else term


def _in_order(query: Query, context: Context) -> Query:
    """Return a query with the order of its branches marked: SQLite converts by the affinity of one of them."""
    if not isinstance(query, SetOperation) or context.facts.dialect != "sqlite" or BY_PLACE in query.extra:
        return query
    branches = [_in_order(branch, context) for branch in query.branches]
    affinities = {context.affinity(branch.items[0]) for branch in branches if isinstance(branch, Select)}
    query = query.with_branches(branches)
    return remake(query, [*query, BY_PLACE]) if len(affinities) > 1 else query


_MARKS: dict[type, Callable[[Any, Context], Term]] = {
    SetOperation: _mark_set_operation,
    Exists: lambda term, context: Exists(free(term.query)),
    In: _mark_in,
}


def free(query: Query) -> Query:
    """Return a query marked as one whose repeats and order do not matter: DISTINCT or not, and UNION ALL or UNION."""
    if isinstance(query, Select):
        if query.distinct == "any" or query.order or is_cut(query):
            return query
        return query._replace(distinct="any")
    if not isinstance(query, SetOperation) or query.operator != "union all" or is_cut(query):
        return query
    return SetOperation("union", query.branches, query.order, None, None, *query.extra)


def blind_to_repeats(block: Select) -> bool:
    """Return whether repeated rows of the FROM clause cannot be seen in the result."""
    shown = shown_terms(block)
    if block.extra or contains(shown, Window):
        return False
    if not block.aggregated:
        return bool(block.distinct) or block.group is not None
    aggregates = (part for part in walk_here((shown, block.having)) if isinstance(part, Aggregate))
    return all(aggregate.name in ("min", "max") or aggregate.distinct for aggregate in aggregates)


def mark_free_duplicates(block: Select, context: Context) -> Select:
    """SELECT DISTINCT in a derived table is SELECT there, both marked. Holds when the block around sees no repeats."""
    derived = any(isinstance(source, Derived) for source in block.sources)
    if not derived or not blind_to_repeats(block):
        return block
    return block._replace(sources=tuple(map(_free_derived, block.sources)))


def _free_derived(source: Source) -> Source:
    """Return a source whose repeats do not matter, marked so; a recursive one needs them."""
    if not isinstance(source, Derived) or isinstance(source.query, Recursive):
        return source
    return Derived(source.label, free(source.query))


def mergeable(query: object) -> TypeGuard[Select]:
    """Return whether a derived table only joins, filters and computes row by row."""
    if not isinstance(query, Select) or query.distinct is True or not query._replace(distinct=False).plain:
        return False
    return not any(isinstance(part, Call) and part.name in VOLATILE for part in walk(query.items))


def _columns_behind(label: Label, query: Select, block: Select) -> dict[Column, Term] | None:
    """Return what each column of a derived table that a block reads stands for; `None` when that is not known."""
    behind = items_behind(label, query)
    if not shows_all_columns(query):
        return behind
    star = query.items[0]
    if len(query.items) != 1 or not isinstance(star, Column) or star.options:
        return None
    for column in columns_of(block):
        if column.source == label:
            behind[column] = column.of_source(star.source)
    return behind


#: How many terms the items of a derived table may be where they are read.
_MOST_TERMS = 1_000


def grows_too_large(label: Label, query: Select, block: Select) -> bool:
    """Return whether putting a derived table's items where they are read would make the query too large.

    Each level of `a + a` over `a + a` doubles what is written out.
    """
    sizes: dict[object, int] = {place: len(walk(item)) for place, item in enumerate(query.items)}
    if max(sizes.values(), default=0) < 8:
        return False
    read = [part.name for part in walk(block) if isinstance(part, Column) and part.source == label]
    return sum(sizes.get(name, 1) for name in read) > _MOST_TERMS


def merge_derived(block: Select, context: Context) -> Select:
    """Put a derived table's sources and conditions in place of it.

    Holds for an inner-joined one that only joins, filters and computes row by row: the join of a
    selection is a selection of the join, and an outer join inside commutes with the joins around it.
    """
    found = _first_to_merge(block, context)
    while found is not None:
        source, query, behind = found
        merged = block._replace(
            sources=(*without(block.sources, source), *query.sources),
            outers=(*query.outers, *block.outers),
            where=(*block.where, *query.where),
        )
        # What is merged may stand in other sources too (LATERAL), so look at them again.
        block = substitute(merged, behind)
        found = _first_to_merge(block, context)
    return block


def _first_to_merge(block: Select, context: Context) -> tuple[Derived, Select, dict[Column, Term]] | None:
    """Return a derived table that can be merged, its block, and what each of its columns stands for."""
    for source, query in derived_blocks(block.sources):
        behind = _columns_behind(source.label, query, block) if mergeable(query) else None
        if behind is None:
            continue
        if not grows_too_large(source.label, query, block):
            return source, query, behind
        context.note("a derived table was left in place: written out it would be too large")
    return None


def merge_derived_outer(block: Select, context: Context) -> Select:
    """Put a derived table's sources and conditions in place of it on the padded side of a LEFT JOIN.

    Holds when each of its columns is a column of its own tables: on a row that the join pads, that is NULL as well,
    where `1` or `COALESCE(x, 0)` would not be.
    """
    if not block.outers:
        return block
    merged: dict[Column, Column] = {}
    outers = tuple(_merge_in_outer(outer, merged, block) for outer in block.outers)
    # What stands on the padded side now is padded too.
    context.padded |= {column.source for column in merged.values()}
    return substitute(block._replace(outers=outers), merged) if merged else block


def _merge_in_outer(outer: Outer, merged: dict[Column, Column], block: Select) -> Outer:
    """Return an outer join without derived tables that can be merged; enter in `merged` what their columns are."""
    sources = list(outer.sources)
    outers = [_merge_in_outer(one, merged, block) for one in outer.outers]
    where = list(outer.where)
    for source, query in derived_blocks(outer.sources):
        behind = _columns_behind(source.label, query, block) if mergeable(query) else None
        if behind is None:
            continue
        own = numbers_in((query.sources, query.outers))
        # On padded rows only a column of the padded side is NULL for sure.
        plain = {
            column: item for column, item in behind.items() if isinstance(item, Column) and item.source in own
        }
        if len(plain) < len(behind):
            continue
        merged.update(plain)
        place = sources.index(source)
        sources[place : place + 1] = query.sources
        outers += query.outers
        where += query.where
    return outer._replace(sources=tuple(sources), outers=tuple(outers), where=tuple(where))
