"""Rules on joins: outer ones that are inner or needless, columns that are equal, tables that a key makes needless."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from ..context import Context, numbers_in
from ..leaves import CONSTANTS, FALSE, NULL, Column, Label, Number, Text
from ..operators import Cast, Comparison, Exists, In, Not, equates_columns
from ..terms import Outer, Select, Table, Term
from ..walks import columns_of, fold, sources_of, substitute
from ._nulls import rejects_null, strict_operands
from ._shared import any_row, both_ways, equalities, equality, is_equality, table_readings, without
from .blocks import blind_to_repeats
from .closure import Closure

_T = TypeVar("_T")


def outer_to_inner(block: Select, context: Context) -> Select:
    """LEFT JOIN is JOIN. Holds where a condition above it is not true of any row that the join pads with NULLs."""
    for outer in block.outers:
        padded = numbers_in(outer.sources)

        def is_padded(term: Term, padded: set[Label] = padded) -> bool:
            return isinstance(term, Column) and term.source in padded

        if any(rejects_null(condition, is_padded) for condition in block.where):
            context.padded -= padded
            return block._replace(
                sources=(*block.sources, *outer.sources),
                outers=(*without(block.outers, outer), *outer.outers),
                where=(*block.where, *outer.where),
            )
    return block


def outer_to_anti(block: Select, context: Context) -> Select:
    """`t LEFT JOIN s ON c WHERE s.x IS NULL` is t WHERE NOT EXISTS (SELECT 1 FROM s WHERE c).

    Holds when x cannot be NULL in a row that c lets through, and nothing else of s is read.
    """
    for outer in block.outers:
        own = numbers_in(outer.sources)
        for condition in block.where:
            column = _asked_to_be_null(condition)
            if column is None or column.source not in own or not _is_present(column, outer, context):
                continue
            rest = block._replace(outers=without(block.outers, outer), where=without(block.where, condition))
            if sources_of(rest).isdisjoint(numbers_in(outer)):
                return rest._replace(where=(*rest.where, Not(Exists(_joined_rows(outer)))))
    return block


def _asked_to_be_null(condition: Term) -> Column | None:
    """Return the column of `x IS NULL`; `None` for other conditions."""
    if not isinstance(condition, Comparison) or condition.head != "is" or condition.right != NULL:
        return None
    return condition.left if isinstance(condition.left, Column) else None


def _is_present(column: Column, outer: Outer, context: Context) -> bool:
    """Return whether a column is not NULL in any row that an outer join finds."""
    declared = column.name in context.table_of(column).not_null
    return declared or any(column in strict_operands(condition) for condition in outer.where)


def _joined_rows(outer: Outer) -> Select:
    """Return the block that has a row for each row that an outer join finds."""
    return any_row(outer.sources, outer.where, outer.outers)


def drop_unused_outer(block: Select, context: Context) -> Select:
    """A LEFT JOIN of which nothing is read is dropped.

    Holds when it keeps the number of rows, its condition fixing a key of every table it adds, or repeats cannot be
    seen.
    """
    for outer in block.outers:
        rest = block._replace(outers=without(block.outers, outer))
        if not sources_of(rest).isdisjoint(numbers_in(outer)):
            continue
        if blind_to_repeats(block) or Closure(_joined_rows(outer), (), context).one_row:
            return rest
    return block


class _Merged(NamedTuple):
    """What stands for the columns of classes: columns for columns, constants for columns, and what says so."""

    columns: dict[Column, Term]
    constants: dict[Column, Term]
    conditions: tuple[Term, ...]

    @property
    def replaced(self) -> set[Column]:
        """The columns for which another term stands."""
        return {*self.columns, *self.constants}


def merge_equal_columns(block: Select, context: Context) -> Select:
    """Of columns that the WHERE clause makes equal, one (or the constant) stands for all.

    Holds for columns of one kind of value, where equal values are the same value.
    """
    if not any(map(equates_columns, block.where)):
        return block
    classes = equal_classes(block, context)
    if not classes:
        return block
    own = numbers_in(block.sources)
    # Columns of the blocks around come first, but for aggregates: one of nothing but such columns is not of this block.
    last = sources_of(block.where) - own if block.aggregated else own
    merged = _merge_classes(classes, last, context)
    if merged is None:
        return block._replace(where=(FALSE,))
    class_of = {member: place for place, members in enumerate(classes) for member in members}
    others = tuple(one for one in block.where if not _within_one_class(one, class_of))
    # The order of conditions is no change: another round for it would be wasted.
    same = {*others, *merged.conditions} == set(block.where)
    if same and merged.replaced.isdisjoint(_columns_beside(block, others)):
        return block
    rest = block._replace(where=others)
    changed = _put_merged(rest, merged, context)
    if same and changed is rest:
        return block
    return changed._replace(where=tuple(dict.fromkeys((*changed.where, *merged.conditions))))


def _columns_beside(block: Select, where: tuple[Term, ...]) -> set[Column]:
    """Return the columns that a block reads, with other conditions in place of its own."""
    joined = block.sources, block.outers, where
    return columns_of((joined, block.items, block.group, block.having, block.order, block.extra))


def _within_one_class(condition: Term, class_of: dict[Term, int]) -> bool:
    """Return whether a condition equates two members of one class."""
    if not isinstance(condition, Comparison) or condition.head != "=" or condition.left not in class_of:
        return False
    return class_of[condition.left] == class_of.get(condition.right)


def _merge_classes(classes: list[set[Term]], last: set[Label], context: Context) -> _Merged | None:
    """Choose what stands for each class; `None` where a class holds two constants, which no row fulfils."""
    leading: dict[Column, Term] = {}
    fixed: dict[Column, Term] = {}
    conditions: list[Term] = []
    for members in classes:
        columns = [member for member in members if isinstance(member, Column)]
        # Most classes have one column beside a constant; to rank it would be for nothing.
        if len(columns) > 1:
            columns.sort(key=lambda column: _preference(column, last, context))
        constants = [member for member in members if not isinstance(member, Column)]
        if len(constants) > 1:
            return None
        for constant in constants:
            conditions += [Comparison("=", column, constant) for column in columns]
            fixed.update(dict.fromkeys(columns, constant))
        if not constants:
            first, *others = columns
            conditions += [equality(first, column) for column in others]
            leading.update(dict.fromkeys(others, first))
    return _Merged(leading, fixed, tuple(conditions))


def _preference(column: Column, last: set[Label], context: Context) -> tuple[bool, str, str, Label]:
    """Return what sorts the columns of a class: by what comes last, then by table and name."""
    return column.source in last, context.tables.get(column.source, "~"), str(column.name), column.source


def _put_merged(block: Select, merged: _Merged, context: Context) -> Select:
    """Put what stands for a class in place of its members.

    A constant under ORDER BY or GROUP BY would be read as a position; the rules on keys drop those.
    """
    if merged.columns:
        block = substitute(block, merged.columns)
    conditions = (block.where, block.having, block.outers)
    where, having, outers = _put_constants(conditions, merged.constants, context)
    if where is block.where and having is block.having and outers is block.outers:
        return block
    return block._replace(where=where, having=having, outers=outers)


def _put_constants(term: _T, constants: dict[Column, Term], context: Context) -> _T:
    """Put constants in place of columns that equal them, in comparisons with columns of the same kind.

    A comparison with anything else converts by the column's affinity, which a constant has not.
    """

    def put(comparison: Comparison, context: Context) -> Comparison:
        head, left, right = comparison.head, comparison.left, comparison.right
        if not isinstance(left, Column) or not isinstance(right, Column):
            return comparison
        if left in constants and context.same_kind(left, right):
            return Comparison(head, constants[left], right)
        if right in constants and context.same_kind(right, left):
            return Comparison(head, left, constants[right])
        return comparison

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
    padded = numbers_in(block.outers)
    for condition in equalities(block.where):
        a, b = condition.left, condition.right
        if not (_may_be_merged(a, padded) and _may_be_merged(b, padded) and _same_kind(a, b, context)):
            continue
        joined = [members for members in classes if a in members or b in members]
        if joined:
            classes = [members for members in classes if members not in joined]
        together: set[Term] = {a, b}
        together.update(*joined)
        classes.append(together)
    return classes


def _may_be_merged(term: Term, padded: set[Label]) -> bool:
    """Return whether a term is a constant, or a column that is known and that no outer join fills with NULLs."""
    if isinstance(term, Column):
        return term.source != -1 and term.source not in padded and not str(term.name).startswith("*")
    return isinstance(term, (Number, Text))


def _same_kind(a: Term, b: Term, context: Context) -> bool:
    """Return whether equal values of two terms, of which one is a column, are the same value."""
    if a == b:
        return False
    if isinstance(a, Column) and isinstance(b, Column):
        return context.same_kind(a, b)
    column, constant = (a, b) if isinstance(a, Column) else (b, a)
    if not isinstance(column, Column):
        return False
    kind = context.affinity(column)
    return kind == "text" if isinstance(constant, Text) else kind in ("number", "real")


class _Lookup(NamedTuple):
    """A foreign key between two tables of a block: the names of its columns, and of those that they refer to."""

    child: Table
    names: tuple[str, ...]
    parent: Table
    key_names: tuple[str, ...]

    @property
    def columns(self) -> list[Column]:
        """The columns of the foreign key."""
        return [Column(self.child.label, name) for name in self.names]

    @property
    def key(self) -> list[Column]:
        """The columns that they refer to."""
        return [Column(self.parent.label, name) for name in self.key_names]


def drop_referenced_table(block: Select, context: Context) -> Select:
    """A table joined only to look up the row that a foreign key names is dropped.

    Holds for an inner join on a declared foreign key when nothing else of the table is read;
    the foreign key must then not be NULL.
    """
    lookups = _lookups(block, context)
    if not lookups:
        return block
    read: dict[Label, set[object]] = {}
    for column in columns_of(block):
        read.setdefault(column.source, set()).add(column.name)
    for lookup in lookups:
        key = frozenset(lookup.key_names)
        unread = read.get(lookup.parent.label, key) <= key
        if unread and key in context.facts.table(lookup.parent.name).keys:
            dropped = _drop_parent(block, lookup, context)
            if dropped is not None:
                return dropped
    return block


def _lookups(block: Select, context: Context) -> list[_Lookup]:
    """Return the foreign keys by which tables of a block refer to others of it."""
    tables = table_readings(block.sources)
    return [
        _Lookup(child, names, parent, key_names)
        for child in tables
        for names, table, key_names in context.facts.table(child.name).references
        for parent in tables
        if parent.name == table and parent is not child
    ]


def _drop_parent(block: Select, lookup: _Lookup, context: Context) -> Select | None:
    """Return a block without the table that a foreign key refers to; `None` where it is not joined by that key."""
    columns, key = lookup.columns, lookup.key
    links = [_link(a, b, block.where) for a, b in zip(columns, key, strict=True)]
    if None in links:
        return None
    rest = block._replace(
        sources=without(block.sources, lookup.parent),
        where=tuple(condition for condition in block.where if condition not in links),
    )
    referring = dict(zip(key, columns, strict=True))
    if not columns_of(rest).isdisjoint(referring):
        if not all(map(context.same_kind, columns, key)):
            return None
        rest = substitute(rest, referring)
    present = (Comparison("is not", column, NULL) for column in columns if not context.not_null(column))
    return rest._replace(where=tuple(dict.fromkeys((*rest.where, *present))))


def _link(a: Column, b: Column, where: tuple[Term, ...]) -> Term | None:
    """Return the condition that equates two columns."""
    for condition in equalities(where):
        left, right = condition.left, condition.right
        if {left, right} == {a, b}:
            return condition
        if left == b and isinstance(right, CONSTANTS) and Comparison("=", a, right) in where:
            return condition
    return None


def free_foreign_key(block: Select, context: Context) -> Select:
    """A cast around a foreign key compared with the column it refers to is dropped: the key says they agree.

    Holds for keys that are numbers and casts that keep each number: not to integers, and not to REAL of four bytes.
    """
    where = tuple(_uncast(one, context) for one in block.where)
    return block if where == block.where else block._replace(where=where)


def _uncast(term: Term, context: Context) -> Term:
    if isinstance(term, Not):
        return Not(_uncast(term.operand, context))
    if isinstance(term, In) and isinstance(term.right, Select) and len(term.right.items) == 1:
        column = _key_under_cast(*term.right.items, term.left, context)
        if column is not None:
            return In(term.left, term.right._replace(items=(column,)))
    if is_equality(term):
        for cast, other in both_ways(term):
            column = _key_under_cast(cast, other, context)
            if column is not None:
                return equality(column, other)
    return term


def _key_under_cast(cast: Term, parent: Term, context: Context) -> Column | None:
    """Return the column that a cast is of, where the cast keeps it equal to the column that it refers to."""
    if not isinstance(cast, Cast) or not isinstance(cast.operand, Column):
        return None
    keeps_numbers = cast.type.partition("(")[0] in _WIDE.get(context.facts.dialect, ("double",))
    numbers = context.affinity(parent) in ("number", "real")
    return cast.operand if keeps_numbers and numbers and refers(cast.operand, parent, context) else None


#: Types that hold every number of a key.
_WIDE = {"sqlite": ("real", "numeric"), "mysql": ("float", "double", "decimal")}


def refers(child: Column, parent: Term, context: Context) -> bool:
    """Return whether one column is a foreign key to another one; no other term is."""
    if not isinstance(parent, Column):
        return False
    wanted = ((child.name,), context.tables.get(parent.source), (parent.name,))
    return wanted in context.table_of(child).references
