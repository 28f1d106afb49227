"""Rules on subqueries in conditions: `=` as IN, IN as EXISTS, EXISTS as a join; and derived tables that group."""

from __future__ import annotations

from typing import NamedTuple, TypeGuard

from ..context import Context, numbers_in
from ..leaves import ONE, Column, Label
from ..operators import Aggregate, Comparison, Connective, Exists, In, Not, Row, Scalar, Window
from ..terms import Derived, Itself, Query, Select, SetOperation, Source, Term, contains, is_cut
from ..walks import columns_of, sources_of, substitute, walk
from ._shared import (
    both_ways,
    derived_blocks,
    equalities,
    equality,
    is_equality,
    items_behind,
    without,
)
from .blocks import blind_to_repeats
from .closure import Closure


def only_joins_and_filters(query: object) -> TypeGuard[Select]:
    """Return whether a subquery neither groups nor leaves rows out by LIMIT; it may sort and drop repeats."""
    return (
        isinstance(query, Select)
        and not query.aggregated
        and not is_cut(query)
        and not query.extra
        and not query.having
    )


def in_to_exists(block: Select, context: Context) -> Select:
    """`x IN (SELECT y FROM s WHERE p)` is EXISTS (SELECT 1 FROM s WHERE p AND y = x) where only truth counts.

    Holds where the subquery neither groups nor is cut by LIMIT, and no collation is compared by. NOT IN is NOT EXISTS
    where neither x nor y can be NULL. What is in a UNION is in one of its branches.
    """
    where = tuple(_rewrite(one, context) for one in block.where)
    outers = tuple(
        one._replace(where=tuple(_rewrite(part, context) for part in one.where)) for one in block.outers
    )
    if where == block.where and outers == block.outers:
        return block
    return block._replace(where=where, outers=outers)


def _rewrite(term: Term, context: Context) -> Term:
    if isinstance(term, Connective):
        return Connective(term.head, *(_rewrite(operand, context) for operand in term.operands))
    if isinstance(term, In):
        branches = _in_branches(term, context)
        if branches:
            return Connective("or", *(_rewrite(one, context) for one in branches))
        return _exists(term, context) or term
    if isinstance(term, Not) and isinstance(term.operand, In):
        branches = _in_branches(term.operand, context)
        if branches:
            return Connective("and", *(_rewrite(Not(one), context) for one in branches))
        exists = _exists(term.operand, context)
        if exists is not None and (context.loose or _compares_no_null(term.operand, context)):
            return Not(exists)
    return term


def _in_branches(membership: In, context: Context) -> list[In]:
    """Return IN for each branch of a UNION; none where a branch may be compared otherwise than all of them are."""
    left, union = membership.left, membership.right
    if not isinstance(union, SetOperation) or union.operator not in ("union", "union all"):
        return []
    if is_cut(union) or union.extra or isinstance(left, Row):
        return []
    branches = [branch for branch in union.branches if isinstance(branch, Select) and len(branch.items) == 1]
    items = [branch.items[0] for branch in branches]
    if len(branches) != len(union.branches) or not all(context.same_kind(items[0], item) for item in items):
        return []
    if context.collation(left) or context.converts(left, items[0]):
        return []
    return [In(left, branch) for branch in branches]


def _sought(membership: In) -> tuple[Term, ...]:
    """Return the terms that IN looks for, side by side."""
    left = membership.left
    return left.items if isinstance(left, Row) else (left,)


def _compares_no_null(membership: In, context: Context) -> bool:
    """Return whether neither what IN looks for nor what the subquery shows can be NULL."""
    shown = membership.right.items if isinstance(membership.right, Select) else ()
    return all(map(context.not_null, (*_sought(membership), *shown)))


def _exists(membership: In, context: Context) -> Exists | None:
    """Return EXISTS in place of IN; `None` where that may not be true of the same rows."""
    query = membership.right
    if not only_joins_and_filters(query):
        return None
    sought = _sought(membership)
    if len(sought) != len(query.items) or any(map(context.collation, (*sought, *query.items))):
        return None
    padded = numbers_in(query.outers)
    if not numbers_in(query.sources) and any(sources_of(item) & padded for item in query.items):
        return None
    equal = map(equality, sought, query.items)
    return Exists(query._replace(items=(ONE,), where=(*query.where, *equal), distinct="any", order=()))


#: Tables; beyond, what a join costs the other rules grows with its square.
_MOST_JOINED = 30


def exists_to_join(block: Select, context: Context) -> Select:
    """EXISTS (SELECT 1 FROM s WHERE p) becomes a join with s on p, where the number of rows does not tell.

    Holds when the subquery has at most one row for each row around it, when repeats cannot be seen,
    or when the result has no two equal rows anyway, so that it may drop repeats.
    """
    if len(block.sources) >= _MOST_JOINED:
        return block
    for condition in block.where:
        query = condition.query if isinstance(condition, Exists) else None
        if not only_joins_and_filters(query) or not query.sources:
            continue
        if any(isinstance(source, Itself) for source in query.sources):
            continue
        rest = block._replace(where=without(block.where, condition))
        joined = rest._replace(
            sources=(*rest.sources, *query.sources),
            outers=(*rest.outers, *query.outers),
            where=(*rest.where, *query.where),
        )
        if context.loose or blind_to_repeats(block) or Closure(query, (), context).one_row:
            return joined
        may_drop_repeats = not block.aggregated and block.limit is None and not block.extra
        if may_drop_repeats and _has_no_repeats(rest, context):
            return joined._replace(distinct=True)
    return block


