"""Joins: outer ones that are inner, equal columns, tables that a key makes needless."""

from __future__ import annotations

from typing import Any

from ..context import Context, numbers_in
from ..terms import (
    FALSE,
    ONE,
    Column,
    Comparison,
    Exists,
    In,
    Not,
    Null,
    Select,
    Term,
    columns_of,
    fold,
    sources_of,
    substitute,
)
from .blocks import blind_to_repeats
from .closure import CONSTANTS, Closure

_STRICT = frozenset({"=", "<>", "<", "<=", ">", ">=", "like", "glob", "ilike"})
_STRICT_VALUES = frozenset({"+", "-", "*", "/", "%", "||", "neg", "cast"})


def rejects_null(term: Term, numbers: set[int]) -> bool:
    """Return whether a condition cannot be true when every column of these sources is NULL."""
    head = term[0]
    if head in _STRICT:
        return any(_null_through(part, numbers) for part in term[1:])
    if head == "in" and len(term) == 3:
        return _null_through(term[1], numbers)
    if head == "is not" and term[2] == ("null",):
        return _null_through(term[1], numbers)
    if head == "not":
        # NULL NOT IN (a subquery without rows) is true.
        inner = term[1]
        return (inner[0] in _STRICT or (inner[0] == "in" and inner[2][0] == "list")) and rejects_null(
            inner, numbers
        )
    if head == "and":
        return any(rejects_null(part, numbers) for part in term[1:])
    if head == "or":
        return all(rejects_null(part, numbers) for part in term[1:])
    return False


def _null_through(term: Term, numbers: set[int]) -> bool:
    """Return whether a value is NULL when every column of these sources is."""
    if term[0] == "column":
        return term[1] in numbers
    if term[0] in _STRICT_VALUES:
        return any(_null_through(part, numbers) for part in term[1:] if isinstance(part, tuple))
    return False


def outer_to_inner(block: Select, context: Context) -> Select:
    """LEFT JOIN is JOIN where a condition above it fails on the rows it pads with NULLs."""
    if not block.outers:
        return block
    for outer in block.outers:
        numbers = numbers_in(outer.sources)
        others = [one for one in block.outers if one is not outer]
        if any(rejects_null(one, numbers) for one in block.where):
            context.padded -= numbers
            return block._replace(
                sources=(*block.sources, *outer.sources),
                outers=(*others, *outer.outers),
                where=(*block.where, *outer.where),
            )
    return block


def outer_to_anti(block: Select, context: Context) -> Select:
    """`t LEFT JOIN s ON c WHERE s.x IS NULL` is t WHERE NOT EXISTS (SELECT 1 FROM s WHERE c).

    Holds when x cannot be NULL in a row that c lets through, and nothing else of s is read.
    """
    for outer in block.outers:
        numbers = numbers_in(outer)
        own = numbers_in(outer.sources)
        for one in block.where:
            if one[0] != "is" or one[2] != ("null",) or one[1][0] != "column" or one[1][1] not in own:
                continue
            column = one[1]
            present = column[2] in context.table_of(column).not_null or any(
                part[0] in _STRICT and column in part[1:] for part in outer.where
            )
            rest = block._replace(
                outers=tuple(other for other in block.outers if other is not outer),
                where=tuple(other for other in block.where if other is not one),
            )
            if not present or sources_of(rest) & numbers:
                continue
            probe = Select(
                "select", "any", (ONE,), outer.sources, outer.outers, outer.where, None, (), (), None, None
            )
            return rest._replace(where=(*rest.where, Not(Exists(probe))))
    return block


def drop_unused_outer(block: Select, context: Context) -> Select:
    """A LEFT JOIN nobody reads is dropped where it keeps the number of rows.

    Holds when its condition fixes a key of every table it adds, or repeats cannot be seen.
    """
    for outer in block.outers:
        numbers = numbers_in(outer)
        rest = block._replace(outers=tuple(one for one in block.outers if one is not outer))
        if sources_of(rest) & numbers:
            continue
        probe = Select(
            "select", False, (), outer.sources, outer.outers, outer.where, None, (), (), None, None
        )
        if blind_to_repeats(block) or Closure(probe, (), context).one_row:
            return rest
    return block


