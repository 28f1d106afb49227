"""Names the causes for which a wrong answer is wrong, by comparing the operations of its query with the gold's."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from finer_rewards.types import Status

if TYPE_CHECKING:
    from finer_rewards.operations import Operation, Operations
    from finer_rewards.schema import Schema

__all__ = ["CAUSES", "failure_causes"]

#: Every cause and what it means. If an answer has several, the first in this order is its main cause.
CAUSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "malformed": "the completion holds no SQL, or what it holds is not one query",
        "refused": "the statement does something other than read",
        "error": "the database rejected the query",
        "timed_out": "the query ran past the time limit",
        "too_large": "the query ran past the limits on memory and size",
        "unread": "one of the two queries cannot be read into operations",
        "set_operation": "UNION, INTERSECT or EXCEPT where gold has another or none, or none where gold has one",
        "wrong_table": "it reads another table in place of one that gold reads",
        "missing_join": "it does not read a table that gold reads",
        "extra_join": "it reads a table that gold does not read",
        "join_condition": "the same tables are joined by other columns, or by another kind of join",
        "aggregation": "another aggregate than in gold, one too many, or none",
        "grouping": "GROUP BY differs",
        "wrong_column": "another column than in gold, in what is selected or in a condition",
        "missing_column": "it does not return something that gold returns",
        "extra_column": "it returns something that gold does not return",
        "wrong_value": "a condition of gold with another value",
        "wrong_operator": "a condition of gold with another operator",
        "missing_condition": "a condition of gold is not there",
        "extra_condition": "a condition that gold has not",
        "distinct": "DISTINCT differs",
        "order_limit": "ORDER BY, LIMIT or OFFSET differs",
        "nesting": "the same part, in a subquery on one side and not on the other",
        "other": "they differ in something else",
        "empty_result": "it returns nothing where gold returns something",
        "same_operations": "nothing that operations show: the results differ, or do on a neighbour of the database",
    }
)
_RANK: Final = {cause: rank for rank, cause in enumerate(CAUSES)}
_STOPPED: Final[Mapping[Status, str]] = {
    Status.no_sql: "malformed",
    Status.not_a_query: "malformed",
    Status.several_statements: "malformed",
    Status.refused: "refused",
    Status.failed: "error",
    Status.timeout: "timed_out",
    Status.too_large: "too_large",
}
_JOINS: Final = ("join", "left join", "full join")
_CONDITIONS: Final = ("filter", "having")
#: Two conditions may be equal in some of (column, operator, value), by index; this tells what is then wrong.
_PAIRS: Final = (
    ("wrong_value", (0, 1)),
    ("wrong_operator", (0, 2)),
    ("wrong_operator", (0,)),
    ("wrong_column", (1, 2)),
)
_AGGREGATE = re.compile(
    r"\b(count|sum|avg|min|max|total|group_concat|string_agg)\((distinct )?", re.IGNORECASE
)


def failure_causes(
    predicted: str | None,
    golds: Sequence[str],
    *,
    status: Status = Status.ok,
    empty: bool = False,
    schema: Schema | None = None,
    dialect: str = "sqlite",
) -> tuple[str, ...]:
    """Return why a wrong answer is wrong, the main cause first.

    Use it only for an answer that is known to be wrong: two queries that look different may both be right.

    Args:
        predicted: the predicted SQL; `None` if there is none.
        golds: the gold statements; the predicted SQL is compared with the most similar of them.
        status: how the predicted query ended.
        empty: whether it returned no rows although the gold returned some.
        schema: the schema of the database; without it, the table of a column is unknown.
        dialect: sqlglot's name for the dialect of the statements.

    Returns:
        At least one name of `CAUSES`, in their order.

    Example:
        >>> failure_causes("SELECT name FROM t WHERE a > 2 LIMIT 1", ["SELECT name FROM t WHERE a > 3"])
        ('wrong_value', 'order_limit')
        >>> failure_causes("SELECT nme FROM t", ["SELECT name FROM t"], status=Status.failed)
        ('error',)
    """
    if predicted is None and status is Status.ok:
        status = Status.no_sql
    if status in _STOPPED:
        return (_STOPPED[status],)
    read = nearest_operations(predicted or "", golds, schema, dialect)
    causes = causes_between(*read) if read else ("unread",)
    causes += ("empty_result",) if empty else ()
    return causes or ("same_operations",)


def nearest_operations(
    predicted: str, golds: Sequence[str], schema: Schema | None, dialect: str
) -> tuple[Operations, Operations] | None:
    """Return the operations of a query and of the most similar gold; `None` where it, or every gold, cannot be read."""
    from finer_rewards.operations import OperationsError, sql_operations

    found: list[tuple[int, Operations, Operations]] = []
    for gold in golds:
        try:
            ours, theirs = (sql_operations(sql, schema=schema, dialect=dialect) for sql in (predicted, gold))
        except OperationsError:
            continue
        difference = theirs.diff(ours)
        found.append((len(difference.missing) + len(difference.extra), ours, theirs))
    return min(found, key=lambda one: one[0])[1:] if found else None


def causes_between(predicted: Operations, gold: Operations) -> tuple[str, ...]:
    """Return the causes by which one query differs from another; none if their operations are equal.

    A missing operation is paired with an extra one that was written in its place: a table with a table, a condition
    with a condition on the same column. Each pair, and each operation without a partner, has one cause.

    Args:
        predicted: the operations of the predicted query.
        gold: the operations of the gold.

    Returns:
        Names of `CAUSES`, the main cause first.

    Example:
        >>> from finer_rewards.operations import sql_operations
        >>> one, other = map(sql_operations, ("SELECT max(a) FROM t", "SELECT min(a) FROM t"))
        >>> causes_between(one, other), causes_between(one, one)
        (('aggregation',), ())
    """
    difference = gold.diff(predicted)
    missing, extra = ([*side] for side in (difference.missing, difference.extra))
    if not missing and not extra:
        return ()
    if _of(missing + extra, "set"):
        # If one query has a set operation that the other lacks, all operations of its operands are missing too. They
        # are no causes of their own.
        shared = {one.scope[0] for one in difference.matched if one.scope}
        missing, extra = (
            [one for one in side if not _is_operand(one) or one.scope[0] in shared]
            for side in (missing, extra)
        )
    causes = set(_between(missing, extra))
    return tuple(sorted(causes or {"other"}, key=_RANK.__getitem__))


def _between(missing: list[Operation], extra: list[Operation]) -> Iterator[str]:
    """Yield the causes of the missing and the extra operations; operations that are paired are taken off the lists."""
    if _paired(missing, extra, lambda one: replace(one, scope=()) if one.kind != "columns" else None):
        yield "nesting"
    sides = [Counter(one.kind for one in side) for side in (missing, extra)]
    tables = min(side["from"] for side in sides), sides[0]["from"], sides[1]["from"]
    if tables[0]:
        yield "wrong_table"
    if tables[1] > tables[0]:
        yield "missing_join"
    if tables[2] > tables[0]:
        yield "extra_join"
    there = sides[0] + sides[1]
    if not there["from"] and any(there[kind] for kind in _JOINS):
        yield "join_condition"
    for kinds, cause in (
        (("set",), "set_operation"),
        (("group",), "grouping"),
        (("distinct",), "distinct"),
        (("order", "limit", "offset"), "order_limit"),
        (("values", "other"), "other"),
    ):
        if any(there[kind] for kind in kinds):
            yield cause
    yield from _of_columns(_of(missing, "select"), _of(extra, "select"))
    yield from _of_conditions(_of(missing, *_CONDITIONS), _of(extra, *_CONDITIONS))


def _of_columns(missing: list[Operation], extra: list[Operation]) -> Iterator[str]:
    """Yield the causes in the SELECT list: pairs of a column under another aggregate first, then any other pairs."""
    if _paired(missing, extra, lambda one: _AGGREGATE.sub("(", one.arguments[0]).strip("()")):
        yield "aggregation"
    if _paired(missing, extra, lambda one: tuple(_AGGREGATE.findall(one.arguments[0]))):
        yield "wrong_column"
    if _paired(missing, extra, lambda _: True):
        yield "aggregation"
    for side, cause in ((missing, "missing_column"), (extra, "extra_column")):
        for one in side:
            yield "aggregation" if _AGGREGATE.search(one.arguments[0]) else cause


def _of_conditions(missing: list[Operation], extra: list[Operation]) -> Iterator[str]:
    """Yield the causes in conditions: pairs on the same column first, then pairs with the same operator and value."""
    for cause, places in _PAIRS:
        if _paired(missing, extra, partial(_arguments, places=places)):
            yield cause
    if missing:
        yield "missing_condition"
    if extra:
        yield "extra_condition"


def _is_operand(one: Operation) -> bool:
    return bool(one.scope) and one.scope[0][-1:].isdigit()


def _arguments(one: Operation, places: tuple[int, ...]) -> tuple[str, ...] | None:
    """Return those of (column, operator, value) at some places; `None` if the condition is not of these three."""
    return tuple(one.arguments[place] for place in places) if len(one.arguments) == 3 else None


def _of(side: Iterable[Operation], *kinds: str) -> list[Operation]:
    return [one for one in side if one.kind in kinds]


def _paired(missing: list[Operation], extra: list[Operation], key: Callable[[Operation], object]) -> bool:
    """Remove pairs with the same key from the lists (`None` equals nothing), and return whether there were any."""
    waiting: dict[object, list[Operation]] = {}
    for one in extra:
        waiting.setdefault(key(one), []).append(one)
    found = False
    for one in list(missing):
        like = key(one)
        if like is not None and waiting.get(like):
            missing.remove(one)
            extra.remove(waiting[like].pop(0))
            found = True
    return found
