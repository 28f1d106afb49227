"""Logging the commonest reasons why completions do not match, for trainers whose own logs take only numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from statistics import fmean
from weakref import WeakKeyDictionary

from finer_rewards._util.locks import ForkSafeLock
from finer_rewards.components import frequent_reasons
from finer_rewards.scoring import Scorer
from finer_rewards.types import Score

# A line after so many samples, for trainers that do not tell the training step.
EVERY = 256
_LOGGER = logging.getLogger("finer_rewards.reasons")
_LOCK = ForkSafeLock()
# Scorer -> the current step, and its scores that no line has been logged about yet.
_KEPT: WeakKeyDictionary[Scorer, tuple[int | None, list[Score]]] = WeakKeyDictionary()


def tell_reasons(scorer: Scorer, scores: Iterable[Score], step: int | None = None) -> None:
    """Collect scores, and log a line about them when their step has ended, or after `EVERY` scores without a step.

    Each process logs only what it scored itself, so a trainer that spreads a step over workers gets a line from each.
    The line is a warning, because nothing less is shown where logging is not set up; silence it with
    `logging.getLogger("finer_rewards.reasons").setLevel("ERROR")`.

    Args:
        scorer: the scorer.
        scores: its new scores.
        step: their training step; `None` if the trainer does not tell it.
    """
    with _LOCK:
        before, kept = _KEPT.get(scorer, (step, []))
        ended: list[tuple[int | None, list[Score]]] = []
        # Steps may overlap; a score that comes late counts to the newest step.
        if step is not None and (before is None or step > before):
            if kept:
                ended.append((before, kept))
            before, kept = step, []
        kept = [*kept, *scores]
        if before is None and len(kept) >= EVERY:
            ended.append((None, kept))
            kept = []
        _KEPT[scorer] = before, kept
    for number, of_step in ended:
        _say(number, of_step)


def _say(step: int | None, scores: list[Score]) -> None:
    shares = {kind: fmean(found) for kind, found in frequent_reasons(scores).items()}
    if shares:
        where = "" if step is None else f" of step {step}"
        kinds = "; ".join(f"{share:.0%} {kind}" for kind, share in shares.items())
        _LOGGER.warning("Why %d samples%s were no match, most often: %s", len(scores), where, kinds)
