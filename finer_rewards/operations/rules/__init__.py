"""Rewrites of whole blocks, applied from the innermost outward until nothing changes.

Each rule is a function of one block that says, in its docstring, when it holds; the tuple `RULES`
is their order. A block is a bag of rows: `distinct` is `True` where repeats are dropped and `"any"`
where whoever reads the rows cannot tell (in EXISTS, IN, and the branches of a set operation).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..context import Context
from ..predicates import simplify
from ..terms import Select, Term, fold
from . import blocks, duplicates, grouping, joins, loose, sets, subqueries

__all__ = ["LOOSE_RULES", "RULES", "rewrite"]

_MAX_PASSES = 4
_MAX_ROUNDS = 8

Rule = Callable[[Select, Context], Select]

#: Every rule on a block, in the order of application.
RULES: tuple[Rule, ...] = (
    blocks.flatten_conditions,
    blocks.mark_free_duplicates,
    blocks.merge_derived,
    blocks.merge_derived_outer,
    blocks.first_row_number,
    blocks.drop_unread_columns,
    joins.outer_to_inner,
    joins.outer_to_anti,
    joins.drop_unused_outer,
    joins.free_foreign_key,
    subqueries.scalar_to_in,
    subqueries.in_to_exists,
    subqueries.grouped_in_to_derived,
    subqueries.merge_grouped_derived,
    subqueries.exists_to_join,
    joins.merge_equal_columns,
    joins.merge_self_join,
    joins.fold_repeated_reading,
    joins.drop_referenced_table,
    grouping.group_to_distinct,
    grouping.group_to_exists,
    grouping.drop_determined_keys,
    grouping.having_to_where,
    grouping.count_forms,
    grouping.count_case_to_where,
    grouping.count_distinct_rows,
    grouping.groups_are_not_empty,
    duplicates.drop_needless_distinct,
    duplicates.drop_needless_order,
)


#: Rules that hold but for NULLs, ties and repeats; see `loose`.
LOOSE_RULES: tuple[Rule, ...] = (loose.extreme_to_first, loose.first_of_subquery, loose.count_rows, *RULES)


def rewrite(query: Term, context: Context) -> Term:
    """Return the query with every rule applied until nothing changes; the loose ones too if the context says so."""

    def change(term: Term) -> Any:
        if isinstance(term, Select):
            return blocks.unwrap(_settle(term, context), context)
        if term and term[0] == "setop":
            return sets.rewrite_set_operation(term, context)
        return term

    for _ in range(_MAX_PASSES):
        context.survey(query)
        before = query
        query = fold(blocks.mark_branches(simplify(query, context)), change)
        if query == before:
            return query
    return query


def _settle(block: Select, context: Context) -> Select:
    for _ in range(_MAX_ROUNDS):
        before = block
        for rule in LOOSE_RULES if context.loose else RULES:
            block = rule(block, context)
        if block == before:
            break
    return block
