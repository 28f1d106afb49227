"""Rewards on the cost of a query beside the gold's. They ignore its result: put them behind a match."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean, pstdev
from typing import Literal

from finer_rewards.reward import reward
from finer_rewards.rewards.execution import did_not_run
from finer_rewards.types import Evidence, Execution, Score, Status, unscored

#: Below it, measurements of efficiency say nothing: a query as fast as gold gets anything from 0.7 to 1.3.
LEAST_REPEATS = 5

_LEAST_SECONDS = 1e-6
_STEPS = 1000
_LEVELS = ((2.0, 1.25), (1.0, 1.0), (0.5, 0.75), (0.25, 0.5))


def ves(ratio: float) -> float:
    r"""Return $\sqrt{t_g / t_p}$ of a right query: 1 as fast as gold, above 1 when it is faster.

    Args:
        ratio: the gold query's time divided by the predicted query's.

    Example:
        >>> ves(4.0)
        2.0

    References:
        Li et al., BIRD, 2023, section 5 (VES; reported times 100).
    """
    return math.sqrt(ratio)


def r_ves(ratio: float) -> float:
    """Return BIRD's reward for the speed of a right query, in {0.25, 0.5, 0.75, 1, 1.25}.

    1.25 from ratio 2, 1 from 1, 0.75 from 0.5, 0.5 from 0.25, else 0.25. Known to judge wrongly: a query as
    fast as gold is at a step, so noise decides between 0.75 and 1.

    Args:
        ratio: the gold query's time divided by the predicted query's.

    Example:
        >>> r_ves(1.0), r_ves(0.99)
        (1.0, 0.75)

    References:
        Li et al., BIRD mini-dev, 2024, `evaluation_ves.py` (reported as the root, times 100).
    """
    return next((value for least, value in _LEVELS if ratio >= least), 0.25)


def steady_ratio(ratios: Sequence[float]) -> float:
    """Return the mean of repeated measurements, those at or beyond three standard deviations left out.

    BIRD leaves out all of them when they are equal, and so scores 0; here their mean stands.

    Args:
        ratios: at least one measured ratio.

    Example:
        >>> steady_ratio([1.0] * 20 + [100.0]), steady_ratio([2.0])
        (1.0, 2.0)
    """
    middle, deviation = fmean(ratios), pstdev(ratios)
    kept = [ratio for ratio in ratios if abs(ratio - middle) < 3 * deviation]
    return fmean(kept) if kept else middle


@reward(needs={"execution"})
def speed(
    evidence: Evidence,
    *,
    measure: Literal["r_ves", "ves"] = "r_ves",
    clock: Literal["seconds", "steps"] = "seconds",
) -> Score:
    r"""How cheap the predicted SQL was beside the gold SQL: in {0.25, ..., 1.25}, or from 0 up for `ves`.

    Formula: `ves` is √(t_g / t_p); `r_ves` is 1.25 for t_g / t_p >= 2, 1 from 1, 0.75 from 0.5, 0.5 from
    0.25, else 0.25. Times over all databases are added; of several golds the slowest counts. 0 when the
    prediction does not run.

    With `clock="seconds"`, as published, one run each is timed on a machine that does other work: equal
    queries differ by tens of per cent, and `r_ves` of a query equal to gold is 0.75 or 1 by chance. Golds are
    kept from earlier batches, so their time may be an older one. `finer-rewards evaluate --repeat` measures
    better. With `clock="steps"` time is the opcodes SQLite ran, in thousands and one more: the same every
    time, on every machine, and 1 for any two queries that are both short.

    Args:
        measure: which formula.
        clock: what is time: seconds, or opcodes of SQLite's virtual machine.

    Returns:
        A number; `None` when steps are asked of an engine that does not count them.

    Example:
        >>> speed(measure="ves", clock="steps")
        speed(measure='ves', clock='steps')

    References:
        Li et al., BIRD, NeurIPS 2023, section 5 (VES); BIRD mini-dev, 2024 (R-VES).
    """
    runs: list[Execution] = []
    for trial in evidence.trials:
        if trial.predicted is None or not trial.predicted.ok:
            return did_not_run(trial.predicted)
        runs.append(trial.predicted)
    columns = zip(*(trial.golds for trial in evidence.trials), strict=True)
    golds = [column for column in columns if all(run.ok for run in column)]
    if clock == "steps" and any(run.steps is None for column in (runs, *golds) for run in column):
        return unscored(Status.unavailable, "This engine does not count steps. Use clock='seconds'.")
    cost: Callable[[Execution], float] = _steps if clock == "steps" else _seconds
    own, gold = sum(map(cost, runs)), max(sum(map(cost, column)) for column in golds)
    value = r_ves(gold / own) if measure == "r_ves" else ves(gold / own)
    return Score(value, f"{own:.6g} {clock}, gold {gold:.6g}")


def _seconds(run: Execution) -> float:
    return max(run.seconds, _LEAST_SECONDS)


def _steps(run: Execution) -> float:
    return (run.steps or 0) + _STEPS
