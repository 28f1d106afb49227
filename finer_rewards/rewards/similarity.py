"""Rewards on how alike the two queries read: words, names of the schema, clauses. Nothing is run.

What reads alike can mean something else (`>` for `<`), so these are degrees to stand below execution match.
They read every gold and take the best.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from finer_rewards.errors import ConfigError
from finer_rewards.reward import reward
from finer_rewards.rewards.structure import best_gold
from finer_rewards.types import Evidence, Score, Status, unscored

if TYPE_CHECKING:
    from sqlglot import exp

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
    from finer_rewards.operations.guard import tree_of

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

    from finer_rewards.operations.guard import tree_of

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


@reward()
def parses(evidence: Evidence, *, operations: bool = False) -> Score:
    """1 when the predicted SQL parses as one query, else 0; no database is asked.

    Args:
        operations: ask also that its atomic operations can be told.

    Example:
        >>> parses()
        parses()

    References:
        Pourreza et al., Reasoning-SQL, 2025 (syntax reward; theirs runs the query).
    """
    if evidence.answer.sql is None:
        return Score(0.0, Status.no_sql.sentence, Status.no_sql)
    from finer_rewards.operations.guard import tree_of

    if tree_of(evidence.answer.sql, evidence.dialect) is None:
        return Score(0.0, "it does not parse as one query")
    if operations:
        from finer_rewards.operations import OperationsError, sql_operations

        try:
            sql_operations(evidence.answer.sql, dialect=evidence.dialect)
        except OperationsError as error:
            return Score(0.0, error.reason)
    return Score(1.0, "it parses")


def _check_ngrams(n: int, **_: object) -> None:
    if n < 1:
        raise ConfigError(
            f"`ngram_similarity(n=...)` should be at least 1, but got {n!r}. Use 2 for bigrams."
        )


@reward(needs={"schema"}, check=_check_ngrams)
def ngram_similarity(evidence: Evidence, *, n: int = 2, published: bool = False) -> Score:
    """Jaccard index of the n-grams of the two canonical queries, in [0, 1].

    Formula: |N(p) ∩ N(g)| / |N(p) ∪ N(g)|, N(q) the n-grams of the canonical form of q as words.

    Known to pay for: a wrong literal or column in an otherwise equal query. `published`: also for a wrong
    operator, `x > 3` and `x < 3` are one.

    Args:
        n: words in an n-gram.
        published: of the texts as written, printed alike: words alone, lower-cased, without alias names, as in
            Reasoning-SQL's code.

    Returns:
        A degree; `None` when no gold can be read. As `published`, text that does not parse is taken as it is.

    Raises:
        ConfigError: `n` is below 1.

    Example:
        >>> ngram_similarity(n=3)
        ngram_similarity(n=3)

    References:
        Pourreza et al., Reasoning-SQL, 2025, section 3; code: MohammadrezaPourreza/RLForSQL,
        `utils/ngrams.py`.
    """
    if published:
        dialect = evidence.dialect
        return _best(evidence, lambda gold, sql: published_ngram_jaccard(gold, sql, n, dialect=dialect))
    from finer_rewards.operations import structure

    def measure(predicted: str, gold: str, **context: Any) -> tuple[float, dict[str, float]]:
        return structure.ngram_similarity(predicted, gold, n=n, **context), {}

    return best_gold(evidence, measure)


@reward(needs={"schema"})
def schema_linking(
    evidence: Evidence,
    *,
    metric: Literal["jaccard", "recall", "precision", "f1"] = "jaccard",
    published: bool = False,
) -> Score:
    """Overlap of the tables and columns the two queries name, in [0, 1].

    Formula: |S(p) ∩ S(g)| / |S(p) ∪ S(g)|, or / |S(g)| for `recall`, or / |S(p)| for `precision`, or
    2 |S(p) ∩ S(g)| / (|S(p)| + |S(g)|) for `f1`; S(q) the tables and the table.columns of q, names resolved.

    Known to pay for: the right names in the wrong places; `recall` for naming every column there is.

    Args:
        metric: how the overlap is measured.
        published: as in Reasoning-SQL's code: bare names as written, case counts, CTEs are tables, the prediction
            must hold the capital letters SELECT.

    Returns:
        A degree; `None` when no gold can be read. The metrics hold all four measures (not as `published`).

    Example:
        >>> from finer_rewards.types import Answer, Sample
        >>> sample = Sample("SELECT x.A, b FROM T AS x", gold="SELECT a FROM t", db="x.sqlite")
        >>> schema_linking(metric="precision")(Evidence(sample, Answer(None, sample.completion))).value
        0.6666666666666666

    References:
        Pourreza et al., Reasoning-SQL, 2025, section 3 (Jaccard in the paper; the code computes recall).
    """
    if published:
        return _best(evidence, lambda gold, sql: _published_links(gold, sql, metric, evidence.dialect))
    from finer_rewards.operations import structure

    def measure(predicted: str, gold: str, **context: Any) -> tuple[float, dict[str, float]]:
        found = structure.schema_linking(predicted, gold, **context)
        metrics = {
            "jaccard": found.jaccard,
            "recall": found.recall,
            "precision": found.precision,
            "f1": found.f(),
        }
        return metrics[metric], metrics

    return best_gold(evidence, measure)


def _published_links(gold: str, predicted: str, metric: str, dialect: str) -> float | None:
    own = published_names(gold, dialect)
    if own is None:
        return None
    other = published_names(predicted, dialect)
    if other is None or "SELECT" not in predicted or not own:
        return 0.0
    sizes = {
        "jaccard": len(own | other),
        "recall": len(own),
        "precision": len(other),
        "f1": (len(own) + len(other)) / 2,
    }
    return len(own & other) / sizes[metric] if sizes[metric] else 0.0


@reward()
def text_similarity(evidence: Evidence) -> Score:
    """difflib's similarity of the two SQL texts, in [0, 1].

    Formula: 2 × matching characters / all characters.

    Known to pay for: anything that looks alike; `SELECT` alone earns something.

    Example:
        >>> text_similarity()
        text_similarity()

    References:
        Sparks of Tabular Reasoning via Text2SQL Reinforcement Learning, arXiv 2505.00016, 2025 (string
        matching reward).
    """
    return _best(evidence, text_ratio)


@reward()
def clause_similarity(evidence: Evidence) -> Score:
    """Mean over the clauses of either query of the F1 of their items, in [0, 1].

    Formula: mean over clauses c of 2 |I_c(p) ∩ I_c(g)| / (|I_c(p)| + |I_c(g)|).

    After the component matching of Sparks, whose own text scanner looks at the first component of each
    keyword only and is not reproduced.

    Known to pay for: the right conditions joined by the wrong connective.

    Example:
        >>> clause_similarity()
        clause_similarity()

    References:
        Sparks of Tabular Reasoning via Text2SQL Reinforcement Learning, arXiv 2505.00016, 2025.
    """
    return _best(evidence, clause_f1)


def _best(evidence: Evidence, measure: Callable[[str, str], float | None]) -> Score:
    golds = evidence.sample.golds
    if not golds:
        return unscored(Status.no_gold, "This reward compares SQL texts, and the sample has no gold SQL.")
    if evidence.answer.sql is None:
        return Score(0.0, Status.no_sql.sentence, Status.no_sql)
    values = [measure(gold, evidence.answer.sql) for gold in golds]
    known = [value for value in values if value is not None]
    return Score(max(known)) if known else unscored(Status.gold_unparsed)
