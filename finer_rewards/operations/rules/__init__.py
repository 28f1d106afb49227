"""Rewrites of whole blocks, applied from the innermost outward until nothing changes.

Each rule is a function of one block (one SELECT) that says, in its docstring, when it holds; the tuple `RULES`
is their order. Where it does not hold, or changes nothing, a rule returns the block itself. Rules help each other: what
one leaves another may take up, so all are tried until none finds anything.

A block is a bag of rows: `distinct` is `True` where repeats are dropped and `"any"` where whoever reads the rows cannot
tell (in EXISTS, IN, and the branches of a set operation). With `context.loose` the result need not keep NULLs, ties and
repeats: more rules apply (`loose`), and some of the others hold more widely.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import compress, cycle, islice
from typing import Any

from .._row_order import drop_unseen_order
from .._values import fix_collations, shown
from ..context import Context
from ..leaves import Column, Label
from ..operators import Aggregate, Comparison, Exists, In, List, Scalar
from ..predicates import simplify
from ..terms import QUERIES, Derived, Query, Select, SetOperation, Table, Term, contains
from ..walks import fold, walk
from . import (
    blocks,
    derived,
    duplicates,
    few_rows,
    grouping,
    joins,
    loose,
    quantified,
    readings,
    sets,
    side_by_side,
    subqueries,
    unseen,
)

_MAX_PASSES = 4
_MAX_ROUNDS = 8

Rule = Callable[[Select, Context], Select]

#: Every rule on a block, in the order of application, with what a block must have for it to be tried.
RULES: tuple[tuple[Rule, str], ...] = (
    (blocks.flatten_conditions, ""),
    (blocks.mark_free_duplicates, "derived"),
    (blocks.merge_derived, "derived"),
    (blocks.merge_derived_outer, "outers"),
    (derived.first_row_number, "derived"),
    (derived.drop_unread_columns, "derived"),
    (derived.one_row_to_scalar, "derived"),
    (derived.distinct_to_exists, "derived"),
    (joins.outer_to_inner, "outers"),
    (joins.outer_to_anti, "outers"),
    (joins.drop_unused_outer, "outers"),
    (joins.free_foreign_key, "cast"),
    (subqueries.scalar_to_in, "subquery"),
    (few_rows.count_to_group, "subquery"),
    (unseen.other_than_the_least, "subquery"),
    (subqueries.in_to_exists, "subquery"),
    (unseen.exists_of_itself, "subquery"),
    (subqueries.grouped_in_to_derived, "subquery"),
    (subqueries.merge_grouped_derived, "derived"),
    (subqueries.exists_to_join, "subquery"),
    (joins.merge_equal_columns, "where"),
    (readings.merge_self_join, "repeated"),
    (readings.merge_with_outer, "joined"),
    (readings.fold_repeated_reading, "repeated"),
    (joins.drop_referenced_table, "joined"),
    (side_by_side.join_folded_subqueries, "scalar"),
    (grouping.group_to_distinct, "group"),
    (grouping.group_to_exists, "group"),
    (grouping.drop_determined_keys, "group"),
    (grouping.having_to_where, "having"),
    (unseen.drop_unseen_nulls, "aggregate"),
    (grouping.count_forms, "aggregate"),
    (grouping.count_case_to_where, "aggregate"),
    (grouping.count_distinct_rows, "derived"),
    (grouping.groups_are_not_empty, "having"),
    (few_rows.count_in_group_of_one, "having"),
    (quantified.having_to_exists, "having"),
    (duplicates.drop_needless_distinct, "distinct"),
    (duplicates.drop_needless_order, "order"),
    (few_rows.bare_empty_block, "where"),
)

#: Rules that hold but for NULLs, ties and repeats; see `loose`.
LOOSE_RULES: tuple[tuple[Rule, str], ...] = (
    (loose.complement_of_groups, "subquery"),
    (loose.absent_itself, "subquery"),
    (loose.extreme_to_first, "subquery"),
    (loose.first_of_subquery, "subquery"),
    (loose.count_rows, "aggregate"),
    *RULES,
)


def rewrite(query: Query, context: Context) -> Query:
    """Return the query with every rule applied until nothing changes; the loose ones too if the context says so."""
    rules = LOOSE_RULES if context.loose else RULES

    def settle(block: Select, context: Context) -> Query:
        return derived.unwrap(_settle(block, rules, context), context)

    changes: dict[type, Callable[[Any, Context], Query]] = {
        Select: settle,
        SetOperation: sets.rewrite_set_operation,
    }

    heads = context.survey(query)
    query = fix_collations(query, context)
    if context.nested and heads & {"asc", "desc"}:
        query = drop_unseen_order(query)
    for _ in range(_MAX_PASSES):
        heads = context.survey(query)
        query = simplify(query, context)
        if context.tagged or "value" in heads:
            query = shown(query, context)
        if heads & {"exists", "in", "setop"}:
            query = blocks.mark_branches(query, context)
        before = query
        if heads & _STRUCTURE or not isinstance(query, Select):
            query = fold(query, changes, context)
        else:
            query = settle(query, context)
        if not heads & _STRUCTURE or query == before:
            break
    return query


# Without these a second pass finds nothing that the first has not.
_STRUCTURE = frozenset({"exists", "in", "scalar", "derived", "setop", "left", "full"})


def _settle(block: Select, rules: tuple[tuple[Rule, str], ...], context: Context) -> Select:
    """Apply the rules in turn until each of them, one after the other, has found nothing."""
    if context.nested and _as_is(block, context) in context.settled:
        return block
    has, last = features(block, context), rules[-1][0]
    for rule, need in islice(cycle(rules), _MAX_ROUNDS * len(rules)):
        if need in has:
            changed = rule(block, context)
            if changed is not block and changed != block:
                block, has, last = changed, features(changed, context), rule
                continue
        # All have been tried since a rule, this one, changed something last.
        if rule is last:
            if context.nested:
                context.settled.add(_as_is(block, context))
            break
    return block


def _as_is(block: Select, context: Context) -> tuple[Select, bool, frozenset[Label]]:
    return block, context.loose, frozenset(context.padded)


def features(block: Select, context: Context) -> set[str]:
    """Return what a block has, in the words of `RULES`."""
    has = {"", *compress(Select._fields, block)}
    if context.nested and contains((block.where, *(outer.where for outer in block.outers)), *QUERIES):
        has.add("subquery")
    if "cast" in context.heads:
        has.add("cast")
    if "scalar" in context.heads and contains(block.items, Scalar):
        has.add("scalar")
    if len(block.sources) > 1:
        has.add("joined")
        names = [source.name for source in block.sources if isinstance(source, Table)]
        if len(set(names)) != len(names):
            has.add("repeated")
    if context.nested and any(isinstance(source, Derived) for source in block.sources):
        has.add("derived")
    if block.outers:
        has |= {"joined", "derived"} if contains(block.outers, Derived) else {"joined"}
    if "aggregate" in context.heads and contains((block.items, block.having, block.order), Aggregate):
        has |= {"aggregate", "order"}
    return has


#: Without these no loose rule finds anything.
LOOSENED = frozenset({"exists", "scalar", "is", "is not", "in", "aggregate"})


def loosens(query: Query) -> bool:
    """Return whether a loose rule may find something in a query."""
    return any(part.__class__ in _LOOSENABLE and _may_loosen(part) for part in walk(query))


_LOOSENABLE = frozenset({Comparison, In, Aggregate, Exists, Scalar})


def _may_loosen(part: Term) -> bool:
    if isinstance(part, Comparison):
        return part.head in ("is", "is not") and isinstance(part.right, Column)
    if isinstance(part, In):
        return not isinstance(part.right, List)
    if isinstance(part, Aggregate):
        return any(
            found(part) for found in (loose.counts_column, loose.summed_condition, loose.sum_without_zero)
        )
    return isinstance(part, (Exists, Scalar))
