"""What a rewrite may ask about the query it stands in."""

from __future__ import annotations

from dataclasses import dataclass, field

from .facts import Facts, TableFacts
from .terms import LEAVES, QUERY_HEADS, Term

__all__ = ["Context"]

_NUMBERED = frozenset({"table", "derived", "function", "self", "recursive", "full"})
_SURVEYED = _NUMBERED.union(QUERY_HEADS, ("left",))


@dataclass
class Context:
    """The schema's facts, brought to the sources of one query.

    Args:
        facts: what the schema says.
        tables: the base table behind each source number.
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
    padded: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    loose: bool = False
    nested: bool = True
    heads: set[str] = field(default_factory=set)
    surveyed: Term = ()
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
                head = part[0]
                if head.__class__ is not str:
                    within.append(part)
                    continue
                heads.add(head)
                if head not in LEAVES:
                    within.append(part)
                if head not in _SURVEYED:
                    continue
                queries += head in QUERY_HEADS
                if head == "table":
                    self.tables[part[1]] = part[2]
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

    def affinity(self, term: Term) -> str:
        """Return `number`, `real`, `text`, `date`, or empty when not known."""
        if term[0] == "column" and isinstance(term[2], str):
            return self.table_of(term).affinity.get(term[2], "")
        return ""

    def not_null(self, term: Term) -> bool:
        """Return whether a term can never be NULL."""
        if term[0] in ("number", "text", "bool", "exists"):
            return True
        if term[0] == "aggregate":
            return bool(term[1] == "count")
        if term[0] == "column":
            return term[1] not in self.padded and (term[2] in self.table_of(term).not_null)
        if term[0] == "cast":
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
            found = tuple(frozenset(("column", number, name) for name in key) for key in keys)
            self.known_keys[number] = found
        return found


def numbers_in(group: Term) -> set[int]:
    """Return the numbers of the sources of a FROM clause, not those of subqueries."""
    found: set[int] = set()
    stack = [group]
    while stack:
        top = stack.pop()
        if isinstance(top, tuple) and top:
            head = top[0]
            if head.__class__ is str:
                if head in QUERY_HEADS:
                    continue
                if head in _SOURCES and len(top) > 2 and isinstance(top[1], int):
                    found.add(top[1])
                if head in LEAVES:
                    continue
            stack.extend(top)
    return found


_SOURCES = frozenset({"table", "derived", "function", "self", "full"})
