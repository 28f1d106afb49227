"""A table read more than once where once is enough."""

from __future__ import annotations

from ..context import Context, numbers_in
from ..terms import Column, Comparison, Null, Select, Term, columns_of, sources_of, substitute
from .closure import CONSTANTS
from .joins import equal_classes

_MOST_COMPARED = 12  # every pair of readings is tried, each against the whole block


def merge_self_join(block: Select, context: Context) -> Select:
    """Two readings of one table that agree on a key are one. Holds for inner joins."""
    tables: dict[str, list[Term]] = {}
    for source in block.sources:
        if source[0] == "table" and len(source) == 3:
            tables.setdefault(source[2], []).append(source)
    for readings in tables.values():
        for place, first in enumerate(readings):
            for second in readings[place + 1 :]:
                if _same_row(first[1], second[1], block, context):
                    mapping = {
                        column: Column(first[1], *column[2:])
                        for column in columns_of(block)
                        if column[1] == second[1]
                    }
                    sources = tuple(one for one in block.sources if one is not second)
                    merged: Select = substitute(block._replace(sources=sources), mapping)
                    where = tuple(one for one in merged.where if not (one[0] == "=" and one[1] == one[2]))
                    nullable = [
                        Comparison("is not", one[1], Null())
                        for one in merged.where
                        if one[0] == "=" and one[1] == one[2] and not context.not_null(one[1])
                    ]
                    return merged._replace(where=tuple(dict.fromkeys((*where, *nullable))))
    return block


def merge_with_outer(block: Select, context: Context) -> Select:
    """A table read again in a subquery, with the key of the row around it, is that row."""
    if len(block.sources) < 2 or not context.nested:
        return block
    own = numbers_in(block.sources)
    for source in block.sources:
        if source[0] != "table" or len(source) != 3:
            continue
        for key in context.keys(source[1]):
            around = {
                other[1]
                for one in block.where if one[0] == "="
                for column, other in ((one[1], one[2]), (one[2], one[1]))
                if column in key and other[0] == "column" and other[1] not in own and other[1] > 0
            }  # fmt: skip
            for number in around:
                if context.tables.get(number) != source[2] or number in context.padded:
                    continue
                if not all(_equated(column, Column(number, column[2]), block.where) for column in key):
                    continue
                mapping = {
                    column: Column(number, *column[2:])
                    for column in columns_of(block)
                    if column[1] == source[1]
                }
                rest = block._replace(sources=tuple(one for one in block.sources if one is not source))
                merged: Select = substitute(rest, mapping)
                where = tuple(one for one in merged.where if not (one[0] in ("=", "is") and one[1] == one[2]))
                present = tuple(
                    Comparison("is not", one[1], Null()) for one in merged.where
                    if one[0] == "=" and one[1] == one[2] and not context.not_null(one[1])
                )  # fmt: skip
                return merged._replace(where=(*where, *present))
    return block


def _same_row(first: int, second: int, block: Select, context: Context) -> bool:
    for key in context.keys(first):
        if all(_equated(column, Column(second, column[2]), block.where) for column in key):
            return True
    return False


def _equated(a: Term, b: Term, where: tuple[Term, ...]) -> bool:
    """Return whether two columns are equal to each other, to one third column, or to one constant."""
    near_a = {one[1] if one[2] == a else one[2] for one in where if one[0] == "=" and a in one[1:]} | {a}
    near_b = {one[1] if one[2] == b else one[2] for one in where if one[0] == "=" and b in one[1:]} | {b}
    return bool(near_a & near_b)


def fold_repeated_reading(block: Select, context: Context) -> Select:
    """A second reading of a table that asks no more than the first is dropped.

    Holds for inner joins where repeats cannot be seen: whatever row serves the reading that asks more
    serves the other one too.
    """
    if not block.distinct or block.aggregated or block.extra:
        return block
    if len(block.sources) > _MOST_COMPARED:
        return block
    readings = [source for source in block.sources if source[0] == "table" and len(source) == 3]
    columns = columns_of(block)
    shown = columns_of((block.items, block.order, block.group or ()))
    bound = sources_of((block.outers, block.sources, block.having))
    classes = equal_classes(block, context)
    for one in readings:
        for other in readings:
            if one is other or one[2] != other[2] or one[1] in bound:
                continue
            mapping = {column: Column(other[1], *column[2:]) for column in columns if column[1] == one[1]}
            folded = _fold(one[1], mapping, shown, classes, block, context)
            if folded is not None:
                return folded
    return block


def _fold(
    number: int,
    mapping: dict[Term, Term],
    shown: set[Term],
    classes: list[set[Term]],
    block: Select,
    context: Context,
) -> Select | None:
    """Return the block without one source, its columns read as `mapping` says; `None` where that asks for more."""
    for column in shown:
        image = mapping.get(column, column)
        if image != column and not any(column in group and image in group for group in classes):
            return None
    known = set(block.where)
    present: list[Term] = []
    for condition in block.where:
        image = substitute(condition, mapping)
        if image[0] == "=" and image[1:] != condition[1:]:
            if image[1] == image[2]:
                present.append(Comparison("is not", image[1], Null()))
                continue
            image = Comparison("=", *sorted(image[1:], key=repr)) if image[2][0] not in CONSTANTS else image
            if any(image[1] in group and image[2] in group for group in classes):
                continue
        if image not in known:
            return None
    rest = block._replace(sources=tuple(source for source in block.sources if source[1] != number))
    folded: Select = substitute(rest, mapping)
    where = [one for one in folded.where if not (one[0] == "=" and one[1] == one[2])]
    where += [one for one in present if not context.not_null(one[1])]
    return folded._replace(where=tuple(dict.fromkeys(where)))
