"""The operators of conditions and values; see `terms.py`."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import TYPE_CHECKING

from .leaves import Column, Operator, Star, element, elements, new

if TYPE_CHECKING:
    from .terms import Query, Term

COMPARISONS = ("=", "<>", "<", "<=", ">", ">=", "is", "is not")


# Conditions -------------------------------------------------------------------------------------------


class Connective(Operator):
    """`and` or `or` of any number of conditions."""

    __slots__ = ()

    operands: tuple[Term, ...] = elements(1)

    def __new__(cls, head: str, *operands: Term) -> Connective:
        return new(cls, (head, *operands))


class Not(Operator):
    """NOT operand."""

    __slots__ = ()

    operand: Term = element(1)

    def __new__(cls, operand: Term) -> Not:
        return new(cls, ("not", operand))


class Comparison(Operator):
    """One of `COMPARISONS` between two terms."""

    __slots__ = ()

    left: Term = element(1)
    right: Term = element(2)

    def __new__(cls, head: str, left: Term, right: Term) -> Comparison:
        return new(cls, (head, left, right))

    def of(self, head: str, left: Term, right: Term) -> Comparison:
        """Return a comparison of these, which is this very object where nothing is another."""
        same = left is self.left and right is self.right and head == self.head
        return self if same else Comparison(head, left, right)


def equates_columns(term: Term) -> bool:
    """Return whether a condition is that two columns are equal."""
    return (
        isinstance(term, Comparison)
        and term.head == "="
        and isinstance(term.left, Column)
        and isinstance(term.right, Column)
    )


class Like(Operator):
    """`like`, `ilike` or `glob`; `escape` is empty without ESCAPE."""

    __slots__ = ()

    left: Term = element(1)
    pattern: Term = element(2)
    escape: tuple[Term, ...] = elements(3)

    def __new__(cls, head: str, left: Term, pattern: Term, *escape: Term) -> Like:
        return new(cls, (head, left, pattern, *escape))


class In(Operator):
    """`left IN right`, where right is a `List`, a query, or a term of rows."""

    __slots__ = ()

    left: Term = element(1)
    right: Term = element(2)

    def __new__(cls, left: Term, right: Term) -> In:
        return new(cls, ("in", left, right))


class Exists(Operator):
    """EXISTS (query)."""

    __slots__ = ()

    query: Query = element(1)

    def __new__(cls, query: Query) -> Exists:
        return new(cls, ("exists", query))


# Values -----------------------------------------------------------------------------------------------


class Arithmetic(Operator):
    """One of `+ - * / % || & |` between two terms."""

    __slots__ = ()

    left: Term = element(1)
    right: Term = element(2)

    def __new__(cls, head: str, left: Term, right: Term) -> Arithmetic:
        return new(cls, (head, left, right))


def binary(operator: str, left: Term, right: Term) -> Operator:
    """Return an operator of SQL between two terms."""
    if operator in COMPARISONS:
        return Comparison(operator, left, right)
    return (Like if operator == "glob" else Arithmetic)(operator, left, right)


class Negative(Operator):
    """-operand."""

    __slots__ = ()

    operand: Term = element(1)

    def __new__(cls, operand: Term) -> Negative:
        return new(cls, ("neg", operand))


class List(Operator):
    """What is between the brackets of IN."""

    __slots__ = ()

    items: tuple[Term, ...] = elements(1)

    def __new__(cls, *items: Term) -> List:
        return new(cls, ("list", *items))


class Row(Operator):
    """A row value, `(a, b)`."""

    __slots__ = ()

    items: tuple[Term, ...] = elements(1)

    def __new__(cls, *items: Term) -> Row:
        return new(cls, ("tuple", *items))


class Scalar(Operator):
    """A query as a value."""

    __slots__ = ()

    query: Query = element(1)

    def __new__(cls, query: Query) -> Scalar:
        return new(cls, ("scalar", query))


class Call(Operator):
    """A function of one row."""

    __slots__ = ()

    name: str = element(1)
    arguments: tuple[Term, ...] = elements(2)

    def __new__(cls, name: str, *arguments: Term) -> Call:
        return new(cls, ("call", name, *arguments))


class Aggregate(Operator):
    """A function of the rows of a group."""

    __slots__ = ()

    name: str = element(1)
    distinct: bool = element(2)
    arguments: tuple[Term, ...] = elements(3)

    def __new__(cls, name: str, distinct: bool, *arguments: Term) -> Aggregate:
        return new(cls, ("aggregate", name, distinct, *arguments))


class Windowed(Operator):
    """The function of a window that is named as an aggregate is, but folds no rows."""

    __slots__ = ()

    name: str = element(1)
    distinct: bool = element(2)
    arguments: tuple[Term, ...] = elements(3)

    def __new__(cls, name: str, distinct: bool, *arguments: Term) -> Windowed:
        return new(cls, ("windowed", name, distinct, *arguments))


class Window(Operator):
    """`function OVER (PARTITION BY ... ORDER BY ... frame)`."""

    __slots__ = ()

    function: Term = element(1)
    partition: tuple[Term, ...] = element(2)
    order: tuple[SortKey, ...] = element(3)
    frame: str = element(4)

    def __new__(
        cls, function: Term, partition: tuple[Term, ...], order: tuple[SortKey, ...], frame: str
    ) -> Window:
        return new(cls, ("window", function, partition, order, frame))


class Case(Operator):
    """CASE WHEN ... THEN ... ELSE otherwise END."""

    __slots__ = ()

    otherwise: Term = property(itemgetter(-1))  # type: ignore[assignment]

    def __new__(cls, branches: Iterable[tuple[Term, Term]], otherwise: Term) -> Case:
        flat = [part for branch in branches for part in branch]
        return new(cls, ("case", *flat, otherwise))

    @property
    def branches(self) -> tuple[tuple[Term, Term], ...]:
        """Each condition with its value."""
        return tuple(zip(self[1:-1:2], self[2:-1:2], strict=True))  # type: ignore[arg-type]


class Cast(Operator):
    """CAST(operand AS type)."""

    __slots__ = ()

    operand: Term = element(1)
    type: str = element(2)

    def __new__(cls, operand: Term, type: str) -> Cast:
        return new(cls, ("cast", operand, type))


class Collate(Operator):
    """`operand COLLATE collation`; see `_values.py`."""

    __slots__ = ()

    operand: Term = element(1)
    collation: str = element(2)
    options: tuple[str, ...] = elements(3)

    def __new__(cls, operand: Term, collation: str, *options: str) -> Collate:
        return new(cls, ("collate", operand, collation, *options))


class ValueOf(Operator):
    """`+operand`: the value of a term, without its affinity; see `_values.py`."""

    __slots__ = ()

    operand: Term = element(1)

    def __new__(cls, operand: Term) -> ValueOf:
        return new(cls, ("value", operand))


class SortKey(Operator):
    """A key of ORDER BY: `asc` or `desc`; `nulls` is empty where NULLs stand where the direction puts them."""

    __slots__ = ()

    term: Term = element(1)
    nulls: tuple[str, ...] = elements(2)

    def __new__(cls, head: str, term: Term, *nulls: str) -> SortKey:
        return new(cls, (head, term, *nulls))


class Other(Operator):
    """What has no class of its own: its name, and its parts."""

    __slots__ = ()

    parts: tuple[object, ...] = elements(1)

    def __new__(cls, head: str, *parts: object) -> Other:
        return new(cls, (head, *parts))


class Same(Operator):
    """Columns of one value, in place of each of them; only while a query is named."""

    __slots__ = ()

    columns: tuple[Column, ...] = elements(1)

    def __new__(cls, *columns: Term) -> Same:
        return new(cls, ("same", *columns))


class Equal(Operator):
    """The condition that columns have one value; only while a query is named."""

    __slots__ = ()

    columns: tuple[Column, ...] = elements(1)

    def __new__(cls, *columns: Term) -> Equal:
        return new(cls, ("equal", *columns))


class Of(Operator):
    """What the column of a derived table is, as its name, once a query is named."""

    __slots__ = ()

    item: Term = element(1)

    def __new__(cls, item: Term) -> Of:
        return new(cls, ("of", item))


COUNT_ALL = Aggregate("count", False, Star())
