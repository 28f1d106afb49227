"""Rewards on the two SQL texts: words, names of the schema, clauses. Nothing is run.

What reads alike can mean something else (`>` for `<`), so these are degrees to stand below execution match.
They read every gold and take the best.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from finer_rewards.errors import ConfigError
from finer_rewards.metrics import texts
from finer_rewards.reward import reward
from finer_rewards.types import Evidence, Score, Status, unscored

__all__ = ["clause_similarity", "ngram_similarity", "parses", "schema_linking", "text_similarity"]


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
    if texts.tree_of(evidence.answer.sql, evidence.dialect) is None:
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


@reward(check=_check_ngrams)
def ngram_similarity(evidence: Evidence, *, n: int = 2, published: bool = False) -> Score:
    """Jaccard index of the token n-grams of the two queries, in [0, 1].

    Formula: |N(p) ∩ N(g)| / |N(p) ∪ N(g)| after printing both alike and leaving alias names out.

    Known to pay for: a wrong literal or column in an otherwise equal query. `published`: also for a wrong
    operator, `x > 3` and `x < 3` are one.

    Args:
        n: tokens in an n-gram.
        published: tokens are words alone, lower-cased, as in Reasoning-SQL's code.

    Raises:
        ConfigError: `n` is below 1.

    Example:
        >>> ngram_similarity(n=3)
        ngram_similarity(n=3)

    References:
        Pourreza et al., Reasoning-SQL, 2025, section 3; code: MohammadrezaPourreza/RLForSQL,
        `utils/ngrams.py`.
    """
    return _best(
        evidence,
        lambda gold, sql: texts.ngram_jaccard(gold, sql, n, published=published, dialect=evidence.dialect),
    )


@reward()
def schema_linking(
    evidence: Evidence, *, metric: Literal["jaccard", "recall", "f1"] = "jaccard", published: bool = False
) -> Score:
    """Overlap of the tables and columns the two queries name, in [0, 1].

    Formula: |S(p) ∩ S(g)| / |S(p) ∪ S(g)|, or / |S(g)| for `recall`, or 2 |S(p) ∩ S(g)| / (|S(p)| + |S(g)|).

    Known to pay for: the right names in the wrong places; `recall` for naming every column there is.

    Args:
        metric: how the overlap is measured.
        published: as in Reasoning-SQL's code: case counts, CTEs are tables, the prediction must hold the
            capital letters SELECT.

    Returns:
        A degree; `None` when a gold does not parse.

    Example:
        >>> schema_linking(metric="recall")
        schema_linking(metric='recall')

    References:
        Pourreza et al., Reasoning-SQL, 2025, section 3 (Jaccard in the paper; the code computes recall).
    """

    def measure(gold: str, sql: str) -> float | None:
        own = texts.schema_names(gold, published=published, dialect=evidence.dialect)
        if own is None:
            return None
        other = texts.schema_names(sql, published=published, dialect=evidence.dialect)
        if other is None or (published and ("SELECT" not in sql or not own)):
            return 0.0
        if not own and not other:
            return 1.0
        sizes = {"jaccard": len(own | other), "recall": len(own), "f1": (len(own) + len(other)) / 2}
        return len(own & other) / sizes[metric] if sizes[metric] else 0.0

    return _best(evidence, measure)


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
    return _best(evidence, texts.text_ratio)


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
    return _best(evidence, texts.clause_f1)


def _best(evidence: Evidence, measure: Callable[[str, str], float | None]) -> Score:
    golds = evidence.sample.golds
    if not golds:
        return unscored(Status.no_gold, "This reward compares SQL texts, and the sample has no gold SQL.")
    if evidence.answer.sql is None:
        return Score(0.0, Status.no_sql.sentence, Status.no_sql)
    values = [measure(gold, evidence.answer.sql) for gold in golds]
    known = [value for value in values if value is not None]
    return Score(max(known)) if known else unscored(Status.gold_unparsed)
