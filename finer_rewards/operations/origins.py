"""Which clause of the text an operation was written in, for `finer-rewards explain`.

The canonical form may have moved it, so the text is read once more without rewriting.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .canonicalising import SchemaLike, as_schema
from .context import Context
from .facts import facts_of
from .guard import parse_query, with_deep_stack
from .leaves import Column, SourceName
from .multiset import Operation, Operations
from .predicates import simplify
from .reading import Reader
from .terms import QUERIES, Derived, Query, Select, Term
from .walks import columns_of, conjuncts, substitute, walk
from .words import say

# The kinds of operation that are conditions, which rewriting may move to another clause.
_MOVED = frozenset({"filter", "join", "left join", "having"})


def as_written(
    operations: Operations, sql: str, *, schema: SchemaLike = None, dialect: str = "sqlite"
) -> Operations:
    """Return the same operations, each condition with the clause that it has in the text.

    A condition that the rewrites have changed beyond recognition keeps the clause of the canonical form.

    Args:
        operations: what `sql_operations` returned for the text.
        sql: the text.
        schema: as in `sql_operations`.
        dialect: as in `sql_operations`.

    Example:
        >>> from finer_rewards.operations import sql_operations
        >>> text = "SELECT t.a FROM t JOIN u ON t.id = u.id AND u.b > 3"
        >>> [one.clause for one in as_written(sql_operations(text), text) if one.kind in ("filter", "join")]
        ['FROM', 'FROM']
    """
    facts = facts_of(as_schema(schema, dialect), dialect)

    def read() -> dict[str, str]:
        reader = Reader(facts)
        query = reader.read(parse_query(sql, dialect))
        context = Context(facts)
        context.survey(query)
        found: dict[str, str] = {}
        for clause, text in _conditions(reader.written, query, context):
            found.setdefault(text, clause)
        return found

    written = with_deep_stack(read)
    counts = {
        replace(one, clause=written.get(_key(one), one.clause)) if one.kind in _MOVED else one: count
        for one, count in operations.counts.items()
    }
    return Operations(counts, operations.notes)


def _conditions(
    written: list[tuple[str, tuple[Term, ...]]], query: Query, context: Context
) -> Iterator[tuple[str, str]]:
    """Yield the clause of each condition as written, and the condition in words."""
    names: dict[Column, Term] = {}
    for part in walk(query):
        if isinstance(part, Derived) and isinstance(part.query, Select):
            names.update({Column(part.label, place): item for place, item in enumerate(part.query.items)})
    for clause, conditions in written:
        for condition in conditions:
            inner = condition
            # Each round goes through one more derived table in a derived table.
            for _ in range(8):
                inner, before = substitute(inner, names), inner
                if inner == before:
                    break
            for one in conjuncts(simplify(inner, context)):
                if not any(isinstance(part, QUERIES) for part in walk(one)):
                    yield clause, _plain(say(substitute(one, _named(one, context))))


def _named(term: Term, context: Context) -> dict[Column, Column]:
    """Return each column of a term as if its table were read only once; rewriting may number repeated tables anew."""
    return {
        column: column.of_source(SourceName(context.tables.get(column.source, "?"), 0, 1))
        for column in columns_of(term)
    }


def _key(operation: Operation) -> str:
    # A join names its table first, then ON.
    skipped = {"join": 2, "left join": 1}.get(operation.kind, 0)
    return _plain(" ".join(operation.arguments[skipped:]))


def _plain(text: str) -> str:
    """Return words without the numbers of repeated tables, and the sides of an equality in one order."""
    found = [word.split("#")[0] + "." + word.split(".", 1)[1] if "#" in word and "." in word else word
             for word in text.replace("outer ", "").split()]  # fmt: skip
    left, equals, right = " ".join(found).partition(" = ")
    return " = ".join(sorted((left, right))) if equals and " " not in left + right else " ".join(found)
