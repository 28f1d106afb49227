"""Scores samples in batches for the verbs `score` and `explain`, with a progress bar."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from finer_rewards._util.progress import Progress
from finer_rewards.reporting.score_records import Scored, scored

if TYPE_CHECKING:
    from finer_rewards.scoring import Scorer
    from finer_rewards.types import Sample


def score_in_batches(scorer: Scorer, samples: Sequence[Sample], start: int = 0) -> Iterator[Scored]:
    """Yield each sample from `start` on with its score.

    A batch takes about a second, so that the bar moves and few results are held in memory at a time.
    """
    size = 32
    with Progress("statements scored", len(samples)) as bar:
        if start:
            bar.advance(start)
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
