"""Rules on GROUP BY and HAVING, and on aggregates that are forms of COUNT."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import eq
from typing import Any

from ..context import Context, numbers_in
from ..leaves import CONSTANTS, NULL, ONE, Column, Label, Number, Star
from ..operators import COUNT_ALL, Aggregate, Case, Cast, Comparison, Exists, In
from ..terms import CLOSED, QUERIES, Select, Term, computes_over_rows, contains, is_cut
from ..walks import columns_of, remake, sources_of, walk_here
from ._nulls import rejects_null
from ._shared import any_row, derived_blocks, reads_one_derived_table, shown_terms
from .closure import Closure

ZERO = Number("0")
_SEVERAL_GROUPINGS = ("rollup", "cube", "grouping_sets", "all")


def groups_once(block: Select) -> bool:
    """Return whether a block has GROUP BY, and each row is in one group."""
    return bool(block.group) and not any(key.head in _SEVERAL_GROUPINGS for key in block.group or ())


def only_groups_once(block: Select) -> bool:
    """Return whether a block does so without an aggregate or a window."""
    folds = computes_over_rows((shown_terms(block), block.having))
    return groups_once(block) and not folds and not block.extra


def group_to_distinct(block: Select, context: Context) -> Select:
    """GROUP BY without aggregates is DISTINCT on its keys.

    Holds when the items are exactly the keys (constants aside); when a group is one row; and, where
    repeats do not matter, when the keys fix the items.
    """
    if block.group is None or not only_groups_once(block):
        return block
    closure = Closure(block, block.group, context)
    # Otherwise HAVING asks something of some row of a group.
    if not all(_asks_of_keys(condition, closure) for condition in block.having):
        return block
    plain = block._replace(group=None, having=(), where=(*block.where, *block.having))
    if _values_of(block.items) == _values_of(block.group):
        return plain._replace(distinct=block.distinct or True)
    if closure.one_row or (block.distinct and all(map(closure.fixes, block.items))):
        return plain
    return block


def _asks_of_keys(condition: Term, closure: Closure) -> bool:
    """Return whether a HAVING condition may be asked of the rows of a group.

    Where IN converts what it looks for, SQLite shows the key of the group as converted.
    """
    converted = (
        closure.context.converts(part.left, part.right.items[0])
        for part in walk_here(condition)
        if isinstance(part, In) and isinstance(part.right, Select)
    )
    return closure.fixes(condition) and not any(converted)


def _values_of(terms: tuple[Term, ...]) -> set[Term]:
    """Return the terms that are not constants."""
    return {term for term in terms if not isinstance(term, CONSTANTS)}


def group_to_exists(block: Select, context: Context) -> Select:
    """GROUP BY a key of some tables, without aggregates, only asks whether the other tables match.

    Holds for inner joins whose other tables are used in conditions alone.
    """
    if block.group is None or block.outers or not only_groups_once(block):
        return block
    kept = _sources_fixed_by(block.group, block, context)
    asked = numbers_in(block.sources) - kept
    if not kept or not asked:
        return block
    closure = Closure(block, block.group, context)
    if not all(_asks_of_keys(condition, closure) for condition in block.having):
        return block
    used = sources_of((block.items, block.group, block.having, block.order))
    if used & asked or not Closure(block, block.group, context, kept).one_row:
        return block
    return _ask_for(asked, block)._replace(group=None, having=())


def _sources_fixed_by(keys: tuple[Term, ...], block: Select, context: Context) -> set[Label]:
    """Return the sources of which the keys fix a row, whatever the others hold."""
    kept: set[Label] = set()
    for source in block.sources:
        if source.label in Closure(block, keys, context, {source.label} | kept).rows:
            kept.add(source.label)
    return kept


def _ask_for(asked: set[Label], block: Select) -> Select:
    """Move sources, and the conditions on them, into an EXISTS."""
    conditions = (*block.where, *block.having)
    inside = tuple(one for one in conditions if not sources_of(one).isdisjoint(asked))
    around = tuple(one for one in conditions if sources_of(one).isdisjoint(asked))
    moved = tuple(source for source in block.sources if source.label in asked)
    return block._replace(
        sources=tuple(source for source in block.sources if source.label not in asked),
        where=(*around, Exists(any_row(moved, inside))),
    )


def drop_determined_keys(block: Select, context: Context) -> Select:
    """A GROUP BY key that the others fix is dropped; so is a constant one. Holds always."""
    if block.group is None or not groups_once(block):
        return block
    nothing = Closure(block, (), context)
    keys = [key for key in dict.fromkeys(block.group) if not nothing.fixes(key)]
    for key in sorted(keys, key=lambda key: _key_rank(key, context), reverse=True):
        rest = [one for one in keys if one != key]
        if rest and Closure(block, rest, context).fixes(key):
            keys = rest
    group = tuple(keys) or (ONE,)
    return block if group == block.group else block._replace(group=group)


def _key_rank(key: Term, context: Context) -> tuple[bool, bool, str]:
    """Columns of keys rank lowest, so that they are the ones that stay."""
    if not isinstance(key, Column):
        return True, True, repr(key)
    keys = [one for one in context.keys(key.source) if key in one]
    whole = any(len(one) == 1 for one in keys)
    return not whole, not keys, f"{context.tables.get(key.source, '')}.{key.name}"


def having_to_where(block: Select, context: Context) -> Select:
    """A HAVING condition on group keys alone is a WHERE condition. Holds with GROUP BY."""
    if block.group is None or not block.having or not groups_once(block):
        return block
    closure = Closure(block, block.group, context)
    moved = [
        condition
        for condition in block.having
        if _asks_of_keys(condition, closure)
        and (context.facts.dialect != "duckdb" or columns_of(condition) <= set(block.group))
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

    def change(term: Aggregate) -> Term:
        argument = only_argument(term)
        if argument is None:
            return term
        if term.name == "count" and _present(argument, block, context):
            return COUNT_ALL if not term.distinct or _unique_in_group(argument, block, context) else term
        if term.name == "sum" and not term.distinct and block.group:
            return _sum_of_ones(argument) or term
        return _without_cast(term)

    return change_aggregates(block, change)


def only_argument(term: Aggregate) -> Term | None:
    """Return the argument of an aggregate of one."""
    return term.arguments[0] if len(term.arguments) == 1 else None


def _sum_of_ones(argument: Term) -> Aggregate | None:
    """Return SUM(1) and SUM(CASE WHEN p THEN 1 ELSE 0 END) as counts; `None` for other sums."""
    if argument == ONE:
        return COUNT_ALL
    if isinstance(argument, Case) and argument.otherwise == ZERO and len(argument.branches) == 1:
        [(when, then)] = argument.branches
        return Aggregate("count", False, Case([(when, ONE)], NULL)) if then == ONE else None
    return None


def _present(term: Term, block: Select, context: Context) -> bool:
    """Return whether a term is not NULL in any row that the WHERE clause lets through."""
    if isinstance(term, (*CONSTANTS, Star)):
        return False
    if context.not_null(term):
        return True
    return isinstance(term, Column) and any(rejects_null(one, partial(eq, term)) for one in block.where)


def change_aggregates(block: Select, change: Callable[[Aggregate], Term]) -> Select:
    """Return the block with its aggregates changed."""
    parts = block.items, block.having, block.order
    changed = _change(parts, change)
    if changed is parts:
        return block
    items, having, order = changed
    return block._replace(items=items, having=having, order=order)


def _change(term: Any, change: Callable[[Aggregate], Term]) -> Any:
    """Change the aggregates in a term, those inside first, but not in subqueries: theirs belong to them."""
    if isinstance(term, QUERIES):
        return term
    changed: list[Any] | None = None
    for place, part in enumerate(term):
        if part.__class__ not in CLOSED and part:
            new = _change(part, change)
            if new is not part:
                changed = list(term) if changed is None else changed
                changed[place] = new
    if changed is not None:
        term = remake(term, changed)
    return change(term) if isinstance(term, Aggregate) else term


def _without_cast(term: Aggregate) -> Aggregate:
    """AVG works in floating point, so a cast to it changes nothing."""
    argument = only_argument(term)
    if (
        term.name != "avg"
        or not isinstance(argument, Cast)
        or argument.type not in ("real", "float", "double")
    ):
        return term
    return Aggregate("avg", term.distinct, argument.operand)


def _unique_in_group(column: Term, block: Select, context: Context) -> bool:
    """Return whether a column and the group keys fix a row."""
    return isinstance(column, Column) and Closure(block, (*(block.group or ()), column), context).one_row


def groups_are_not_empty(block: Select, context: Context) -> Select:
    """`COUNT(*) > 0` and less is true of every group. Holds with GROUP BY."""
    if not block.group or not block.having:
        return block
    having = tuple(one for one in block.having if not _asks_for_a_row(one))
    return block if having == block.having else block._replace(having=having)


def _asks_for_a_row(condition: Term) -> bool:
    """Return whether a condition is `COUNT(*) > n` or `COUNT(*) <> n` with an n below 1."""
    if not isinstance(condition, Comparison) or condition.head not in (">", "<>"):
        return False
    if condition.left != COUNT_ALL or not isinstance(condition.right, Number):
        return False
    numeral = condition.right.numeral
    return numeral.lstrip("-").isdigit() and int(numeral) < 1


def count_distinct_rows(block: Select, context: Context) -> Select:
    """`SELECT COUNT(x) FROM (SELECT DISTINCT x FROM t)` is `SELECT COUNT(DISTINCT x) FROM t`.

    Holds where the block around takes all rows and shows nothing else; for COUNT(*) where x cannot be NULL.
    """
    if not reads_one_derived_table(block) or not _shows_one_item_of_all_rows(block):
        return block
    for source, query in derived_blocks(block.sources):
        counts_values = block.items == (Aggregate("count", False, Column(source.label, 0)),)
        if not counts_values and block.items != (COUNT_ALL,):
            continue
        if len(query.items) != 1 or query.distinct is not True or query.aggregated:
            continue
        if query.extra or is_cut(query):
            continue
        if counts_values or _present(query.items[0], query, context):
            counted = Aggregate("count", True, *query.items)
            return query._replace(items=(counted,), distinct=False, order=())
    return block


def _shows_one_item_of_all_rows(block: Select) -> bool:
    """Return whether a block neither filters nor groups nor sorts what it reads, and has one item."""
    takes_all = not (block.where or block.having or block.order or is_cut(block)) and block.group is None
    return takes_all and len(block.items) == 1


def count_case_to_where(block: Select, context: Context) -> Select:
    """`COUNT(CASE WHEN p THEN 1 END)` alone is COUNT(*) WHERE p. Holds without GROUP BY or other aggregates."""
    if (
        block.group is not None
        or block.having
        or block.extra
        or block.outers
        or not contains(block.items, Case)
    ):
        return block
    aggregates = {part for part in walk_here(block.items) if isinstance(part, Aggregate)}
    term = aggregates.pop() if len(aggregates) == 1 else None
    found = None if term is None else _counted_case(term)
    if found is None or columns_of(_change(block.items, lambda part: ONE)):
        return block
    when, then = found
    counted = COUNT_ALL if context.not_null(then) else Aggregate("count", False, then)
    return block._replace(items=_change(block.items, lambda part: counted), where=(*block.where, when))


def _counted_case(term: Aggregate) -> tuple[Term, Term] | None:
    """Return the condition and the value of COUNT(CASE WHEN condition THEN value END); `None` for other aggregates."""
    case = only_argument(term)
    if term.name != "count" or term.distinct or not isinstance(case, Case) or case.otherwise != NULL:
        return None
    return case.branches[0] if len(case.branches) == 1 else None
