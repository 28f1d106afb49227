"""The reward for reasoning: how close is the thought to reasoning that execution verified?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from finer_rewards._thoughts.stuffing import named_share, stuffed
from finer_rewards.errors import ConfigError
from finer_rewards.reward import reward
from finer_rewards.types import Evidence, Recall, Score, Status, unscored

#: Shares of runs of five words: thoughts of one model are alike up to the one, nothing written anew reaches the other.
_ALIKE, _COPY = 0.5, 0.8

Variant = Literal["centroid", "contrastive", "max"]
Scope = Literal["other", "same", "any"]


def _needs(*, executed: bool, **_: object) -> Iterable[str]:
    return ("memory", "predicted") if executed else ("memory",)


def _check(*, top_k: int, empty: float, **_: object) -> None:
    if top_k < 1:
        raise ConfigError(f"`memory(top_k=...)` should be 1 or more, but got {top_k!r}. The paper has 20.")
    if not 0 <= empty <= 1:
        raise ConfigError(f"`memory(empty=...)` should be from 0 to 1, but got {empty!r}. It is a degree.")


@reward(needs=_needs, check=_check)
def memory(
    evidence: Evidence,
    *,
    variant: Variant = "centroid",
    top_k: int = 20,
    scope: Scope = "other",
    calibrated: bool = True,
    executed: bool = True,
    grounded: bool = True,
    empty: float = 0.0,
) -> Score:
    r"""Similarity of the thought to verified reasoning traces, in [0, 1].

    Formula: g min(1, max(0, (s - z) / (1 - z))), with s by variant, v the vector of the thought, V and F the
    `top_k` nearest verified and failed traces:

    - centroid: cos(v, mean of V),
    - max: the largest cos(v, t) for t in V,
    - contrastive: the largest in V minus the largest in F.

    g is how far the thought is about its own query: 0.4 + 0.6 min(1, 2 w), with w the share of the words of the names
    and values of the SQL that it mentions; down to a tenth of that where from 0.5 to 0.8 of its runs of five words, or
    more, are copied from those of V that are about other databases; 0 for a list of words,
    words for a judge, and hidden characters.

    z is the similarity that a text about something else has in the same memory; 0 for the contrastive variant and when
    not calibrated.

    Args:
        variant: see above; the paper has the centroid.
        top_k: most traces looked at.
        scope: traces of other databases (paper), of the same one, or of any.
        calibrated: take z off, so that unrelated text is worth 0.
        executed: 0 unless the SQL ran on every database: reasoning above broken SQL is worth nothing.
        grounded: multiply by g, so that stuffed and copied thoughts do not pay; false: g = 1, as published.
        empty: the value while the memory holds no verified trace to compare with.

    Returns:
        The score; `None` when the memory could not be searched.

    Raises:
        ConfigError: `top_k` is below 1, or `empty` is not in [0, 1].

    Example:
        >>> memory(variant="max", top_k=5)
        memory(variant='max', top_k=5)

    References:
        Hoang et al., FINER-SQL, ICDE 2026, arXiv:2605.03465 (memory reward).
    """
    recall = evidence.recall
    if recall is None:
        return unscored(Status.memory_unavailable, "the memory was not searched")
    if executed and not (
        evidence.trials and all(t.predicted is not None and t.predicted.ok for t in evidence.trials)
    ):
        return Score(0.0, "the SQL did not run")
    if not (evidence.answer.thought or "").strip():
        return Score(0.0, "no thought")
    if not recall.verified or recall.centroid is None:
        return Score(float(empty), "no verified traces yet")
    ground, doubt = _ground(evidence, recall) if grounded else (1.0, "")
    similarity, zero, words = _similarity(recall, recall.centroid, variant)
    zero = zero if calibrated else 0.0
    value = min(1.0, max(0.0, (similarity - zero) / (1.0 - zero))) if zero < 1.0 else 0.0
    metrics = {
        "similarity": similarity,
        "zero": zero,
        "ground": ground,
        "traces": float(len(recall.verified)),
    }
    notes = [f"{words} {similarity:.3f}", f"unrelated text {zero:.3f}" if zero else "", doubt]
    return Score(value * ground, ", ".join(filter(None, notes)), metrics=metrics)


def _ground(evidence: Evidence, recall: Recall) -> tuple[float, str]:
    """Return how far a thought is about its own query, in [0, 1], and what speaks against it."""
    thought, sql = evidence.answer.thought or "", evidence.answer.sql or ""
    reason = stuffed(thought, evidence.sample.question, sql)
    if reason:
        return 0.0, reason
    share = named_share(thought, sql)
    ground = 0.4 + 0.6 * min(1.0, 2 * share)
    notes = [] if share >= 0.5 else [f"mentions {share:.0%} of the names of its query"]
    if recall.copied > _ALIKE:
        ground *= max(0.1, (_COPY - recall.copied) / (_COPY - _ALIKE))
        notes.append(f"{recall.copied:.0%} copied")
    return ground, ", ".join(notes)


def _similarity(recall: Recall, centroid: float, variant: Variant) -> tuple[float, float, str]:
    """Return the similarity, that of unrelated text, and what it is the similarity to."""
    nearest = recall.verified[0]
    if variant == "centroid":
        return centroid, recall.zero_centroid, f"to the centroid of {len(recall.verified)} traces"
    if variant == "max":
        return nearest, recall.zero_nearest, "to the nearest trace"
    return nearest - max(recall.failed[:1], default=0.0), 0.0, "nearer to verified than to failed by"
