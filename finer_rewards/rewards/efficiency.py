"""Rewards on the cost of a query beside the gold's. They ignore its result: put them behind a match."""

from __future__ import annotations

from typing import Literal

from finer_rewards.metrics import efficiency
from finer_rewards.reward import reward
from finer_rewards.rewards.execution import did_not_run
from finer_rewards.types import Evidence, Score

__all__ = ["speed"]

_LEAST_SECONDS = 1e-6


@reward(needs={"execution"})
def speed(evidence: Evidence, *, measure: Literal["r_ves", "ves"] = "r_ves") -> Score:
    r"""How fast the predicted SQL ran beside the gold SQL: in {0.25, ..., 1.25}, or from 0 up for `ves`.

    Formula: `ves` is √(t_g / t_p); `r_ves` is 1.25 for t_g / t_p >= 2, 1 from 1, 0.75 from 0.5, 0.5 from
    0.25, else 0.25. Times over all databases are added; of several golds the slowest counts. 0 when the
    prediction does not run.

    One run each is timed, on a machine that does other work: equal queries differ by tens of per cent, and
    `r_ves` of a query equal to gold is 0.75 or 1 by chance. Golds are kept from earlier batches, so their
    time may be an older one. Measure with `finer-rewards evaluate --repeat` instead of training on it.

    Args:
        measure: which formula.

    Example:
        >>> speed(measure="ves")
        speed(measure='ves')

    References:
        Li et al., BIRD, NeurIPS 2023, section 5 (VES); BIRD mini-dev, 2024 (R-VES).
    """
    predicted = 0.0
    for trial in evidence.trials:
        if trial.predicted is None or not trial.predicted.ok:
            return did_not_run(trial.predicted)
        predicted += trial.predicted.seconds
    columns = zip(*(trial.golds for trial in evidence.trials), strict=True)
    gold = max(sum(run.seconds for run in column) for column in columns if all(run.ok for run in column))
    ratio = max(gold, _LEAST_SECONDS) / max(predicted, _LEAST_SECONDS)
    value = efficiency.r_ves(ratio) if measure == "r_ves" else efficiency.ves(ratio)
    return Score(value, f"{predicted:.6f} s, gold {gold:.6f} s")
