"""Blocks inside blocks: derived tables merged, conditions flattened, wrappers removed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..context import Context, numbers_in
from ..terms import (
    FALSE,
    NULL,
    Outer,
    Select,
    Term,
    computes_over_rows,
    conjunction,
    conjuncts,
    contains,
    sources_of,
    substitute,
    walk,
    walk_here,
)

VOLATILE = frozenset({"random", "rand", "randomblob", "uuid", "gen_random_uuid", "nextval"})


def flatten_conditions(block: Select, context: Context) -> Select:
    """Split conjunctions into their parts and drop repeats. Holds always."""
    where, having = _split(block.where), _split(block.having) if block.having else ()
    outers = tuple(_flatten_outer(one) for one in block.outers)
    if where == block.where and having == block.having and outers == block.outers:
        return block
    return block._replace(where=where, having=having, outers=outers)


def _flatten_outer(outer: Outer) -> Outer:
    return outer._replace(
        where=_split(outer.where), outers=tuple(_flatten_outer(one) for one in outer.outers)
    )


def _split(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """Return the conjuncts; what cannot be true is false, since a condition that is NULL lets no row through."""
    found: dict[Term, None] = {}
    for term in terms:
        for part in conjuncts(_truth(term)):
            found[part] = None
    for one in [one for one in found if one[0] == "=" and one[1] == one[2]]:
        del found[one]
        found["is not", one[1], NULL] = None
    if FALSE in found or contradictory(found):
        return (FALSE,)
    for one in [one for one in found if one[0] == "is" and one[1] == one[2]]:
        del found[one]
    for one in [one for one in found if one[0] == "is" and one[1][0] == one[2][0] == "column"]:
        # Two values that are alike and not both NULL are equal.
        if any(_needs(other, side) or other == ("is not", side, NULL) for other in found for side in one[1:]):
            del found[one]
            equal: Term = ("=", *sorted(one[1:], key=repr))
            found[equal] = None
    if any(one[0] == "is not" and one[2] == NULL for one in found):
        found = {one: None for one in found if not _implied(one, found)}
    return tuple(found)


def _implied(term: Term, others: Iterable[Term]) -> bool:
    """Return whether a term asks for a value that another condition needs anyway."""
    if term[0] != "is not" or term[2] != NULL:
        return False
    return any(_needs(other, term[1]) for other in others if other is not term)


def _truth(term: Term) -> Term:
    """Return a condition that is true for the same rows."""
    if term[0] == "null":
        return FALSE
    if term[0] == "or":
        parts = [part for part in map(_truth, term[1:]) if part != FALSE]
        return FALSE if not parts else parts[0] if len(parts) == 1 else ("or", *parts)
    if term[0] == "and":
        kept = _split(term[1:])
        return FALSE if kept == (FALSE,) else conjunction(kept)
    return term


def contradictory(terms: Iterable[Term]) -> bool:
    """Return whether conditions ask one term to equal two constants."""
    values: dict[Term, Term] = {}
    for one in terms:
        if one[0] == "=" and one[2][0] in ("number", "text"):
            first = values.setdefault(one[1], one[2])
            if first[0] == one[2][0] and first != one[2]:
                return True
    return False


_NULL_IN_NULL_OUT = frozenset({"=", "<>", "<", "<=", ">", ">=", "like", "ilike", "glob"})


def _needs(condition: Term, term: Term) -> bool:
    """Return whether a condition is never true when a term is NULL."""
    if condition[0] in _NULL_IN_NULL_OUT:
        return any(
            part == term or (part[0] in ("+", "-", "*", "/", "neg") and term in part[1:])
            for part in condition[1:]
        )
    if condition[0] == "in" and len(condition) == 3:
        return bool(condition[1] == term)
    if condition[0] == "not":
        inner = condition[1]  # NULL NOT IN (a subquery without rows) is true
        return (inner[0] in _NULL_IN_NULL_OUT or (inner[0] == "in" and inner[2][0] == "list")) and _needs(
            inner, term
        )
    if condition[0] == "or":
        return all(_needs(part, term) for part in condition[1:])
    if condition[0] == "and":
        return any(_needs(part, term) for part in condition[1:])
    return False


def mark_branches(query: Any) -> Any:
    """Mark, from the outside inward, the blocks whose repeats nobody can see: IN, EXISTS, and set operations."""
    if not isinstance(query, tuple) or not query:
        return query
    if query[0] == "setop" and not query[1].endswith(" all"):
        branches = tuple(free(branch) for branch in query[2])
        query = (query[0], query[1], branches, *query[3:])
    elif query[0] == "exists":
        query = ("exists", free(query[1]))
    elif query[0] == "in" and len(query) == 3:
        query = ("in", query[1], free(query[2]))
    parts = [mark_branches(part) if isinstance(part, tuple) else part for part in query]
    if all(new is old for new, old in zip(parts, query, strict=True)):
        return query
    return type(query)(*parts) if type(query) is not tuple else tuple(parts)


def free(query: Term) -> Term:
    """Return a query whose repeats and order do not matter, marked so."""
    if isinstance(query, Select):
        if query.limit is None and query.offset is None and (query.distinct != "any" or query.order):
            return query._replace(distinct="any", order=())
    elif query[0] == "setop" and query[1] == "union all" and query[4] is None and query[5] is None:
        return ("setop", "union", *query[2:])
    return query


def blind_to_repeats(block: Select) -> bool:
    """Return whether repeated rows of the FROM clause cannot be seen in the result."""
    if block.extra or any(
        contains(one, "window") for one in (*block.items, *(key[1] for key in block.order))
    ):
        return False
    if not block.aggregated:
        return bool(block.distinct) or block.group is not None
    terms = (*block.items, *block.having, *(key[1] for key in block.order))
    return all(
        part[1] in ("min", "max") or part[2]
        for term in terms
        for part in walk_here(term)
        if part and part[0] == "aggregate"
    )


def mark_free_duplicates(block: Select, context: Context) -> Select:
    """Let a derived table keep or drop repeats as it likes. Holds when the block around cannot see them."""
    if not any(source[0] == "derived" for source in block.sources) or not blind_to_repeats(block):
        return block
    sources = tuple(
        ("derived", source[1], free(source[2]))
        if source[0] == "derived" and source[2][0] != "recursive"
        else source
        for source in block.sources
    )
    return block._replace(sources=sources)


def _mergeable(query: Any) -> bool:
    """Return whether a derived table only joins, filters and computes row by row."""
    return (
        isinstance(query, Select)
        and query._replace(distinct=False).plain
        and query.distinct is not True
        and not any(
            part[:2] == ("call", name) for item in query.items for part in walk(item) for name in VOLATILE
        )
    )


def _mapping(number: int, query: Select, user: Any) -> dict[Term, Term] | None:
    """Return what each column of a derived table stands for; `None` when that is not known."""
    found: dict[Term, Term] = {("column", number, place): item for place, item in enumerate(query.items)}
    stars = [item for item in query.items if item[0] == "column" and item[2] == "*"]
    if not stars:
        return found
    if len(query.items) != 1 or len(stars[0]) != 3:
        return None
    for part in walk(user):
        if part and part[0] == "column" and part[1] == number:
            found[part] = ("column", stars[0][1], *part[2:])
    return found


def merge_derived(block: Select, context: Context) -> Select:
    """Put a derived table's sources and conditions in place of it.

    Holds for an inner-joined one that only joins, filters and computes row by row: the join of a
    selection is a selection of the join, and an outer join inside commutes with the joins around it.
    """
    for source in block.sources:
        if source[0] != "derived" or not _mergeable(source[2]):
            continue
        query = source[2]
        mapping = _mapping(source[1], query, block)
        if mapping is None:
            continue
        rest = tuple(one for one in block.sources if one is not source)
        block = substitute(
            block._replace(
                sources=(*rest, *query.sources),
                outers=(*query.outers, *block.outers),
                where=(*block.where, *query.where),
            ),
            mapping,
        )
    return block


def merge_derived_outer(block: Select, context: Context) -> Select:
    """The same on the padded side of a LEFT JOIN. Holds when every column of the derived table is a plain one."""
    if not block.outers:
        return block
    mapping: dict[Term, Term] = {}
    outers = tuple(_merge_in_outer(one, mapping, block) for one in block.outers)
    return substitute(block._replace(outers=outers), mapping) if mapping else block


def _merge_in_outer(outer: Outer, mapping: dict[Term, Term], block: Select) -> Outer:
    sources: list[Term] = []
    where = list(outer.where)
    nested = [_merge_in_outer(one, mapping, block) for one in outer.outers]
    for source in outer.sources:
        query = source[2] if source[0] == "derived" else None
        if query is not None and _mergeable(query):
            own = numbers_in(query.sources) | numbers_in(query.outers)
            found = _mapping(source[1], query, block)
            if found is not None and all(item[0] == "column" and item[1] in own for item in query.items):
                mapping.update(found)
                sources += query.sources
                nested += query.outers
                where += query.where
                continue
        sources.append(source)
    return outer._replace(sources=tuple(sources), outers=tuple(nested), where=tuple(where))


def unwrap(block: Select, context: Context) -> Term:
    """Return the query inside a block that only renames, filters, sorts or cuts it.

    Holds when the block reads one derived table and neither groups nor removes repeats itself:
    a filter on groups is a HAVING, and a projection of a grouped query is a grouped query.
    """
    if len(block.sources) != 1 or block.outers or block.sources[0][0] != "derived":
        return block
    _, number, inner = block.sources[0]
    if block.group is not None or block.having or block.extra or _over_rows(block):
        return block
    columns = tuple(("column", number, place) for place in range(len(block.items)))
    identity = block.items == columns
    bare = not (block.where or block.order or block.limit or block.offset)
    if inner[0] == "setop":
        pushed = _push_into_union(block, number, inner)
        if pushed is not None:
            return pushed
        width = _width(inner)
        if identity and bare and width == len(columns) and block.distinct in (False, "any"):
            whole: Term = inner
            return whole
        return block
    if not isinstance(inner, Select) or inner.extra or inner.distinct is True:
        if (
            isinstance(inner, Select)
            and inner.distinct is True
            and not inner.extra
            and bare
            and _permutes(block, number, inner)
        ):
            items = tuple(inner.items[item[2]] for item in block.items)
            return inner._replace(items=items, distinct=block.distinct or True)
        return block
    if any(item[0] == "column" and item[2] == "*" for item in inner.items):
        return block
    limited = inner.limit is not None or inner.offset is not None
    if (limited and (not bare or block.distinct is True)) or any(
        contains(item, "window") for item in inner.items
    ):
        return block
    if block.distinct is True and inner.distinct not in (False, "any"):
        return block
    mapping = {("column", number, place): item for place, item in enumerate(inner.items)}
    if block.where and not inner.aggregated:
        return block
    having = tuple(substitute(one, mapping) for one in block.where)
    if any(contains(one, "exists") or contains(one, "in") or contains(one, "scalar") for one in having):
        return block
    return inner._replace(
        items=tuple(substitute(item, mapping) for item in block.items),
        having=(*inner.having, *having),
        distinct=block.distinct if inner.distinct is False or block.distinct is True else inner.distinct,
        order=inner.order if limited else tuple(substitute(key, mapping) for key in block.order),
        limit=inner.limit if limited else block.limit,
        offset=inner.offset if limited else block.offset,
    )


def one_row_to_scalar(block: Select, context: Context) -> Select:
    """A joined derived table of exactly one row is a scalar subquery wherever it is read.

    Holds for an aggregate without GROUP BY and HAVING, inner-joined to something else.
    """
    if len(block.sources) < 2:
        return block
    for source in block.sources:
        query = source[2] if source[0] == "derived" else None
        if not isinstance(query, Select) or not query.aggregated or query.group is not None or query.having:
            continue
        if query.limit is not None or query.offset is not None or query.extra:
            continue
        rest = block._replace(sources=tuple(one for one in block.sources if one is not source))
        single = query._replace(order=(), distinct=False)
        mapping: dict[Term, Term] = {
            ("column", source[1], place): ("scalar", single._replace(items=(item,)))
            for place, item in enumerate(query.items)
        }
        changed: Select = substitute(rest, mapping)
        return changed
    return block


def _push_into_union(block: Select, number: int, inner: Term) -> Term | None:
    """A projection and a filter of UNION ALL are those of its branches. Holds without ORDER BY and LIMIT."""
    plain = inner[1] == "union all" and inner[3:6] == ((), None, None) and len(inner) == 6
    if not plain or block.order or block.limit or block.offset or block.distinct is True:
        return None
    if not all(_mergeable(branch) for branch in inner[2]):
        return None
    branches = []
    for branch in inner[2]:
        mapping = {("column", number, place): item for place, item in enumerate(branch.items)}
        branches.append(
            branch._replace(
                items=tuple(substitute(item, mapping) for item in block.items),
                where=_split((*branch.where, *(substitute(one, mapping) for one in block.where))),
            )
        )
    return ("setop", "union all", tuple(branches), (), None, None)


def drop_unread_columns(block: Select, context: Context) -> Select:
    """A column of a derived table that nobody reads is dropped. Holds unless the table drops repeats."""
    if not any(source[0] == "derived" for source in block.sources):
        return block
    for source in block.sources:
        query = source[2] if source[0] == "derived" else None
        if not isinstance(query, Select) or query.distinct is True or len(query.items) < 2 or query.extra:
            continue
        number = source[1]
        if any(item[0] == "column" and item[2] == "*" for item in query.items):
            continue
        read = {part[2] for part in walk(block) if part[0] == "column" and part[1] == number}
        if not all(isinstance(place, int) for place in read):
            continue
        kept = [place for place in range(len(query.items)) if place in read]
        one_row = query.aggregated and query.group is None
        if one_row and not any(contains(query.items[place], "aggregate") for place in kept):
            continue
        kept = kept or [0]
        if len(kept) == len(query.items):
            continue
        mapping: dict[Term, Term] = {
            ("column", number, old): ("column", number, new) for new, old in enumerate(kept)
        }
        less = ("derived", number, query._replace(items=tuple(query.items[place] for place in kept)))
        rest: Select = substitute(block._replace(sources=()), mapping)
        sources = tuple(less if one is source else one for one in block.sources)
        return rest._replace(sources=sources)
    return block


def _over_rows(block: Select) -> bool:
    return any(computes_over_rows(one) for one in (*block.items, *(key[1] for key in block.order)))


def _permutes(block: Select, number: int, inner: Select) -> bool:
    places = {item[2] for item in block.items if item[0] == "column" and item[1] == number}
    return len(places) == len(block.items) == len(inner.items)


def _width(query: Term) -> int:
    while query[0] == "setop":
        query = query[2][0]
    return len(query.items) if isinstance(query, Select) else -1


def first_row_number(block: Select, context: Context) -> Select:
    """`ROW_NUMBER() OVER (ORDER BY k) = 1` on a derived table is its ORDER BY k LIMIT 1.

    Holds without PARTITION BY, when the number is used for nothing else and nothing else is filtered or
    joined: both take one row among those that come first.
    """
    if len(block.sources) != 1 or block.sources[0][0] != "derived" or len(block.where) != 1 or block.outers:
        return block
    _, number, inner = block.sources[0]
    where = block.where[0]
    if where[0] != "=" or where[2] != ("number", "1") or where[1][:2] != ("column", number):
        return block
    if not isinstance(inner, Select) or inner.limit or inner.offset or inner.distinct is True or inner.extra:
        return block
    place = where[1][2]
    if not isinstance(place, int) or place >= len(inner.items):
        return block
    window = inner.items[place]
    if window[0] != "window" or window[1] != ("call", "row_number") or window[2] or window[4]:
        return block
    if any(part == where[1] for part in walk(block._replace(where=()))):
        return block
    rest = [item for at, item in enumerate(inner.items) if at != place]
    if any(contains(item, "window") for item in rest):
        return block
    shift: dict[Term, Term] = {
        ("column", number, at): ("column", number, at - 1) for at in range(place + 1, len(inner.items))
    }
    cut = inner._replace(items=tuple(rest), order=window[3], limit=("number", "1"))
    changed: Select = substitute(block._replace(where=(), sources=()), shift)
    return changed._replace(sources=(("derived", number, cut),))


def uses(block: Select, numbers: set[int], *fields: str) -> bool:
    """Return whether fields of a block refer to any of these sources."""
    return any(sources_of(getattr(block, name)) & numbers for name in fields)
