"""Rules that drop a second reading of a table where one reading is enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations, permutations, product

from ..context import Context, numbers_in
from ..leaves import CONSTANTS, Column, Label
from ..terms import Select, Table, Term
from ..walks import columns_of, sources_of, substitute
from ._shared import (
    both_ways,
    drop_self_equalities,
    equalities,
    equality,
    is_equality,
    table_readings,
    without,
)
from .joins import equal_classes

#: Sources of a block; every pair of readings is tried, each against the whole block.
MOST_COMPARED = 12


def merge_self_join(block: Select, context: Context) -> Select:
    """`t a JOIN t b ON a.key = b.key` is one reading of t: both are the same row. Holds for inner joins."""
    partners = _partners(block.where)
    for first, second in combinations(table_readings(block.sources), 2):
        if first.name == second.name and _same_row(first.label, second.label, partners, context):
            return read_from(second, first.label, block, context)
    return block


def _same_row(label: Label, other: Label, partners: Mapping[Term, set[Term]], context: Context) -> bool:
    """Return whether a key of one reading of a table is equated with that of another one."""
    return any(
        all(_equated(column, Column(other, column.name), partners) for column in key)
        for key in context.keys(label)
    )


def read_from(source: Table, label: Label, block: Select, context: Context) -> Select:
    """Return a block without a reading of a table, its columns being read from another one."""
    same = _moved(columns_of(block), source.label, label)
    merged = substitute(block._replace(sources=without(block.sources, source)), same)
    return merged._replace(where=drop_self_equalities(merged.where, context))


def _moved(columns: Iterable[Column], label: Label, other: Label) -> dict[Column, Column]:
    """Return for each column of one source the one of that name of another source."""
    return {column: column.of_source(other) for column in columns if column.source == label}


def merge_with_outer(block: Select, context: Context) -> Select:
    """A table that a subquery reads again, with the key of the row around it, is that row.

    Holds where no outer join pads the row around it, and the subquery reads another source as well.
    """
    if len(block.sources) < 2 or not context.nested:
        return block
    own = numbers_in(block.sources)
    around = {
        side.source
        for condition in equalities(block.where)
        for side in (condition.left, condition.right)
        if isinstance(side, Column) and side.source not in own and side.source not in context.padded
    }
    partners = _partners(block.where)
    for source, label in product(table_readings(block.sources), around):
        if context.tables.get(label) == source.name and _same_row(source.label, label, partners, context):
            return read_from(source, label, block, context)
    return block


def _partners(where: tuple[Term, ...]) -> dict[Term, set[Term]]:
    """Return for each side of an equality the term itself and what conditions equate with it."""
    found: dict[Term, set[Term]] = {}
    for condition in equalities(where):
        for side, other in both_ways(condition):
            found.setdefault(side, {side}).add(other)
    return found


def _equated(a: Term, b: Term, partners: Mapping[Term, set[Term]]) -> bool:
    """Return whether two columns are equal to each other, to one third column, or to one constant."""
    return not partners.get(a, {a}).isdisjoint(partners.get(b, {b}))


def fold_repeated_reading(block: Select, context: Context) -> Select:
    """A second reading of a table that asks no more than the first is dropped.

    Holds for inner joins where repeats cannot be seen: whatever row serves the reading that asks more
    serves the other one too.
    """
    if not (block.distinct or context.loose) or block.aggregated or block.extra:
        return block
    if len(block.sources) > MOST_COMPARED:
        return block
    columns = columns_of(block)
    shown = columns_of((block.items, block.order, block.group or ()))
    bound = sources_of((block.outers, block.sources, block.having))
    known = set(block.where)
    classes = equal_classes(block, context)
    for source, other in permutations(table_readings(block.sources), 2):
        if source.name != other.name or source.label in bound:
            continue
        same = _moved(columns, source.label, other.label)
        if all(
            column not in same or _in_one_class(column, same[column], classes) for column in shown
        ) and all(
            _asks_no_more(substitute(condition, same), condition, known, classes) for condition in block.where
        ):
            return read_from(source, other.label, block, context)
    return block


def _asks_no_more(image: Term, condition: Term, known: set[Term], classes: list[set[Term]]) -> bool:
    """Return whether a block asks anyway what a condition says of the other reading."""
    if is_equality(image) and image != condition:
        left, right = image.left, image.right
        if left == right or _in_one_class(left, right, classes):
            return True
        if not isinstance(right, CONSTANTS):
            image = equality(left, right)
    return image in known


def _in_one_class(a: Term, b: Term, classes: list[set[Term]]) -> bool:
    """Return whether the WHERE clause makes two terms the same value."""
    return any(a in members and b in members for members in classes)
