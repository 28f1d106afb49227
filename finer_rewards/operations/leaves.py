"""What a term is, and its leaves: operators without terms inside; see `terms.py`."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .operators import Of


#: Makes a term of its class and elements; looked up once, as to look up `tuple.__new__` takes as long as to call it.
new = tuple.__new__


class _Places(NamedTuple):
    """Gives its attributes to the classes below: those of a named tuple are the fastest."""

    head: str
    first: object
    second: object
    third: object
    fourth: object
    fifth: object


def element(place: int) -> Any:
    """Return the attribute that is the element at a place."""
    return vars(_Places)[_Places._fields[place]]


def elements(place: int) -> Any:
    """Return the attribute that is all elements from a place on."""
    return property(itemgetter(slice(place, None)))


class Operator(tuple[object, ...]):
    """A term that is no query: its head, then its parts."""

    __slots__ = ()

    head: str = element(0)


class SourceName(tuple[object, ...]):
    """What a source is called in a canonical query: its table, how deep its block is, and which of its like it is."""

    __slots__ = ()

    base: str = element(0)
    depth: int = element(1)
    place: int = element(2)

    def __new__(cls, base: str, depth: int, place: int) -> SourceName:
        return new(cls, (base, depth, place))


#: What tells a source: its number, or its name once sources are named.
Label = int | SourceName


class Column(Operator):
    """A column of a source: its name, or its place in a derived table, or, once sources are named, an `Of`.

    The source of a column that no source has is -1.
    """

    __slots__ = ()

    source: Label = element(1)
    name: str | int | Of = element(2)
    options: tuple[Operator, ...] = elements(3)

    def __new__(cls, source: Label, name: str | int | Of, *options: Operator) -> Column:
        parts = ("column", source, name)
        # To unpack them would take longer than all the rest.
        return new(cls, parts + options)

    def of_source(self, source: Label) -> Column:
        """Return the column of that name of another source."""
        parts = ("column", source)
        return new(Column, parts + self[2:])


class Number(Operator):
    """A numeral."""

    __slots__ = ()

    numeral: str = element(1)
    options: tuple[Operator, ...] = elements(2)

    def __new__(cls, numeral: str) -> Number:
        return new(cls, ("number", numeral))


class Text(Operator):
    """A text between quotation marks."""

    __slots__ = ()

    text: str = element(1)

    def __new__(cls, text: str) -> Text:
        return new(cls, ("text", text))


class Null(Operator):
    """NULL."""

    __slots__ = ()

    def __new__(cls) -> Null:
        return new(cls, ("null",))


class Boolean(Operator):
    """`true` or `false`."""

    __slots__ = ()

    value: str = element(1)

    def __new__(cls, value: str) -> Boolean:
        return new(cls, ("bool", value))


class Star(Operator):
    """`*`, of COUNT(*)."""

    __slots__ = ()

    def __new__(cls) -> Star:
        return new(cls, ("star",))


class Word(Operator):
    """A word of the text that has no operator of its own."""

    __slots__ = ()

    word: str = element(1)

    def __new__(cls, word: str) -> Word:
        return new(cls, ("word", word))


class Position(Operator):
    """A column of the result, by its place from 0, as a sort key."""

    __slots__ = ()

    place: int = element(1)

    def __new__(cls, place: int) -> Position:
        return new(cls, ("position", place))


CONSTANTS = (Number, Text, Boolean, Null)
NULL = Null()
TRUE = Boolean("true")
FALSE = Boolean("false")
ONE = Number("1")
