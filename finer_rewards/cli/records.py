"""Samples to scores, in batches, and the record that each score becomes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from finer_rewards.cli.progress import Progress
from finer_rewards.components import component_values, reason_of
from finer_rewards.types import Evidence, Sample, Score

if TYPE_CHECKING:
    from finer_rewards.scoring import Scorer

__all__ = ["COLUMNS", "Scored", "database_name", "score_in_batches", "scored"]

#: What every record has, before the components by name.
COLUMNS = ("number", "value", "status", "reason", "predicted", "gold", "db", "question_id")


class Scored(NamedTuple):
    """One statement, scored.

    Args:
        evidence: what was observed.
        score: its score.
        components: the value of each component by name.
        record: what is written of it; its names are `COLUMNS` and those of the components.
    """

    evidence: Evidence
    score: Score
    components: dict[str, float | None]
    record: dict[str, Any]


def score_in_batches(scorer: Scorer, samples: Sequence[Sample]) -> Iterator[Scored]:
    """Yield each sample scored; batches of about a second keep the bar moving and memory bounded."""
    size, start = 32, 0
    with Progress("statements scored", len(samples)) as bar:
        while start < len(samples):
            began = time.monotonic()
            batch = samples[start : start + size]
            observed = scorer.observe(batch)
            scores = scorer.grade(observed)
            bar.hide()
            for number, (evidence, score) in enumerate(zip(observed, scores, strict=True), start + 1):
                yield scored(scorer, number, evidence, score)
            start += len(batch)
            bar.advance(len(batch))
            spent = time.monotonic() - began
            size = min(size * 2, 1024) if spent < 0.5 else max(size // 2, 32) if spent > 2 else size


def database_name(db: str) -> str:
    """Return how a database is called where there is little room: its id, or the name of its file."""
    return PurePath(db).stem if "/" in db else db


def scored(scorer: Scorer, number: int, evidence: Evidence, score: Score) -> Scored:
    """Return a score with its record."""
    sample = evidence.sample
    components = component_values(scorer.reward, score)
    values = (
        number,
        score.value,
        score.status.name,
        reason_of(score),
        sample.completion if evidence.answer.sql is None else evidence.answer.sql,
        sample.gold,
        sample.dbs[0],
        sample.meta.get("question_id"),
    )
    return Scored(evidence, score, components, {**dict(zip(COLUMNS, values, strict=True)), **components})