def merge_equal_columns(block: Select, context: Context) -> Select:
    """Of columns that the WHERE clause makes equal, one (or the constant) stands for all.

    Holds for columns of one kind of value, where equal values are the same value.
    """
    if not any(one[0] == "=" and one[1][0] == one[2][0] == "column" for one in block.where):
        return block
    classes = equal_classes(block, context)
    if not classes:
        return block
    own = numbers_in(block.sources)
    replacement: dict[Term, Term] = {}
    kept: list[Term] = []
    class_of = {one: place for place, group in enumerate(classes) for one in group}
    for group in classes:
        constants = [one for one in group if one[0] in CONSTANTS]
        if len(constants) > 1:
            return block._replace(where=(FALSE,))
        columns = [one for one in group if one[0] == "column"]
        columns.sort(key=lambda one: _preference(one, own, context))
        if constants:
            kept += [Comparison("=", column, constants[0]) for column in columns]
            replacement.update(dict.fromkeys(columns, constants[0]))
        else:
            first = columns[0]
            kept += [
                Comparison("=", first, column)
                if repr(first) < repr(column)
                else Comparison("=", column, first)
                for column in columns[1:]
            ]
            replacement.update(dict.fromkeys(columns[1:], first))
    rest = [
        one for one in block.where
        if one[0] != "=" or one[1] not in class_of or class_of[one[1]] != class_of.get(one[2])
    ]  # fmt: skip
    # The order of conditions is no change: another round for it would be wasted.
    known = set(block.where)
    elsewhere = columns_of((*rest, *block[2:5], *block[6:]))
    if replacement.keys().isdisjoint(elsewhere) and {*rest, *kept} == known:
        return block
    # A constant under ORDER BY or GROUP BY would be read as a position; the rules on keys drop those.
    fields = ("items", "group", "having", "order", "outers", "sources", "extra")
    others = {key: value for key, value in replacement.items() if value[0] == "column"}
    constants_of = {key: value for key, value in replacement.items() if value[0] != "column"}
    changes: dict[str, Any] = {}
    for name in fields:
        held = getattr(block, name)
        new = substitute(held, others) if held and others else held
        if held and constants_of and name in ("having", "outers"):
            new = _put_constants(new, constants_of, context)
        if new is not held:
            changes[name] = new
    where = (*(_put_constants(substitute(one, others), constants_of, context) for one in rest), *kept)
    if not changes and set(where) == known:
        return block
    return block._replace(**changes, where=tuple(dict.fromkeys(where)))


def _put_constants(term: Any, constants: dict[Term, Term], context: Context) -> Any:
    """Put constants in place of columns that equal them, in comparisons with columns of the same kind.

    A comparison with anything else converts by the column's affinity, which a constant has not.
    """

    def put(one: Term, context: Context) -> Term:
        for place, column in ((1, one[1]), (2, one[2])):
            other = one[3 - place]
            if column in constants and other[0] == "column" and context.same_kind(column, other):
                return (
                    Comparison(one[0], constants[column], other)
                    if place == 1
                    else Comparison(one[0], other, constants[column])
                )
        return one

    return fold(term, {Comparison: put}, context) if constants else term


def equal_classes(block: Select, context: Context) -> list[set[Term]]:
    """Return the sets of columns, with at most a constant, that the WHERE clause makes the same value."""
    key = block.where, block.outers
    found = context.known_classes.get(key)
    if found is None:
        found = context.known_classes[key] = _classes(block, context)
    return found


def _classes(block: Select, context: Context) -> list[set[Term]]:
    classes: list[set[Term]] = []
    padded = set().union(*(numbers_in(one) for one in block.outers)) if block.outers else set()
    for one in block.where:
        if one[0] != "=":
            continue
        _, a, b = one
        if not (_member(a, padded) and _member(b, padded) and _same_kind(a, b, context)):
            continue
        joined = [group for group in classes if a in group or b in group]
        if not joined:
            classes.append({a, b})
            continue
        classes = [group for group in classes if group not in joined] + [{a, b}.union(*joined)]
    return classes


def _member(term: Term, padded: set[int]) -> bool:
    if term[0] == "column":
        return term[1] != -1 and term[1] not in padded and str(term[2])[:1] != "*"
    return bool(term[0] == "number" or term[0] == "text")


def _same_kind(a: Term, b: Term, context: Context) -> bool:
    if (a[0] != "column" and b[0] != "column") or a == b:
        return False
    if a[0] == b[0]:
        return context.same_kind(a, b)
    constant, column = (a, b) if b[0] == "column" else (b, a)
    kind = context.affinity(column)
    return kind == "text" if constant[0] == "text" else kind in ("number", "real")