def _has_no_repeats(block: Select, context: Context) -> bool:
    """Return whether the items fix a row of what a block reads."""
    return bool(block.sources) and Closure(block, block.items, context).one_row


def grouped_in_to_derived(block: Select, context: Context) -> Select:
    """`x IN (SELECT y ... GROUP BY y ...)` is a join with that query on y = x.

    Holds where the subquery shows the only key it groups by, so that it has each y once, and reads nothing of the
    queries around it.
    """
    for condition in block.where:
        if not isinstance(condition, In) or isinstance(condition.left, Row):
            continue
        query = condition.right
        if not isinstance(query, Select) or not _shows_its_only_key(query) or _is_correlated(query):
            continue
        source = Derived(context.fresh(), query._replace(distinct=False))
        link = Comparison("=", condition.left, Column(source.label, 0))
        return block._replace(
            sources=(*block.sources, source), where=(*without(block.where, condition), link)
        )
    return block


def _shows_its_only_key(query: Select) -> bool:
    """Return whether a block shows the one key that it groups by, for every group."""
    one_key = len(query.items) == 1 and query.group == query.items
    return one_key and not is_cut(query) and not query.extra


def _is_correlated(query: Select) -> bool:
    """Return whether a query reads rows of the queries around it."""
    return bool(sources_of(query) - inner_labels(query) - {-1})


def scalar_to_in(block: Select, context: Context) -> Select:
    """`x = (SELECT y ...)` is `x IN (SELECT y ...)` where the subquery cannot give several rows.

    Holds when a key leaves one row, and in dialects that refuse a scalar subquery of several rows.
    """
    where = tuple(_in_for_scalar(one, context) for one in block.where)
    return block if where == block.where else block._replace(where=where)


def _in_for_scalar(term: Term, context: Context) -> Term:
    if not is_equality(term):
        return term
    for sought, other in both_ways(term):
        query = other.query if isinstance(other, Scalar) else None
        if isinstance(sought, Scalar) or not only_joins_and_filters(query):
            continue
        if context.loose or context.facts.dialect != "sqlite" or Closure(query, (), context).one_row:
            return In(sought, query)
    return term


class _Link(NamedTuple):
    """A group key of a derived table, the condition that equates it with a column around it, and that column."""

    key: Term
    condition: Comparison
    partner: Column


def merge_grouped_derived(block: Select, context: Context) -> Select:
    """`t JOIN (SELECT y, f(..) FROM s GROUP BY y HAVING h) d ON d.y = k` is t JOIN s ON y = k GROUP BY k HAVING h.

    Holds when k is a key of everything else the block reads, so that each group meets one row of it,
    and the block itself neither groups nor drops repeats.
    """
    if block.aggregated or block.distinct is True or block.extra or block.outers:
        return block
    for source, query in derived_blocks(block.sources):
        links = _links_to_keys(source.label, query, block.where, context) if _only_groups(query) else None
        if links is None:
            continue
        linking = {link.condition for link in links}
        rest = block._replace(
            sources=without(block.sources, source),
            where=tuple(condition for condition in block.where if condition not in linking),
        )
        if _has_one_row_for(links, rest, source.label, context):
            return _join_groups(rest, source.label, query, links)
    return block


def _only_groups(query: Select) -> bool:
    """Return whether a block shows all keys it groups by, in no other order and without leaving a group out."""
    if not query.group or query.outers or query.extra or query.distinct is True or is_cut(query):
        return False
    return set(query.group) <= set(query.items) and not contains(query.items, Window)


def _links_to_keys(
    label: Label, query: Select, where: tuple[Term, ...], context: Context
) -> list[_Link] | None:
    """Return what equates each group key with a column of the same kind; `None` where one has no such column."""
    links = []
    for key in dict.fromkeys(query.group or ()):
        column = Column(label, query.items.index(key))
        condition = next((one for one in equalities(where) if column in one), None)
        if condition is None:
            return None
        partner = condition.right if condition.left == column else condition.left
        if not isinstance(partner, Column) or not context.same_kind(key, partner):
            return None
        links.append(_Link(key, condition, partner))
    return links


def _has_one_row_for(links: list[_Link], rest: Select, label: Label, context: Context) -> bool:
    """Return whether the partners of the keys fix a row of what is read beside the derived table."""
    alone = rest._replace(where=tuple(one for one in rest.where if label not in sources_of(one)))
    return bool(rest.sources) and Closure(alone, [link.partner for link in links], context).one_row


def _join_groups(rest: Select, label: Label, query: Select, links: list[_Link]) -> Select:
    """Return the block around a derived table with its sources and conditions, grouped as it is."""
    behind = items_behind(label, query)
    having = [one for one in rest.where if _reads_an_aggregate(one, behind)]
    rest = rest._replace(where=tuple(one for one in rest.where if one not in having))
    changed = substitute(rest, behind)
    keys = (equality(link.key, link.partner) for link in links)
    return changed._replace(
        sources=(*changed.sources, *query.sources),
        where=(*changed.where, *query.where, *keys),
        group=tuple(dict.fromkeys(link.partner for link in links)),
        having=(*query.having, *(substitute(one, behind) for one in having)),
    )


def _reads_an_aggregate(term: Term, behind: dict[Column, Term]) -> bool:
    """Return whether a term reads a column of a derived table that stands for an aggregate."""
    return any(contains(behind[column], Aggregate) for column in columns_of(term) if column in behind)


def inner_labels(query: Query) -> set[Label]:
    """Return the labels of all sources of a query, those of its subqueries included."""
    return {part.label for part in walk(query) if isinstance(part, Source)}
