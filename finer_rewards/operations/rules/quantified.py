"""The rule on HAVING that asks whether some row of a group satisfies a condition, or none does."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..context import Context
from ..leaves import NULL, ONE, Column, Label, Number, SourceName, Text
from ..operators import Aggregate, Case, Comparison, Exists, In, List, Not
from ..terms import Derived, Full, FunctionSource, Itself, Outer, Recursive, Select, Source, Table, Term
from ..walks import remake, walk
from ._shared import any_row, shown_terms
from .closure import Closure
from .grouping import ZERO, only_argument, only_groups_once
from .subqueries import inner_labels


class _Asked(NamedTuple):
    """Some row of the group satisfies a condition, or none does."""

    some: bool
    condition: Term


# Conditions, each of which becomes a subquery.
_MOST_ASKED = 12


def having_to_exists(block: Select, context: Context) -> Select:
    """`GROUP BY k HAVING COUNT(CASE WHEN p THEN 1 END) > 0` is `WHERE p GROUP BY k`; each further condition is EXISTS.

    EXISTS reads the FROM clause again for a row of the same key, and NOT EXISTS where HAVING asks for no such row.
    Holds where HAVING asks for nothing else, and nothing else is computed of a group.
    """
    if not block.having or block.group is None or not only_groups_once(block._replace(having=())):
        return block
    each = [_asked(condition, block, context) for condition in block.having]
    if not all(each) or not _may_be_read_again(block, context):
        return block
    asked = [one for some in each for one in some]
    if len(asked) > _MOST_ASKED:
        return block
    closure = Closure(block, block.group, context)
    if not all(map(closure.fixes, shown_terms(block))):
        return block
    first = next((one for one in asked if one.some), None)
    here = () if first is None else (first.condition,)
    probes = tuple(_probe(one, block, context) for one in asked if one is not first)
    context.nested = context.nested or bool(probes)
    if probes:
        context.heads.add("exists")
    return block._replace(where=(*block.where, *here, *probes), having=())


def _asked(condition: Term, block: Select, context: Context) -> list[_Asked]:
    """Return what a condition on a group asks of its rows; nothing where it asks something else."""
    if not isinstance(condition, Comparison) or not isinstance(condition.left, Aggregate):
        return []
    counted = _counted(condition.left)
    if counted is None:
        return []
    number = (condition.head, condition.right)
    if number in _NONE:
        return [_Asked(False, counted)]
    if number in _SOME:
        return [_Asked(True, counted)]
    return _all_of_a_list(condition, block, context)


_SOME = ((">", ZERO), (">=", ONE), ("<>", ZERO))
_NONE = (("=", ZERO), ("<", ONE), ("<=", ZERO))


def _counted(aggregate: Aggregate) -> Term | None:
    """Return the condition on the rows that an aggregate counts; `None` where it counts none."""
    argument = only_argument(aggregate)
    if isinstance(argument, Case) and len(argument.branches) == 1 and not aggregate.distinct:
        [(when, then)] = argument.branches
        zero = {"count": NULL, "sum": ZERO}.get(aggregate.name)
        return when if then == ONE and argument.otherwise == zero else None
    if aggregate.name == "count" and isinstance(argument, Column):
        return Comparison("is not", argument, NULL)
    return None


def _all_of_a_list(condition: Comparison, block: Select, context: Context) -> list[_Asked]:
    """Return `x = c` for each constant of `x IN (...)` where COUNT(DISTINCT x) has to be their number."""
    aggregate = condition.left
    if not isinstance(aggregate, Aggregate) or not aggregate.distinct or aggregate.name != "count":
        return []
    column = only_argument(aggregate)
    for one in block.where:
        if isinstance(one, In) and one.left == column and isinstance(one.right, List):
            values = one.right.items
            whole = Number(str(len(values))), Number(str(len(values) - 1))
            wanted = (("=", whole[0]), (">=", whole[0]), (">", whole[1]))
            if (condition.head, condition.right) in wanted and _all_differ(
                values, context.affinity(one.left)
            ):
                return [_Asked(True, Comparison("=", one.left, value)) for value in values]
    return []


def _all_differ(values: tuple[Term, ...], affinity: str) -> bool:
    """Return whether no two literals are one value of a column."""
    if affinity == "text" and all(isinstance(value, Text) for value in values):
        return len(set(values)) == len(values)
    numbers = [float(value.numeral) for value in values if isinstance(value, Number)]
    return len(set(numbers)) == len(values)


def _may_be_read_again(block: Select, context: Context) -> bool:
    """Return whether rows of a block can be told by its keys, and its sources be read twice."""
    keys = block.group or ()
    told = all(isinstance(key, Column) and not context.collation(key) for key in keys)
    return told and not any(isinstance(part, (Recursive, Itself)) for part in walk(block))


def _probe(asked: _Asked, block: Select, context: Context) -> Term:
    """Return whether a row of the same group satisfies a condition, or none does."""
    keys = block.group or ()
    rows = any_row(block.sources, (*block.where, asked.condition), block.outers)
    copy = _read_again(rows._replace(items=keys), context)
    equal = (
        Comparison("=" if context.not_null(key) else "is", *sorted((key, again), key=repr))
        for key, again in zip(keys, copy.items, strict=True)
    )
    found = Exists(copy._replace(items=(ONE,), where=(*copy.where, *equal)))
    return found if asked.some else Not(found)


def _read_again(query: Select, context: Context) -> Select:
    """Return a query with other labels of its sources."""
    labels: dict[Label, Label] = {label: context.fresh() for label in sorted(inner_labels(query), key=repr)}
    copy: Select = _relabelled(query, labels)
    for part in walk(copy):
        if isinstance(part, (Source, Outer)):
            context.enter(part)
    return copy


_LABELLED = (Column, Table, Derived, FunctionSource, Full)


def _relabelled(term: Any, labels: dict[Label, Label]) -> Any:
    if not isinstance(term, tuple) or isinstance(term, SourceName):
        return term
    parts = [_relabelled(part, labels) for part in term]
    if isinstance(term, _LABELLED):
        label: Label = parts[1]
        parts[1] = labels.get(label, label)
    return remake(term, parts)
