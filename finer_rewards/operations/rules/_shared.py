"""Questions about a block, and small changes to one, that several rules need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeGuard, TypeVar

from ..context import Context
from ..leaves import NULL, ONE, Column, Label
from ..operators import Comparison
from ..terms import Derived, Outer, Select, Source, Table, Term

_T = TypeVar("_T")


def shown_terms(block: Select) -> tuple[Term, ...]:
    """Return the items and the terms that rows are sorted by."""
    return (*block.items, *(key.term for key in block.order))


def shows_all_columns(query: Select) -> bool:
    """Return whether an item is `*` over a table whose columns are not known."""
    return any(isinstance(item, Column) and item.name == "*" for item in query.items)


def reads_one_derived_table(block: Select) -> bool:
    """Return whether a derived table is all that a block reads."""
    return len(block.sources) == 1 and not block.outers and isinstance(block.sources[0], Derived)


def derived_blocks(sources: Iterable[Source]) -> Iterator[tuple[Derived, Select]]:
    """Yield each source that is a derived table of one block, with that block."""
    for source in sources:
        if isinstance(source, Derived) and isinstance(source.query, Select):
            yield source, source.query


def table_readings(sources: Iterable[Source]) -> list[Table]:
    """Return the sources that are tables read whole, without such as TABLESAMPLE."""
    return [source for source in sources if isinstance(source, Table) and not source.options]


def items_behind(label: Label, query: Select) -> dict[Column, Term]:
    """Return what each column of a derived table stands for."""
    return {Column(label, place): item for place, item in enumerate(query.items)}


def any_row(sources: tuple[Source, ...], where: tuple[Term, ...], outers: tuple[Outer, ...] = ()) -> Select:
    """Return the block in an EXISTS: whether sources have a row that meets conditions."""
    return Select("select", "any", (ONE,), sources, outers, where, None, (), (), None, None)


def without(parts: Iterable[_T], dropped: object) -> tuple[_T, ...]:
    """Return parts of a block but for one of them, which is told by identity: an equal one stays."""
    return tuple(part for part in parts if part is not dropped)


def is_equality(condition: Term) -> TypeGuard[Comparison]:
    """Return whether a condition is `a = b`."""
    return isinstance(condition, Comparison) and condition.head == "="


def equalities(conditions: Iterable[Term]) -> list[Comparison]:
    """Return the conditions that are `a = b`."""
    return [condition for condition in conditions if is_equality(condition)]


def equality(a: Term, b: Term) -> Comparison:
    """Return `a = b`, the same whichever comes first."""
    return Comparison("=", a, b) if repr(a) <= repr(b) else Comparison("=", b, a)


def both_ways(comparison: Comparison) -> tuple[tuple[Term, Term], tuple[Term, Term]]:
    """Return the sides of a comparison, and the same exchanged."""
    left, right = comparison.left, comparison.right
    return (left, right), (right, left)


def drop_self_equalities(where: Iterable[Term], context: Context) -> tuple[Term, ...]:
    """Return conditions with each `x = x`, which merging two terms makes, as `x IS NOT NULL`.

    It is dropped where x is never NULL; so is `x IS x`.
    """
    kept: list[Term] = []
    present: list[Term] = []
    for condition in where:
        if not isinstance(condition, Comparison) or condition.left != condition.right:
            kept.append(condition)
        elif condition.head == "=":
            if not context.not_null(condition.left):
                present.append(Comparison("is not", condition.left, NULL))
        elif condition.head != "is":
            kept.append(condition)
    return tuple(dict.fromkeys((*kept, *present)))
