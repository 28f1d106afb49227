"""How alike two SQL texts are, in [0, 1], without running them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = [
    "clause_f1",
    "published_names",
    "published_ngram_jaccard",
    "published_ngrams",
    "text_ratio",
    "tree_of",
]

_WORD = re.compile(r"\w+")
_CLAUSES = (
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "UNION",
    "INTERSECT",
    "EXCEPT",
)
_CLAUSE = re.compile(
    r"\b(" + "|".join(clause.replace(" ", r"\s+") for clause in _CLAUSES) + r")\b", re.IGNORECASE
)
_ITEM = re.compile(r",|\band\b|\bor\b|\b(?:(?:left|right|full|inner|cross|outer|natural)\s+)*join\b|\bon\b")
_LONGEST = 20_000


@lru_cache(maxsize=4096)
def tree_of(sql: str, dialect: str = "sqlite") -> exp.Expression | None:
    """Return the parsed query, or `None` when the text is not one; do not change it."""
    from finer_rewards.operations.guard import OperationsError, parse_query, with_deep_stack

    try:
        tree: exp.Expression = with_deep_stack(lambda: parse_query(sql, dialect))
    except OperationsError:
        return None
    return tree


@lru_cache(maxsize=4096)
def published_ngrams(sql: str, n: int, dialect: str = "sqlite") -> frozenset[tuple[str, ...]]:
    """Return the set of n-grams of the words of a query, as Reasoning-SQL's code takes them.

    The query is printed by sqlglot first; operators vanish, all is lower case, literals too, and the names of
    table and column aliases are left out. Text that does not parse is taken as it is.

    Args:
        sql: a query.
        n: length of an n-gram in words.
        dialect: sqlglot's name of the dialect.

    Example:
        >>> sorted(published_ngrams("SELECT a FROM t AS x", 2))
        [('a', 'from'), ('from', 't'), ('select', 'a')]
    """
    tree = tree_of(sql, dialect)
    text = sql if tree is None else tree.sql(dialect=dialect)
    aliases = {"as"} if tree is None else {"as", *_aliases(tree)}
    words = [word for word in _WORD.findall(text.lower()) if word not in aliases]
    return frozenset(tuple(words[start : start + n]) for start in range(len(words) - n + 1))


def published_ngram_jaccard(gold: str, predicted: str, n: int = 2, dialect: str = "sqlite") -> float:
    """Return the Jaccard index of the n-grams of two queries, in [0, 1]; 0 when neither has one.

    Example:
        >>> published_ngram_jaccard("SELECT a FROM t WHERE a > 3", "SELECT a FROM t WHERE a < 3")
        1.0

    References:
        Pourreza et al., Reasoning-SQL, 2025, section 3 (n-gram similarity).
    """
    own, other = published_ngrams(gold, n, dialect), published_ngrams(predicted, n, dialect)
    return len(own & other) / len(own | other) if own | other else 0.0


@lru_cache(maxsize=4096)
def published_names(sql: str, dialect: str = "sqlite") -> frozenset[str] | None:
    """Return the bare names of the tables and columns a query mentions; `None` when it does not parse.

    As in Reasoning-SQL's code case counts, and a CTE is a table.

    Example:
        >>> sorted(published_names("SELECT s.Name FROM Singer AS s"))
        ['Name', 'Singer']
    """
    from sqlglot import exp

    tree = tree_of(sql, dialect)
    if tree is None:
        return None
    names = [column.name for column in tree.find_all(exp.Column)]
    return frozenset(names + [table.name for table in tree.find_all(exp.Table)])


def text_ratio(gold: str, predicted: str) -> float:
    """Return difflib's similarity of two texts, in [0, 1]: twice the matching characters over all.

    Texts are cut at 20,000 characters, because the time grows with the square.

    Example:
        >>> text_ratio("SELECT a", "SELECT b")
        0.875

    References:
        Ratcliff and Metzener, Pattern Matching: the Gestalt Approach, 1988.
    """
    return SequenceMatcher(None, predicted[:_LONGEST], gold[:_LONGEST]).ratio()


def clause_f1(gold: str, predicted: str) -> float:
    """Return the mean, over the clauses of either query, of the F1 of their items, in [0, 1].

    Items are what commas, AND, OR, JOIN and ON separate, without regard to case and white space.

    Example:
        >>> clause_f1("SELECT a, b FROM t", "SELECT a FROM t")
        0.8333333333333333
    """
    own, other = _clauses(gold), _clauses(predicted)
    scores = []
    for clause in sorted(own.keys() | other.keys()):
        items, others = own.get(clause, frozenset()), other.get(clause, frozenset())
        scores.append(2 * len(items & others) / (len(items) + len(others)))
    return sum(scores) / len(scores) if scores else 0.0


def _aliases(tree: exp.Expression) -> set[str]:
    from sqlglot import exp

    named = [table.alias for table in tree.find_all(exp.Table)]
    return {name.lower() for name in named + [one.alias for one in tree.find_all(exp.Alias)] if name}


@lru_cache(maxsize=4096)
def _clauses(sql: str) -> Mapping[str, frozenset[str]]:
    pieces: list[Any] = _CLAUSE.split(sql[:_LONGEST])
    found: dict[str, set[str]] = {}
    for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
        items = {"".join(item.split()) for item in _ITEM.split(body.lower().replace(";", ""))}
        clause = " ".join(name.upper().split())
        found.setdefault(clause, set()).update(items - {""} or {clause})
    return {clause: frozenset(items) for clause, items in found.items()}
