"""How fast a right query is beside the gold query: BIRD's formulas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, pstdev

__all__ = ["r_ves", "steady_ratio", "ves"]

_STEPS = ((2.0, 1.25), (1.0, 1.0), (0.5, 0.75), (0.25, 0.5))


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
    return next((value for least, value in _STEPS if ratio >= least), 0.25)


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
