"""What a rewrite may ask about the query it stands in."""

from __future__ import annotations

from dataclasses import dataclass, field

from .facts import CLASS_OF, Facts, TableFacts
from .terms import LEAVES, QUERIES, Column, Derived, Full, FunctionSource, Itself, Select, Table, Term

__all__ = ["Context"]

#: The collation of a column of a compound query, in a database where columns have collations.
UNKNOWN = "unknown"
# What has no type converts nothing, so 1 and 1.0 stay two values that are equal.
_UNLIKE = ("blob", "citext")
_UNCONVERTED = ({"number", "real", "date"}, {"text", "blob"}, {"blob", "none"})
_VALUES = {"number": "number", "text": "text"}
_NUMBERED = frozenset({"table", "derived", "function", "self", "recursive", "full"})
_SURVEYED = _NUMBERED.union(("select", "setop", "values", "left"))


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
        surveyed: the query as it then was.
        loose: rewrite also where the result is only nearly the same (NULLs, ties, repeats apart).
        settled: blocks in which no rule finds anything, each with `loose` and `padded` as they then were.
    """

    facts: Facts
    tables: dict[int, str] = field(default_factory=dict)
    queries: dict[int, Term] = field(default_factory=dict)
    padded: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    loose: bool = False
    nested: bool = True
    heads: set[str] = field(default_factory=set)
    surveyed: Term = ()
    tagged: bool = False  # whether a rewrite has left a `("value", x)`
    last_number: int = 0
    known_keys: dict[int, tuple[frozenset[Term], ...]] = field(default_factory=dict)
    known_classes: dict[Term, list[set[Term]]] = field(default_factory=dict)
    settled: set[tuple[Term, bool, frozenset[int]]] = field(default_factory=set)

    def survey(self, query: Term) -> set[str]:
        """Read the sources of a query again, if it has changed; return the operators it holds."""
        if query is self.surveyed:
            return self.heads
        self.surveyed = query
        self.padded.clear()
        self.known_keys.clear()
        heads: set[str] = set()
        queries = 0
        within = [(query,)]
        for top in within:
            for part in top:
                if not isinstance(part, tuple) or not part:
                    continue
                kind = part.__class__
                if kind not in LEAVES:
                    within.append(part)
                if kind is tuple:
                    continue
                head = part[0]
                heads.add(head)
                if head not in _SURVEYED:
                    continue
                queries += kind in QUERIES
                if head == "table":
                    self.tables[part[1]] = part[2]
                elif head == "derived":
                    self.queries[part[1]] = part[2]
                if head in _NUMBERED and isinstance(part[1], int):
                    self.last_number = max(self.last_number, part[1])
                if head in ("left", "full"):
                    self.padded |= numbers_in(part)
        self.nested = queries > 1
        self.heads = heads
        return heads

    def note(self, text: str) -> None:
        """Keep, once, what could not be normalised."""
        if text not in self.notes:
            self.notes.append(text)

    def fresh(self) -> int:
        """Return a source number that is not in use."""
        self.last_number += 1
        return self.last_number

    def table_of(self, column: Term) -> TableFacts:
        """Return the facts of the table a column belongs to."""
        return self.facts.table(self.tables.get(column[1], ""))

    def origin(self, term: Term) -> Term:
        """Return what a column of a derived table stands for; the term itself where that is not known."""
        while term[0] == "column" and isinstance(term[2], int):
            query = self.queries.get(term[1])
            if not isinstance(query, Select) or term[2] >= len(query.items):
                return term
            term = query.items[term[2]]
        return term

    def affinity(self, term: Term) -> str:
        """Return what a comparison with a term converts to: `number`, `real`, `text`, `date`, `blob` or `none`.

        A column of affinity BLOB is not converted to text, what has no affinity is. Empty where it is not known:
        without a schema, and for computed terms in dialects with types.
        """
        head = term[0]
        if head == "column":
            term = self.origin(term)
            if term[0] == "column":
                known = self.table_of(term).affinity
                return known.get(term[2], "number" if known and term[2] == "rowid" else "")
            head = term[0]
        if self.facts.dialect != "sqlite":
            return ""
        if head == "cast":
            return CLASS_OF.get(term[2], "")
        if head == "collate":
            return self.affinity(term[1])
        if head == "scalar":
            return self.affinity(term[1].items[0]) if isinstance(term[1], Select) else ""
        return "none"

    def kind(self, term: Term) -> str:
        """Return what columns have in common whose equal values are the same value; empty where nothing is."""
        term = self.origin(term)
        if term[0] != "column" or self.collation(term):
            return ""
        table = self.table_of(term)
        kind = table.kinds.get(term[2], "number" if table.kinds and term[2] == "rowid" else "")
        return "" if kind in _UNLIKE else kind

    def same_kind(self, a: Term, b: Term) -> bool:
        """Return whether equal values of two columns are the same value."""
        kind = self.kind(a)
        return kind == self.kind(b) and (kind != "" or not self.facts.known)

    def converts(self, a: Term, b: Term) -> bool:
        """Return whether comparing two terms may convert one of them, which set operations do not."""
        if self.facts.dialect != "sqlite":
            return False
        first, second = (_VALUES.get(one[0], "") or self.affinity(one) for one in (a, b))
        if "" in (first, second):
            return self.facts.known or first != second
        return first != second and not any({first, second} <= kinds for kinds in _UNCONVERTED)

    def collation(self, term: Term) -> str:
        """Return the collation that a term has of its own; empty for the one that compares byte by byte."""
        head = term[0]
        if head == "column":
            term = self.origin(term)
            if term[0] == "column":
                collations = self.table_of(term).collations
                unknown = self.facts.collated and isinstance(term[2], int)
                return UNKNOWN if unknown else collations.get(term[2], "") if collations else ""
            head = term[0]
        if head in ("value", "cast"):
            return self.collation(term[1])
        if head == "collate":
            return "" if term[2] == "binary" else str(term[2])
        return ""

    def not_null(self, term: Term) -> bool:
        """Return whether a term can never be NULL."""
        if term[0] in ("number", "text", "bool", "exists"):
            return True
        if term[0] == "aggregate":
            return bool(term[1] == "count")
        if term[0] == "column":
            return term[1] not in self.padded and (term[2] in self.table_of(term).not_null)
        if term[0] in ("cast", "value", "collate"):
            return self.not_null(term[1])
        if term[0] in ("+", "-", "*", "||", "neg", "=", "<>", "<", "<=", ">", ">=", "and", "or", "not"):
            return all(self.not_null(part) for part in term[1:])
        if term[0] == "call" and term[1] == "coalesce":
            return any(self.not_null(part) for part in term[2:])
        if term[0] == "case":
            return all(self.not_null(part) for part in (*term[2:-1:2], term[-1]))
        return False

    def keys(self, number: int) -> tuple[frozenset[Term], ...]:
        """Return the keys of a source, as sets of its columns."""
        found = self.known_keys.get(number)
        if found is None:
            keys = self.facts.table(self.tables.get(number, "")).keys
            found = tuple(frozenset(Column(number, name) for name in key) for key in keys)
            self.known_keys[number] = found
        return found


def numbers_in(group: Term) -> set[int]:
    """Return the numbers of the sources of a FROM clause, not those of subqueries."""
    found: set[int] = set()
    stack = [group]
    while stack:
        top = stack.pop()
        if isinstance(top, tuple) and top:
            kind = top.__class__
            if kind in QUERIES:
                continue
            if kind in _SOURCES:
                found.add(top[1])
            if kind not in LEAVES:
                stack.extend(top)
    return found


_SOURCES = frozenset({Table, Derived, FunctionSource, Itself, Full})