def _preference(column: Term, own: set[int], context: Context) -> tuple[bool, str, str, int]:
    """Columns of the blocks around come first, then by table and column name."""
    return column[1] in own, context.tables.get(column[1], "~"), str(column[2]), column[1]


def drop_referenced_table(block: Select, context: Context) -> Select:
    """A table joined only to look up the row that a foreign key names is dropped.

    Holds for an inner join on a declared foreign key when nothing else of the table is read;
    the foreign key must then not be NULL.
    """
    if len(block.sources) < 2:
        return block
    named = {source[2] for source in block.sources if source[0] == "table"}
    if not any(one[1] in named for name in named for one in context.facts.table(name).references):
        return block
    equated = {
        part[1] if part[0] == "cast" else part for one in block.where if one[0] == "=" for part in one[1:]
    }
    read: dict[int, set[Term]] = {}
    for column in columns_of(block):
        read.setdefault(column[1], set()).add(column)
    for parent in block.sources:
        if parent[0] != "table" or len(parent) != 3:
            continue
        used = read.get(parent[1], set())
        if not any(used <= key for key in context.keys(parent[1])):
            continue
        for child in block.sources:
            if child is parent or child[0] != "table" or len(child) != 3:
                continue
            for names, table, to_names in context.facts.table(child[2]).references:
                if table != parent[2] or ("column", parent[1], to_names[0]) not in equated:
                    continue
                pairs = [
                    (Column(child[1], a), Column(parent[1], b)) for a, b in zip(names, to_names, strict=True)
                ]
                found = [_link(a, b, block.where) for a, b in pairs]
                links = {one for one in found if one is not None}
                key = frozenset(b for _, b in pairs)
                if None in found or key not in context.keys(parent[1]) or not used <= key:
                    continue
                rest = block._replace(
                    sources=tuple(one for one in block.sources if one is not parent),
                    where=tuple(one for one in block.where if one not in links),
                )
                mapping = {b: a for a, b in pairs}
                if columns_of(rest) & set(mapping):
                    if not all(context.same_kind(a, b) for a, b in pairs):
                        continue
                    rest = substitute(rest, mapping)
                present = tuple(Comparison("is not", a, Null()) for a, _ in pairs if not context.not_null(a))
                return rest._replace(where=tuple(dict.fromkeys((*rest.where, *present))))
    return block


def _link(a: Term, b: Term, where: tuple[Term, ...]) -> Term | None:
    """Return the condition that equates two columns; through a cast, where the key says the values agree."""
    for one in where:
        if one[0] != "=":
            continue
        sides = [part[1] if part[0] == "cast" and part[1][0] == "column" else part for part in one[1:]]
        if sides in ([a, b], [b, a]):
            return one
        if one[1] == b and one[2][0] in CONSTANTS and ("=", a, one[2]) in where:
            return one
    return None


def free_foreign_key(block: Select, context: Context) -> Select:
    """A cast around a foreign key compared with the column it refers to is dropped: the key says they agree."""
    where = tuple(_uncast(one, context) for one in block.where)
    return block if where == block.where else block._replace(where=where)


def _uncast(term: Term, context: Context) -> Term:
    if term[0] == "not":
        return Not(_uncast(term[1], context))
    if term[0] == "in" and isinstance(term[2], Select) and len(term[2].items) == 1:
        item = term[2].items[0]
        if (
            item[0] == "cast"
            and item[1][0] == "column"
            and term[1][0] == "column"
            and refers(item[1], term[1], context)
        ):
            return In(term[1], term[2]._replace(items=(item[1],)))
    if term[0] != "=":
        return term
    for cast, other in ((term[1], term[2]), (term[2], term[1])):
        if (
            cast[0] == "cast"
            and cast[1][0] == "column"
            and other[0] == "column"
            and refers(cast[1], other, context)
        ):
            return Comparison("=", *sorted((cast[1], other), key=repr))
    return term


def refers(child: Term, parent: Term, context: Context) -> bool:
    """Return whether one column is a foreign key to another."""
    return any(
        table == context.tables.get(parent[1]) and names == (child[2],) and to_names == (parent[2],)
        for names, table, to_names in context.table_of(child).references
    )
