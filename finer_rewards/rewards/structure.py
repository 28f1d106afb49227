"""Rewards on the canonical form of the two queries. Nothing is run; the database's schema is used when known."""

from __future__ import annotations

from collections.abc import Callable

from finer_rewards.reward import reward
from finer_rewards.types import Evidence, Score, Status, unscored

Measure = Callable[..., "tuple[float, dict[str, float]]"]


@reward(needs={"schema"})
def canonical_match(evidence: Evidence) -> Score:
    """1 when both queries have one canonical form, else 0.

    A match is as good as a proof that the results are equal on every database of the schema; no match proves
    nothing.

    Returns:
        1 or 0; `None` when no gold parses.

    Example:
        >>> from finer_rewards.types import Answer, Sample
        >>> sample = Sample("SELECT a FROM t WHERE NOT b <= 1", gold="SELECT a FROM t WHERE b > 1", db="x.sqlite")
        >>> canonical_match()(Evidence(sample, Answer(None, sample.completion))).value
        1.0

    References:
        Chu et al., Cosette, 2017 (the question); the rules are in `finer_rewards/operations/rules`.
    """
    from finer_rewards.operations.structure import canonical_equal

    def measure(predicted: str, gold: str, **context: object) -> tuple[float, dict[str, float]]:
        return float(canonical_equal(predicted, gold, **context)), {}  # type: ignore[arg-type]

    return best_gold(evidence, measure)


@reward(needs={"schema"})
def exact_set_match(evidence: Evidence, *, values: bool = False) -> Score:
    """1 when every clause holds the same set of parts, after Spider's exact set match, else 0.

    The metrics hold the F1 of each clause. Join conditions and, unless `values`, literals do not count.

    Args:
        values: literals count too.

    Returns:
        1 or 0; `None` when no gold parses.

    Example:
        >>> exact_set_match(values=True)
        exact_set_match(values=True)

    References:
        Yu et al., Spider, EMNLP 2018, section 6 (exact matching; component matching).
    """
    from finer_rewards.operations.structure import exact_set_match as clauses

    def measure(predicted: str, gold: str, **context: object) -> tuple[float, dict[str, float]]:
        found = clauses(predicted, gold, values=values, **context)  # type: ignore[arg-type]
        return found.pop("exact"), {name.lower().replace(" ", "_"): value for name, value in found.items()}

    return best_gold(evidence, measure)


@reward(needs={"schema"})
def tree_similarity(evidence: Evidence) -> Score:
    r"""1 minus the tree edit distance of the canonical trees over the larger size, in [0, 1].

    Formula: 1 - TED(p, g) / max(|p|, |g|), sizes in nodes.

    Needs the package apted: `pip install 'finer-rewards[similarity]'`. It ranks near misses above rewrites that
    mean the same, so it is a degree to look at rather than to train on.

    Returns:
        A degree; `None` when no gold parses.

    Raises:
        MissingExtraError: apted is not installed.

    Example:
        >>> tree_similarity()
        tree_similarity()

    References:
        Pawlik and Augsten, Tree edit distance: robust and memory-efficient, Information Systems 56, 2016.
    """
    from finer_rewards.operations.structure import tree_edit_similarity

    def measure(predicted: str, gold: str, **context: object) -> tuple[float, dict[str, float]]:
        return tree_edit_similarity(predicted, gold, **context), {}  # type: ignore[arg-type]

    return best_gold(evidence, measure)


def best_gold(evidence: Evidence, measure: Measure) -> Score:
    """Return the best of the golds that can be read."""
    from finer_rewards.operations import OperationsError, sql_operations

    sample = evidence.sample
    if not sample.golds:
        return unscored(Status.no_gold)
    context = {"schema": evidence.schema, "dialect": evidence.dialect}
    readable = []
    refusal = ""
    for gold in sample.golds:
        try:
            sql_operations(gold, **context)  # type: ignore[arg-type]
            readable.append(gold)
        except OperationsError as error:
            refusal = str(error)
    if not readable:
        return unscored(Status.gold_unparsed, Status.gold_unparsed.told(refusal))
    predicted = evidence.answer.sql
    if predicted is None:
        return Score(0.0, Status.no_sql.sentence, Status.no_sql)
    try:
        sql_operations(predicted, **context)  # type: ignore[arg-type]
    except OperationsError as error:
        return Score(0.0, str(error), Status.failed)
    value, metrics = max(
        (measure(predicted, gold, **context) for gold in readable), key=lambda found: found[0]
    )
    return Score(value, metrics=metrics)
