"""The language queries are rewritten in: tuples with names.

A *term* is a tuple whose first element, its head, says which operator it is; the other elements are terms, texts,
numbers, or tuples of terms. Each operator is a class here, with a name for every element:

    >>> column = Column(1, "age")
    >>> column.source, column.name
    (1, 'age')

Terms equal, hash and print as the plain tuples they are, in C:

    >>> column == ("column", 1, "age")
    True
    >>> print(Comparison(">", column, Number("3")))
    ('>', ('column', 1, 'age'), ('number', '3'))

`isinstance(term, Column)` tells what a term is, to mypy too. A tuple of no class of its own holds terms side by side.

A *query* is a `Select`, a `SetOperation` or `Values`. A *source* of a FROM clause is a `Table`, a `Derived`, a
`FunctionSource`, `Itself` or a `Full`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

COMPARISONS = ("=", "<>", "<", "<=", ">", ">=", "is", "is not")


class _Places(NamedTuple):
    """Gives its attributes to the classes below: those of a named tuple are the fastest."""

    head: str
    first: object
    second: object
    third: object
    fourth: object
    fifth: object


def _part(place: int) -> Any:
    """Return the attribute that is the element at a place."""
    return vars(_Places)[_Places._fields[place]]


def _rest(place: int) -> Any:
    """Return the attribute that is all elements from a place on."""
    return property(itemgetter(slice(place, None)))


class Operator(tuple[object, ...]):
    """A term that is no query: its head, then its parts."""

    __slots__ = ()

    head: str = _part(0)


class SourceName(tuple[object, ...]):
    """What a source is called in a canonical query: its table, how deep its block is, and which of its like it is."""

    __slots__ = ()

    base: str = _part(0)
    depth: int = _part(1)
    place: int = _part(2)

    def __new__(cls, base: str, depth: int, place: int) -> SourceName:
        return tuple.__new__(cls, (base, depth, place))


#: What tells a source: its number, or its name once sources are named.
Label = int | SourceName


# Leaves: operators without terms inside ---------------------------------------------------------------


class Column(Operator):
    """A column of a source: its name, or its place in a derived table, or, once sources are named, an `Of`.

    The source of a column that no source has is -1.
    """

    __slots__ = ()

    source: Label = _part(1)
    name: str | int | Of = _part(2)
    options: tuple[Operator, ...] = _rest(3)

    def __new__(cls, source: Label, name: str | int | Of, *options: Operator) -> Column:
        return tuple.__new__(cls, ("column", source, name, *options))


class Number(Operator):
    """A numeral."""

    __slots__ = ()

    numeral: str = _part(1)
    options: tuple[Operator, ...] = _rest(2)

    def __new__(cls, numeral: str) -> Number:
        return tuple.__new__(cls, ("number", numeral))


class Text(Operator):
    """A text between quotation marks."""

    __slots__ = ()

    text: str = _part(1)

    def __new__(cls, text: str) -> Text:
        return tuple.__new__(cls, ("text", text))


class Null(Operator):
    """NULL."""

    __slots__ = ()

    def __new__(cls) -> Null:
        return tuple.__new__(cls, ("null",))


class Boolean(Operator):
    """`true` or `false`."""

    __slots__ = ()

    value: str = _part(1)

    def __new__(cls, value: str) -> Boolean:
        return tuple.__new__(cls, ("bool", value))


class Star(Operator):
    """`*`, of COUNT(*)."""

    __slots__ = ()

    def __new__(cls) -> Star:
        return tuple.__new__(cls, ("star",))


class Word(Operator):
    """A word of the text that has no operator of its own."""

    __slots__ = ()

    word: str = _part(1)

    def __new__(cls, word: str) -> Word:
        return tuple.__new__(cls, ("word", word))


class Position(Operator):
    """A column of the result, by its place from 0, as a sort key."""

    __slots__ = ()

    place: int = _part(1)

    def __new__(cls, place: int) -> Position:
        return tuple.__new__(cls, ("position", place))


# Conditions -------------------------------------------------------------------------------------------


class Connective(Operator):
    """`and` or `or` of any number of conditions."""

    __slots__ = ()

    operands: tuple[Term, ...] = _rest(1)

    def __new__(cls, head: str, *operands: Term) -> Connective:
        return tuple.__new__(cls, (head, *operands))


class Not(Operator):
    """NOT operand."""

    __slots__ = ()

    operand: Term = _part(1)

    def __new__(cls, operand: Term) -> Not:
        return tuple.__new__(cls, ("not", operand))


class Comparison(Operator):
    """One of `COMPARISONS` between two terms."""

    __slots__ = ()

    left: Term = _part(1)
    right: Term = _part(2)

    def __new__(cls, head: str, left: Term, right: Term) -> Comparison:
        return tuple.__new__(cls, (head, left, right))

    def of(self, head: str, left: Term, right: Term) -> Comparison:
        """Return a comparison of these, which is this very object where nothing is another."""
        same = left is self.left and right is self.right and head == self.head
        return self if same else Comparison(head, left, right)


class Like(Operator):
    """`like`, `ilike` or `glob`; `escape` is empty without ESCAPE."""

    __slots__ = ()

    left: Term = _part(1)
    pattern: Term = _part(2)
    escape: tuple[Term, ...] = _rest(3)

    def __new__(cls, head: str, left: Term, pattern: Term, *escape: Term) -> Like:
        return tuple.__new__(cls, (head, left, pattern, *escape))


class In(Operator):
    """`left IN right`, where right is a `List`, a query, or a term of rows."""

    __slots__ = ()

    left: Term = _part(1)
    right: Term = _part(2)

    def __new__(cls, left: Term, right: Term) -> In:
        return tuple.__new__(cls, ("in", left, right))


class Exists(Operator):
    """EXISTS (query)."""

    __slots__ = ()

    query: Query = _part(1)

    def __new__(cls, query: Query) -> Exists:
        return tuple.__new__(cls, ("exists", query))


# Values -----------------------------------------------------------------------------------------------


class Arithmetic(Operator):
    """One of `+ - * / % || & |` between two terms."""

    __slots__ = ()

    left: Term = _part(1)
    right: Term = _part(2)

    def __new__(cls, head: str, left: Term, right: Term) -> Arithmetic:
        return tuple.__new__(cls, (head, left, right))


def binary(operator: str, left: Term, right: Term) -> Operator:
    """Return an operator of SQL between two terms."""
    if operator in COMPARISONS:
        return Comparison(operator, left, right)
    return (Like if operator == "glob" else Arithmetic)(operator, left, right)


class Negative(Operator):
    """-operand."""

    __slots__ = ()

    operand: Term = _part(1)

    def __new__(cls, operand: Term) -> Negative:
        return tuple.__new__(cls, ("neg", operand))


class List(Operator):
    """What is between the brackets of IN."""

    __slots__ = ()

    items: tuple[Term, ...] = _rest(1)

    def __new__(cls, *items: Term) -> List:
        return tuple.__new__(cls, ("list", *items))


class Row(Operator):
    """A row value, `(a, b)`."""

    __slots__ = ()

    items: tuple[Term, ...] = _rest(1)

    def __new__(cls, *items: Term) -> Row:
        return tuple.__new__(cls, ("tuple", *items))


class Scalar(Operator):
    """A query as a value."""

    __slots__ = ()

    query: Query = _part(1)

    def __new__(cls, query: Query) -> Scalar:
        return tuple.__new__(cls, ("scalar", query))


class Call(Operator):
    """A function of one row."""

    __slots__ = ()

    name: str = _part(1)
    arguments: tuple[Term, ...] = _rest(2)

    def __new__(cls, name: str, *arguments: Term) -> Call:
        return tuple.__new__(cls, ("call", name, *arguments))


class Aggregate(Operator):
    """A function of the rows of a group."""

    __slots__ = ()

    name: str = _part(1)
    distinct: bool = _part(2)
    arguments: tuple[Term, ...] = _rest(3)

    def __new__(cls, name: str, distinct: bool, *arguments: Term) -> Aggregate:
        return tuple.__new__(cls, ("aggregate", name, distinct, *arguments))


class Windowed(Operator):
    """The function of a window that is named as an aggregate is, but folds no rows."""

    __slots__ = ()

    name: str = _part(1)
    distinct: bool = _part(2)
    arguments: tuple[Term, ...] = _rest(3)

    def __new__(cls, name: str, distinct: bool, *arguments: Term) -> Windowed:
        return tuple.__new__(cls, ("windowed", name, distinct, *arguments))


class Window(Operator):
    """`function OVER (PARTITION BY ... ORDER BY ... frame)`."""

    __slots__ = ()

    function: Term = _part(1)
    partition: tuple[Term, ...] = _part(2)
    order: tuple[SortKey, ...] = _part(3)
    frame: str = _part(4)

    def __new__(
        cls, function: Term, partition: tuple[Term, ...], order: tuple[SortKey, ...], frame: str
    ) -> Window:
        return tuple.__new__(cls, ("window", function, partition, order, frame))


class Case(Operator):
    """CASE WHEN ... THEN ... ELSE otherwise END."""

    __slots__ = ()

    otherwise: Term = property(itemgetter(-1))  # type: ignore[assignment]

    def __new__(cls, branches: Iterable[tuple[Term, Term]], otherwise: Term) -> Case:
        flat = [part for branch in branches for part in branch]
        return tuple.__new__(cls, ("case", *flat, otherwise))

    @property
    def branches(self) -> tuple[tuple[Term, Term], ...]:
        """Each condition with its value."""
        return tuple(zip(self[1:-1:2], self[2:-1:2], strict=True))  # type: ignore[arg-type]


class Cast(Operator):
    """CAST(operand AS type)."""

    __slots__ = ()

    operand: Term = _part(1)
    type: str = _part(2)

    def __new__(cls, operand: Term, type: str) -> Cast:
        return tuple.__new__(cls, ("cast", operand, type))


class Collate(Operator):
    """`operand COLLATE collation`; see `_values.py`."""

    __slots__ = ()

    operand: Term = _part(1)
    collation: str = _part(2)
    options: tuple[str, ...] = _rest(3)

    def __new__(cls, operand: Term, collation: str, *options: str) -> Collate:
        return tuple.__new__(cls, ("collate", operand, collation, *options))


class ValueOf(Operator):
    """`+operand`: the value of a term, without its affinity; see `_values.py`."""

    __slots__ = ()

    operand: Term = _part(1)

    def __new__(cls, operand: Term) -> ValueOf:
        return tuple.__new__(cls, ("value", operand))


class SortKey(Operator):
    """A key of ORDER BY: `asc` or `desc`; `nulls` is empty where NULLs stand where the direction puts them."""

    __slots__ = ()

    term: Term = _part(1)
    nulls: tuple[str, ...] = _rest(2)

    def __new__(cls, head: str, term: Term, *nulls: str) -> SortKey:
        return tuple.__new__(cls, (head, term, *nulls))


class Other(Operator):
    """What has no class of its own: its name, and its parts."""

    __slots__ = ()

    parts: tuple[object, ...] = _rest(1)

    def __new__(cls, head: str, *parts: object) -> Other:
        return tuple.__new__(cls, (head, *parts))


class Same(Operator):
    """Columns of one value, in place of each of them; only while a query is named."""

    __slots__ = ()

    columns: tuple[Column, ...] = _rest(1)

    def __new__(cls, *columns: Term) -> Same:
        return tuple.__new__(cls, ("same", *columns))


class Equal(Operator):
    """The condition that columns have one value; only while a query is named."""

    __slots__ = ()

    columns: tuple[Column, ...] = _rest(1)

    def __new__(cls, *columns: Term) -> Equal:
        return tuple.__new__(cls, ("equal", *columns))


class Of(Operator):
    """What the column of a derived table is, as its name, once a query is named."""

    __slots__ = ()

    item: Term = _part(1)

    def __new__(cls, item: Term) -> Of:
        return tuple.__new__(cls, ("of", item))


# Sources ----------------------------------------------------------------------------------------------


class Table(Operator):
    """A table of the database."""

    __slots__ = ()

    label: Label = _part(1)
    name: str = _part(2)
    options: tuple[Operator, ...] = _rest(3)

    def __new__(cls, label: Label, name: str, *options: Operator) -> Table:
        return tuple.__new__(cls, ("table", label, name, *options))


class Derived(Operator):
    """A query in a FROM clause."""

    __slots__ = ()

    label: Label = _part(1)
    query: Query | Recursive = _part(2)

    def __new__(cls, label: Label, query: Query | Recursive) -> Derived:
        return tuple.__new__(cls, ("derived", label, query))


class Recursive(Operator):
    """The query of a recursive CTE, and the number that `Itself` calls it by inside."""

    __slots__ = ()

    label: Label = _part(1)
    query: Query = _part(2)

    def __new__(cls, label: Label, query: Query) -> Recursive:
        return tuple.__new__(cls, ("recursive", label, query))


class Itself(Operator):
    """The recursive CTE that is being defined; `recursive` is the number of its `Recursive`."""

    __slots__ = ()

    label: Label = _part(1)
    recursive: Label = _part(2)

    def __new__(cls, label: Label, recursive: Label) -> Itself:
        return tuple.__new__(cls, ("self", label, recursive))


class FunctionSource(Operator):
    """A function that returns rows."""

    __slots__ = ()

    label: Label = _part(1)
    term: Term = _part(2)

    def __new__(cls, label: Label, term: Term) -> FunctionSource:
        return tuple.__new__(cls, ("function", label, term))


class Full(Operator):
    """A FULL JOIN."""

    __slots__ = ()

    label: Label = _part(1)
    left: Group = _part(2)
    right: Group = _part(3)
    where: tuple[Term, ...] = _part(4)

    def __new__(cls, label: Label, left: Group, right: Group, where: tuple[Term, ...]) -> Full:
        return tuple.__new__(cls, ("full", label, left, right, where))


# Queries ----------------------------------------------------------------------------------------------


class SetOperation(Operator):
    """UNION, INTERSECT or EXCEPT of several queries; `operator` is in lower case, with `all`."""

    __slots__ = ()

    operator: str = _part(1)
    branches: tuple[Query, ...] = _part(2)
    order: tuple[SortKey, ...] = _part(3)
    limit: Term | None = _part(4)
    offset: Term | None = _part(5)
    extra: tuple[Term, ...] = _rest(6)

    def __new__(
        cls,
        operator: str,
        branches: tuple[Query, ...],
        order: tuple[SortKey, ...],
        limit: Term | None,
        offset: Term | None,
        *extra: Term,
    ) -> SetOperation:
        return tuple.__new__(cls, ("setop", operator, branches, order, limit, offset, *extra))

    def with_branches(self, branches: Iterable[Query]) -> SetOperation:
        """Return the set operation of other queries."""
        head, operator, _, *rest = self
        return tuple.__new__(SetOperation, (head, operator, tuple(branches), *rest))


class Values(Operator):
    """VALUES (...), (...)."""

    __slots__ = ()

    rows: tuple[tuple[Term, ...], ...] = _part(1)

    def __new__(cls, rows: tuple[tuple[Term, ...], ...]) -> Values:
        return tuple.__new__(cls, ("values", rows))


class Group(NamedTuple):
    """Inner-joined sources, the outer joins onto them, and the conditions that hold for them."""

    head: str
    sources: tuple[Source, ...]
    outers: tuple[Outer, ...]
    where: tuple[Term, ...]


class Outer(NamedTuple):
    """A LEFT JOIN of `sources` (with their own outer joins) under the conditions `where`."""

    head: str
    sources: tuple[Source, ...]
    outers: tuple[Outer, ...]
    where: tuple[Term, ...]


class Select(NamedTuple):
    """One SELECT block. `where` and `having` are conjunctions; `group` is `None` without grouping."""

    head: str
    distinct: bool | str  # "any": repeats may be kept or dropped
    items: tuple[Term, ...]
    sources: tuple[Source, ...]
    outers: tuple[Outer, ...]
    where: tuple[Term, ...]
    group: tuple[Term, ...] | None
    having: tuple[Term, ...]
    order: tuple[SortKey, ...]
    limit: Term | None
    offset: Term | None
    extra: tuple[Term, ...] = ()  # what is rare: QUALIFY, DISTINCT ON, sampling, ...

    @property
    def plain(self) -> bool:
        """True when the block only joins, filters and computes row by row."""
        return not (
            self.distinct
            or self.group is not None
            or self.having
            or self.order
            or self.limit
            or self.offset
            or self.extra
        ) and not any(computes_over_rows(item) for item in self.items)

    @property
    def aggregated(self) -> bool:
        """True when rows are folded into groups."""
        return self.group is not None or contains((self.items, self.having), Aggregate)


Query = Select | SetOperation | Values
Source = Table | Derived | FunctionSource | Itself | Full
Term = Operator | Select

NULL = Null()
TRUE = Boolean("true")
FALSE = Boolean("false")
ONE = Number("1")
COUNT_ALL = Aggregate("count", False, Star())

# Walks ------------------------------------------------------------------------------------------------

QUERIES = (Select, SetOperation, Values)
SOURCES = (Table, Derived, FunctionSource, Itself, Full)
CONSTANTS = (Number, Text, Boolean, Null)
#: Operators without terms inside; most of a query is these.
LEAVES = frozenset({Column, Number, Text, Null, Boolean, Star, Word, Position, Table})
#: What a term holds beside terms.
ATOMS = frozenset({str, int, bool, type(None), SourceName})
#: What holds terms and is none: terms side by side, and the sides of joins.
_HOLDERS = frozenset({tuple, Outer, Group})
CLOSED = LEAVES | ATOMS

T = TypeVar("T")
C = TypeVar("C")


def remake(like: T, parts: Iterable[Any]) -> T:
    """Return a term of the same class with other parts, the head among them."""
    return tuple.__new__(type(like), parts)  # type: ignore[type-var]


def fold(term: T, changes: Mapping[type, Callable[[Any, C], Any]], context: C) -> T:
    """Rebuild a term from its inner operators upward; give those of a class in `changes` to the function there.

    Leaves stay as they are.
    """
    return term if term.__class__ in CLOSED or not term else _fold(term, changes, context)


def _fold(term: Any, changes: Mapping[type, Callable[[Any, C], Any]], context: C) -> Any:
    changed: list[Any] | None = None
    for place, part in enumerate(term):
        if part.__class__ not in CLOSED and part:
            new = _fold(part, changes, context)
            if new is not part:
                if changed is None:
                    changed = list(term)
                changed[place] = new
    if changed is not None:
        term = remake(term, changed)
    change = changes.get(term.__class__)
    if change is None:
        return term
    return change(term, context)


def substitute(term: T, replacement: Mapping[Any, Term]) -> T:
    """Replace columns by other terms, in subqueries too."""
    changed: tuple[T] = _substitute((term,), replacement)
    return changed[0]


def _substitute(term: Any, replacement: Mapping[Any, Term]) -> Any:
    changed: list[Any] | None = None
    for place, part in enumerate(term):
        if part.__class__ is Column:
            new = replacement.get(part, part)
        elif part.__class__ not in CLOSED and part:
            new = _substitute(part, replacement)
        else:
            continue
        if new is not part:
            if changed is None:
                changed = list(term)
            changed[place] = new
    return term if changed is None else remake(term, changed)


def walk(term: object) -> list[Term]:
    """Return every operator and query inside a term, itself and subqueries included."""
    found: list[Term] = []
    within: list[Any] = [(term,)]
    for top in within:
        for part in top:
            kind = part.__class__
            if kind in ATOMS:
                continue
            if kind not in LEAVES:
                within.append(part)
            if kind not in _HOLDERS:
                found.append(part)
    return found


def larger_than(term: Term, size: int) -> bool:
    """Return whether more than `size` tuples are inside a term, without looking at many more."""
    seen = 0
    stack: list[Any] = [term]
    while stack and seen <= size:
        top = stack.pop()
        seen += 1
        if top.__class__ not in LEAVES:
            stack += [part for part in top if part.__class__ not in ATOMS and part]
    return seen > size


def walk_here(term: object) -> Iterator[Operator]:
    """Yield every operator inside a term without entering subqueries."""
    stack: list[Any] = [term]
    while stack:
        top = stack.pop()
        kind = top.__class__
        if kind in _HOLDERS:
            stack.extend(top)
        elif kind not in ATOMS and kind not in QUERIES:
            yield top
            if kind not in LEAVES:
                stack.extend(top)


def contains(term: object, *kinds: type) -> bool:
    """Return whether an operator of one of these classes occurs in a term, subqueries left out."""
    within: list[Any] = [(term,)]
    for top in within:
        for part in top:
            kind = part.__class__
            if kind in kinds:
                return True
            if kind not in CLOSED and kind not in QUERIES:
                within.append(part)
    return False


def computes_over_rows(term: object) -> bool:
    """Return whether a term depends on more than one row of its block."""
    return contains(term, Aggregate, Window)


def columns_of(term: object) -> set[Column]:
    """Return the columns inside a term, subqueries included."""
    found = set()
    within: list[Any] = [(term,)]
    for top in within:
        for part in top:
            if part.__class__ is Column:
                found.add(part)
            elif part.__class__ not in CLOSED:
                within.append(part)
    return found


def sources_of(term: object) -> set[Label]:
    """Return the labels of the sources a term refers to, subqueries included."""
    return {column.source for column in columns_of(term)}


def conjuncts(term: Term | None) -> tuple[Term, ...]:
    """Return the terms of a conjunction; none for `None` and for true."""
    if term is None or term == TRUE:
        return ()
    return term.operands if isinstance(term, Connective) and term.head == "and" else (term,)


def conjunction(terms: tuple[Term, ...]) -> Term:
    """Return the conjunction of terms."""
    if not terms:
        return TRUE
    return terms[0] if len(terms) == 1 else Connective("and", *terms)
