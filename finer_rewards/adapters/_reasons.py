"""The most frequent reasons why completions are no match, on stderr: for trainers whose own logs take only numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from statistics import fmean
from weakref import WeakKeyDictionary

from finer_rewards._util.locks import ForkSafeLock
from finer_rewards.components import frequent_reasons
from finer_rewards.scoring import Scorer
from finer_rewards.types import Score

EVERY = 256  # samples, where a trainer tells no step
_LOGGER = logging.getLogger("finer_rewards.reasons")
_LOCK = ForkSafeLock()
# By scorer: the step, and the scores of which nothing was said yet.
_KEPT: WeakKeyDictionary[Scorer, tuple[int | None, list[Score]]] = WeakKeyDictionary()


def tell_reasons(scorer: Scorer, scores: Iterable[Score], step: int | None = None) -> None:
    """Keep scores, and log a line about them once a step has ended, or `EVERY` have come of an unknown one.

    A process speaks of what it scored itself: a trainer that spreads a step over workers gets a line of each. The line
    is a warning, because nothing less is shown where logging is not set up; silence it by
    `logging.getLogger("finer_rewards.reasons").setLevel("ERROR")`.

    Args:
        scorer: what scored.
        scores: the scores.
        step: the training step they are of; `None` where the trainer tells none.
    """
    with _LOCK:
        before, kept = _KEPT.get(scorer, (step, []))
        ended: list[tuple[int | None, list[Score]]] = []
        # Where steps overlap, what comes late counts to the newest.
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
