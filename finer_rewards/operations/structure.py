"""Other scores on the same canonical query: schema linking, n-grams, exact set match, equality, tree edits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from typing import Any

from finer_rewards._util.extras import extra
from finer_rewards.schema import Schema

from .canonicalising import SchemaLike, as_schema, canonical_query, read_query
from .facts import facts_of
from .guard import with_deep_stack
from .leaves import Column, Label, Number, Operator, SourceName, Text
from .measure import Agreement
from .operators import equates_columns
from .terms import ATOMS, QUERIES, Group, Outer, Query, Select, SetOperation, Source, Table, Term
from .walks import columns_of, walk
from .words import say_query


@lru_cache(maxsize=2048)
def _canonical(sql: str, schema: Schema | None, dialect: str) -> Query:
    facts = facts_of(schema, dialect)
    return with_deep_stack(lambda: canonical_query(sql, facts).query)


@lru_cache(maxsize=2048)
def _read(sql: str, schema: Schema | None, dialect: str) -> Query:
    facts = facts_of(schema, dialect)
    return with_deep_stack(lambda: read_query(sql, facts))


def canonical_sql(sql: str, *, schema: SchemaLike = None, dialect: str = "sqlite") -> str:
    """Return the canonical query as text. Equal texts mean equal queries.

    Example:
        >>> canonical_sql("SELECT a FROM t AS x WHERE 1 < x.b")
        'select t.a from t where (t.b > 1)'
    """
    return say_query(_canonical(sql, as_schema(schema, dialect), dialect))


def canonical_equal(predicted: str, gold: str, *, schema: SchemaLike = None, dialect: str = "sqlite") -> bool:
    """Return whether two queries have one canonical form.

    Raises:
        OperationsError: one of them cannot be read.

    Example:
        >>> canonical_equal("SELECT a FROM t WHERE NOT b <= 1", "SELECT a FROM t WHERE b > 1")
        True
    """
    known = as_schema(schema, dialect)
    return _canonical(predicted, known, dialect) == _canonical(gold, known, dialect)


def overlap(predicted: Iterable[Hashable], gold: Iterable[Hashable]) -> Agreement:
    """Return the overlap of two bags."""
    ours, theirs = Counter(predicted), Counter(gold)
    return Agreement(float((ours & theirs).total()), float(ours.total()), float(theirs.total()))


def schema_links(sql: str, *, schema: SchemaLike = None, dialect: str = "sqlite") -> frozenset[str]:
    """Return the tables and the `table.column`s a query names, in lower case.

    `*` stands for every column where the schema is known; CTEs are not tables.

    Example:
        >>> sorted(schema_links("SELECT s.name FROM singer AS s WHERE age > 3"))
        ['singer', 'singer.age', 'singer.name']
    """
    query = _read(sql, as_schema(schema, dialect), dialect)
    tables = _tables(query)
    columns = {
        f"{tables[part.source]}.{part.name}"
        for part in columns_of(query)
        if part.source in tables and isinstance(part.name, str)
    }
    return frozenset(tables.values()) | frozenset(columns)


def _tables(query: Query) -> dict[Label, str]:
    return {part.label: part.name for part in walk(query) if isinstance(part, Table)}


def schema_linking(
    predicted: str, gold: str, *, schema: SchemaLike = None, dialect: str = "sqlite"
) -> Agreement:
    """Return how the tables and columns of two queries agree: recall, precision, F1 (`.f()`), Jaccard.

    Example:
        >>> schema_linking("SELECT name FROM singer", "SELECT name FROM singer WHERE age > 3").recall
        0.6666666666666666
    """
    known = as_schema(schema, dialect)
    return overlap(
        schema_links(predicted, schema=known, dialect=dialect),
        schema_links(gold, schema=known, dialect=dialect),
    )


_WORD = re.compile(r"'(?:[^']|'')*'|[\w.]+|[<>!=]+|[^\s\w]")


def ngram_similarity(
    predicted: str,
    gold: str,
    *,
    n: int = 2,
    schema: SchemaLike = None,
    dialect: str = "sqlite",
) -> float:
    """Return the Jaccard similarity of the n-grams of two canonical queries, in [0, 1].

    Args:
        predicted: SQL text.
        gold: SQL text.
        n: words in an n-gram.
        schema: as in `sql_operations`.
        dialect: as in `sql_operations`.

    Example:
        >>> ngram_similarity("SELECT x.a FROM t AS x", "SELECT a FROM t")
        1.0
    """
    known = as_schema(schema, dialect)
    texts = [canonical_sql(sql, schema=known, dialect=dialect) for sql in (predicted, gold)]
    ours, theirs = (
        {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))}
        for words in map(_WORD.findall, texts)
    )
    return len(ours & theirs) / len(ours | theirs)


def exact_set_match(
    predicted: str, gold: str, *, values: bool = False, schema: SchemaLike = None, dialect: str = "sqlite"
) -> dict[str, float]:
    """Return the F1 of each clause as a set of parts, and `exact`: 1 when all of them are 1.

    After Spider's exact set match (Yu et al., EMNLP 2018): SELECT, FROM, WHERE, GROUP BY, HAVING, ORDER BY,
    LIMIT, set operators, and keywords, on the query as written (names resolved, nothing rewritten).

    Args:
        predicted: SQL text.
        gold: SQL text.
        values: also compare literals; Spider's published setting does not.
        schema: as in `sql_operations`.
        dialect: as in `sql_operations`.

    Example:
        >>> exact_set_match("SELECT a FROM t WHERE b > 1", "SELECT a FROM t WHERE b > 2")["exact"]
        1.0
    """
    known = as_schema(schema, dialect)
    ours, theirs = (_components(_read(sql, known, dialect), values) for sql in (predicted, gold))
    scores = {name: overlap(ours[name], theirs[name]).f() for name in theirs}
    return {**scores, "exact": float(all(score == 1.0 for score in scores.values()))}


_CLAUSES = ("select", "from", "where", "group", "having", "order", "limit", "set", "keywords")


def _components(query: Query, values: bool) -> dict[str, list[Any]]:
    """Return what a query has in each of `_CLAUSES`, without aliases, and without literals unless `values` is set."""
    tables = _tables(query)

    def plain(term: Any) -> Any:
        kind = term.__class__
        if kind in ATOMS:
            return term
        if kind is Column:
            return ("column", tables.get(term.source, "derived"), term.name, *term.options)
        if kind in (Number, Text) and not values:
            return ("value",)
        if kind in QUERIES:
            return tuple(
                (name, tuple(sorted(map(repr, parts)))) for name, parts in _components(term, values).items()
            )
        parts = [plain(part) for part in term]
        if kind is not tuple and term.head in _COMMUTATIVE:
            head, *operands = parts
            parts = [head, *sorted(operands, key=repr)]
        return tuple(parts)

    found: dict[str, list[Any]] = {name: [] for name in _CLAUSES}
    if isinstance(query, SetOperation):
        first, *rest = query.branches
        found = _components(first, values)
        found["set"] = [query.operator, *(plain(branch) for branch in rest)]
        found["order"] += [plain(key) for key in query.order]
        return found
    if not isinstance(query, Select):
        found["select"] = [plain(row) for row in query.rows]
        return found
    found["select"] = [(query.distinct if values else None, plain(item)) for item in query.items]
    found["from"], conditions = _joined(query, plain)
    # Joins written in ON and in WHERE look alike here, as Spider's evaluator leaves ON out altogether.
    found["where"] = [plain(one) for one in conditions if not equates_columns(one)]
    found["group"] = [plain(key) for key in query.group or ()]
    found["having"] = [plain(one) for one in query.having]
    found["order"] = [plain(key) for key in query.order]
    found["limit"] = [plain(query.limit)] if query.limit is not None else []
    found["keywords"] = sorted({part.head for part in walk(query) if part.head in _KEYWORDS})
    return found


def _joined(query: Select, plain: Callable[[Any], Any]) -> tuple[list[Any], list[Term]]:
    """Return what a block reads and the kinds of its outer joins, and all its conditions, those of ON included."""
    read: list[Any] = []
    conditions = list(query.where)
    stack: list[Source | Outer | Group] = [*query.sources, *query.outers]
    while stack:
        top = stack.pop()
        if isinstance(top, (Outer, Group)):
            read.append(top.head)
            stack += [*top.sources, *top.outers]
            conditions += top.where
        elif isinstance(top, Table):
            read.append(top.name)
        else:
            _, _, *parts = top
            read.append(plain(tuple(parts)))
    return read, conditions


_COMMUTATIVE = ("and", "or", "=", "+", "*")
_KEYWORDS = ("in", "like", "not", "or", "exists", "case")


def tree_edit_similarity(
    predicted: str, gold: str, *, schema: SchemaLike = None, dialect: str = "sqlite"
) -> float:
    """Return 1 - TED / max(nodes) between two canonical trees, in [0, 1]; TED by APTED.

    Needs the package `apted` (Pawlik and Augsten, 2016). Its time grows with the square of the trees: what is
    larger than 300 nodes is compared by its bag of nodes.

    Raises:
        MissingExtraError: `apted` is not installed.
        OperationsError: one of the texts cannot be read.
    """
    with extra("similarity", "`tree_edit_similarity`", "apted"):
        from apted import APTED, Config  # type: ignore[import-untyped,unused-ignore]

    class Named(Config):  # type: ignore[misc]
        def children(self, node: Any) -> list[Any]:
            return list(node[1])

        def rename(self, first: Any, second: Any) -> int:
            return int(first[0] != second[0])

    known = as_schema(schema, dialect)
    ours, theirs = (_tree(_canonical(sql, known, dialect)) for sql in (predicted, gold))
    if ours == theirs:
        # Decided here, because the distance of a tree to itself takes as long to find as any other.
        return 1.0
    bags = Counter(_labels(ours)), Counter(_labels(theirs))
    largest = max(bags[0].total(), bags[1].total())
    if largest > 300:
        return (bags[0] & bags[1]).total() / largest
    distance = APTED(ours, theirs, Named()).compute_edit_distance()
    return max(0.0, 1.0 - float(distance) / largest)


Tree = tuple[str, list[Any]]


def _tree(term: object) -> Tree:
    if isinstance(term, (Column, Number, Text)):
        return repr(term), []
    if isinstance(term, Select):
        named = zip(term._fields, term, strict=True)
        return "select", [
            _clause(name, part) if isinstance(part, tuple) else (f"{name} {part}", [])
            for name, part in named
            if name != "head" and part not in ((), None, False)
        ]
    if isinstance(term, (Operator, Outer, Group, SourceName)):
        head, *parts = term
        return str(head), [_tree(part) for part in parts]
    return ("", [_tree(part) for part in term]) if isinstance(term, tuple) else (str(term), [])


def _clause(name: str, part: tuple[object, ...]) -> Tree:
    # One term, such as a LIMIT, or a list of them.
    return name, [_tree(part)] if isinstance(part, Operator) else [_tree(one) for one in part]


def _labels(tree: Tree) -> list[str]:
    found, stack = [], [tree]
    while stack:
        label, children = stack.pop()
        found.append(label)
        stack += children
    return found
