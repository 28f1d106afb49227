"""What a rewrite may ask about the query it stands in: types, keys, NULLs and collations of its columns.

`facts` knows the schema by table; here the same is known by source, so also behind aliases and derived tables.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from .facts import CLASS_OF, Facts, TableFacts
from .leaves import Boolean, Column, Label, Number, Text
from .operators import (
    Aggregate,
    Arithmetic,
    Call,
    Case,
    Cast,
    Collate,
    Comparison,
    Connective,
    Exists,
    Negative,
    Not,
    Scalar,
    ValueOf,
)
from .terms import (
    ATOMS,
    LEAVES,
    QUERIES,
    Derived,
    Full,
    FunctionSource,
    Itself,
    Outer,
    Query,
    Recursive,
    Select,
    Source,
    Table,
    Term,
)

#: The collation of a column of a compound query, in a database where columns have collations.
UNKNOWN = "unknown"
# What has no type converts nothing, so 1 and 1.0 stay two values that are equal.
_UNLIKE = ("blob", "citext")
_UNCONVERTED = ({"number", "real", "date"}, {"text", "blob"}, {"blob", "none"})
_VALUES = {"number": "number", "text": "text"}
_SOURCES = frozenset({Table, Derived, FunctionSource, Itself, Full})
_JOINED = _SOURCES | {Recursive, Outer}


@dataclass
class Context:
    """The schema's facts, brought to the sources of one query.

    Args:
        facts: what the schema says.
        tables: the base table behind each source number.
        queries: the query behind the number of each derived table.
        padded: sources that an outer join may fill with NULLs.
        notes: what could not be normalised.
        nested: whether the query holds another query.
        heads: the operators it holds, or held when it was last surveyed.
        unknown: the columns that it then held and no source has.
        surveyed: the query as it then was.
        loose: rewrite also where the result is only nearly the same (NULLs, ties, repeats apart).
        settled: blocks in which no rule finds anything, each with `loose` and `padded` as they then were.
    """

    facts: Facts
    tables: dict[Label, str] = field(default_factory=dict)
    queries: dict[Label, Query | Recursive] = field(default_factory=dict)
    padded: set[Label] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    loose: bool = False
    nested: bool = True
    heads: set[str] = field(default_factory=set)
    unknown: set[Column] = field(default_factory=set)
    surveyed: Query | None = None
    tagged: bool = False  # whether a rewrite has left a `ValueOf`
    last_number: int = 0
    known_classes: dict[tuple[tuple[Term, ...], tuple[Outer, ...]], list[set[Term]]] = field(
        default_factory=dict
    )
    settled: set[tuple[Select, bool, frozenset[Label]]] = field(default_factory=set)

    def survey(self, query: Query) -> set[str]:
        """Read the sources of a query again, if it has changed; return the operators it holds."""
        if query is self.surveyed:
            return self.heads
        self.surveyed = query
        self.padded.clear()
        heads: set[str] = set()
        unknown: set[Column] = set()
        queries = 0
        within: list[Any] = [(query,)]
        for top in within:
            for part in top:
                kind = part.__class__
                if kind in ATOMS:
                    continue
                if kind is Column:
                    if part.source == -1:
                        unknown.add(part)
                    continue
                if kind is tuple:
                    if part:
                        within.append(part)
                    continue
                heads.add(part.head)
                if kind not in LEAVES:
                    within.append(part)
                    queries += kind in QUERIES
                if kind in _JOINED:
                    self.enter(part)
        self.nested = queries > 1
        self.heads = heads
        self.unknown = unknown
        return heads

    def enter(self, part: Source | Recursive | Outer) -> None:
        """Keep what is told by a source, or an outer join, of a FROM clause."""
        if isinstance(part, (Outer, Full)):
            self.padded |= numbers_in(part)
        if isinstance(part, Outer):
            return
        label = part.label
        if isinstance(part, Table):
            self.tables[label] = part.name
        elif isinstance(part, Derived):
            self.queries[label] = part.query
        if isinstance(label, int) and label > self.last_number:
            self.last_number = label

    def note(self, text: str) -> None:
        """Keep, once, what could not be normalised."""
        if text not in self.notes:
            self.notes.append(text)

    def fresh(self) -> int:
        """Return a source number that is not in use."""
        self.last_number += 1
        return self.last_number

    def table_of(self, column: Column) -> TableFacts:
        """Return the facts of the table a column belongs to."""
        return self.facts.table(self.tables.get(column.source, ""))

    def origin(self, term: Term) -> Term:
        """Return what a column of a derived table stands for; the term itself where that is not known."""
        while isinstance(term, Column) and isinstance(term.name, int):
            query = self.queries.get(term.source)
            if not isinstance(query, Select) or term.name >= len(query.items):
                return term
            term = query.items[term.name]
        return term

    def affinity(self, term: Term) -> str:
        """Return what a comparison with a term converts to: `number`, `real`, `text`, `date`, `blob` or `none`.

        A column of affinity BLOB is not converted to text, what has no affinity is. Empty where it is not known:
        without a schema, and for computed terms in dialects with types.
        """
        if isinstance(term, Column):
            term = self.origin(term)
            if isinstance(term, Column):
                return _of_column(term, self.table_of(term).affinity)
        if self.facts.dialect != "sqlite":
            return ""
        if isinstance(term, Cast):
            return CLASS_OF.get(term.type, "")
        if isinstance(term, Collate):
            return self.affinity(term.operand)
        if isinstance(term, Scalar):
            return self.affinity(term.query.items[0]) if isinstance(term.query, Select) else ""
        return "none"

    def kind(self, term: Term) -> str:
        """Return what columns have in common whose equal values are the same value; empty where nothing is."""
        term = self.origin(term)
        if not isinstance(term, Column) or self.collation(term):
            return ""
        kind = _of_column(term, self.table_of(term).kinds)
        return "" if kind in _UNLIKE else kind

    def same_kind(self, a: Term, b: Term) -> bool:
        """Return whether equal values of two columns are the same value."""
        kind = self.kind(a)
        return kind == self.kind(b) and (kind != "" or not self.facts.known)

    def converts(self, a: Term, b: Term) -> bool:
        """Return whether comparing two terms may convert one of them, which set operations do not."""
        if self.facts.dialect != "sqlite":
            return False
        first, second = (_VALUES.get(one.head, "") or self.affinity(one) for one in (a, b))
        if "" in (first, second):
            return self.facts.known or first != second
        return first != second and not any({first, second} <= kinds for kinds in _UNCONVERTED)

    def collation(self, term: Term) -> str:
        """Return the collation that a term has of its own; empty for the one that compares byte by byte."""
        if isinstance(term, Column):
            term = self.origin(term)
            if isinstance(term, Column):
                if not self.facts.collated:
                    return ""
                return (
                    self.table_of(term).collations.get(term.name, "")
                    if isinstance(term.name, str)
                    else UNKNOWN
                )
        if isinstance(term, (ValueOf, Cast)):
            return self.collation(term.operand)
        if isinstance(term, Collate):
            return "" if term.collation == "binary" else term.collation
        return ""

    def not_null(self, term: Term) -> bool:
        """Return whether a term can never be NULL."""
        if isinstance(term, Column):
            return term.source not in self.padded and term.name in self.table_of(term).not_null
        if isinstance(term, (Number, Text, Boolean, Exists)):
            return True
        if isinstance(term, Aggregate):
            return term.name == "count"
        if isinstance(term, (Cast, ValueOf, Collate, Not, Negative)):
            return self.not_null(term.operand)
        if isinstance(term, Comparison):
            return (
                term.head not in ("is", "is not") and self.not_null(term.left) and self.not_null(term.right)
            )
        if isinstance(term, Arithmetic):
            return term.head in _NULL_OF_NULL and self.not_null(term.left) and self.not_null(term.right)
        if isinstance(term, Connective):
            return all(map(self.not_null, term.operands))
        if isinstance(term, Call):
            return term.name == "coalesce" and any(map(self.not_null, term.arguments))
        if isinstance(term, Case):
            return self.not_null(term.otherwise) and all(self.not_null(then) for _, then in term.branches)
        return False

    def keys(self, label: Label) -> tuple[frozenset[Column], ...]:
        """Return the keys of a source, as sets of its columns."""
        return _keys(label, self.facts.table(self.tables.get(label, "")).keys)


@lru_cache(maxsize=4096)
def _keys(label: Label, keys: tuple[frozenset[str], ...]) -> tuple[frozenset[Column], ...]:
    """Return keys as sets of columns, which are the same objects in every query that numbers the table so."""
    return tuple(frozenset(Column(label, name) for name in key) for key in keys)


# A division by zero is NULL.
_NULL_OF_NULL = ("+", "-", "*", "||")


def _of_column(column: Column, known: dict[str, str]) -> str:
    """Return what is known of a column; a `rowid` that no table declares is a number."""
    name = column.name
    return known.get(name, "number" if known and name == "rowid" else "") if isinstance(name, str) else ""


def numbers_in(joined: object) -> set[Label]:
    """Return the labels of the sources of a FROM clause, not those of subqueries."""
    found: set[Label] = set()
    stack: list[Any] = [joined]
    while stack:
        top = stack.pop()
        kind = top.__class__
        if kind in ATOMS or kind in QUERIES:
            continue
        if kind in _SOURCES:
            found.add(top.label)
        if kind not in LEAVES:
            stack.extend(top)
    return found
