"""Deciding that a sample has no score, because something it needs could not be observed.

That is the fault of the data (a gold that fails) or of the system (a lost database). A fault of the model is not
decided here: it is scored. `Reward.__call__` asks here first, so that no reward can forget it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from finer_rewards.types import Evidence, Execution, Neighbourhood, Score, Status, Trial, unscored

#: How a gold's run ended -> the status of a sample whose only gold ended so.
_GOLD_FAULTS: Final[Mapping[Status, Status]] = {
    Status.no_sql: Status.no_gold,
    Status.not_a_query: Status.gold_failed,
    Status.several_statements: Status.gold_failed,
    Status.refused: Status.gold_failed,
    Status.failed: Status.gold_failed,
    Status.timeout: Status.gold_timeout,
    Status.too_large: Status.gold_too_large,
}


# Whoever is to blame if not the model.
_OTHERS: Final = frozenset(("system", "data"))


def fault_of(needs: Iterable[str], evidence: Evidence) -> Score | None:
    """Return the score, with no value, of a sample in which something needed is missing; `None` if nothing is.

    Args:
        needs: what the reward needs to be observed, as in `finer_rewards.reward.NEEDS`.
        evidence: what was observed.
    """
    for need in needs:
        if need.startswith("as:"):
            fault = _of_trials(evidence.readings.get(need[3:], evidence.trials), predicted=True, gold=True)
        elif need in ("execution", "predicted", "gold"):
            fault = _of_trials(evidence.trials, predicted=need != "gold", gold=need != "predicted")
        elif need == "memory" and evidence.recall is not None and not evidence.recall.status.scorable:
            fault = unscored(evidence.recall.status, evidence.recall.error)
        elif need in ("neighbours", "neighbours:asked") and evidence.neighbours is not None:
            fault = _of_neighbours(evidence.neighbours, asked=need == "neighbours:asked")
        elif need == "schema" and evidence.schema_error:
            fault = unscored(evidence.schema_status, evidence.schema_error)
        else:
            fault = None
        if fault is not None:
            return fault
    return None


def _of_neighbours(neighbours: Neighbourhood, *, asked: bool) -> Score | None:
    if asked and not neighbours.asked:
        return None
    if not neighbours.status.scorable:
        return unscored(neighbours.status, neighbours.error)
    for by_gold in neighbours.readings.values():
        for trials in by_gold:
            for run in (run for trial in trials for run in (trial.predicted, *trial.golds)):
                if run is not None and run.status.blame in _OTHERS:
                    return unscored(run.status, run.error)
    return None


def _of_trials(trials: tuple[Trial, ...], *, predicted: bool, gold: bool) -> Score | None:
    for trial in trials:
        run = trial.predicted
        if predicted and run is not None and run.status.blame in _OTHERS:
            return unscored(run.status, run.error)
        for run in trial.golds if gold else ():
            if run.status.blame in _OTHERS:
                return unscored(run.status, run.error)
    if gold:
        if not trials or not trials[0].golds:
            return unscored(Status.no_gold)
        if len(trials) == 1 and trials[0].golds[0].ok:
            return None
        # One usable gold is enough, but it has to be usable on every database.
        for column in zip(*(trial.golds for trial in trials), strict=True):
            if all(run.ok for run in column):
                return None
        broken: Execution = next(run for trial in trials for run in trial.golds if not run.ok)
        return unscored(_GOLD_FAULTS[broken.status], broken.error)
    return None
