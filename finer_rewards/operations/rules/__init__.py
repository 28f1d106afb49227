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
from ..terms import Select, Term, fold, walk
from . import blocks, duplicates, grouping, joins, loose, sets, subqueries

__all__ = ["LOOSE_RULES", "RULES", "loosens", "rewrite"]

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
    blocks.one_row_to_scalar,
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
    joins.merge_with_outer,
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
    rules = LOOSE_RULES if context.loose else RULES

    def change(term: Term) -> Any:
        if isinstance(term, Select):
            return blocks.unwrap(_settle(term, rules, context), context)
        if term[0] == "setop":
            return sets.rewrite_set_operation(term, context)
        return term

    for _ in range(_MAX_PASSES):
        heads = context.survey(query)
        query = simplify(query, context)
        if heads & {"exists", "in", "setop"}:
            query = blocks.mark_branches(query)
        before = query
        query = fold(query, change)
        if query == before:
            break
    return query


def _settle(block: Select, rules: tuple[Rule, ...], context: Context) -> Select:
    for _ in range(_MAX_ROUNDS):
        before = block
        for rule in rules:
            block = rule(block, context)
        if block == before:
            break
    return block


def loosens(query: Term) -> bool:
    """Return whether a loose rule may find something in a query."""
    return any(
        part[0] in ("exists", "scalar", "is", "is not")
        or (part[0] == "in" and part[2][0] != "list")
        or (part[0] == "aggregate" and part[1] == "count" and part[3][0] == "column")
        for part in walk(query)
    )
