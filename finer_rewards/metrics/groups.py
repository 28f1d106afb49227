"""What depends on a whole group of completions, and so cannot be a reward: a reward sees one sample."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from finer_rewards.errors import ConfigError

__all__ = ["length_penalised"]


def length_penalised(
    values: Sequence[float | None],
    completions: Sequence[str],
    *,
    strength: float = 0.1,
    right_above: float = 0.5,
    floor: float = 0.2,
    most: float = 0.9,
) -> list[float | None]:
    r"""Return the scores of one group, less a penalty on completions longer than its right ones.

    With mean $m$ and standard deviation $s$ of the lengths of the completions scored above `right_above`,
    $$ v' = \max(0, v - \min(most, strength \cdot z)), \qquad z = (length - m) / \max(s, floor \cdot m) $$
    where $v > 0$ and $z > 0$; other scores stay, and all do when fewer than two completions are right.

    Apply it to the values of one GRPO group after scoring. A right answer can fall below a shorter wrong one.

    Args:
        values: the scores of the group; `None` stays `None`.
        completions: the texts, as many.
        strength: price of one standard deviation.
        right_above: a score above this counts as right.
        floor: least standard deviation, as a share of the mean.
        most: largest penalty.

    Raises:
        ConfigError: the two sequences differ in length.

    Example:
        >>> length_penalised([1.0, 1.0, 0.5], ["x" * 10, "x" * 10, "x" * 14])
        [1.0, 1.0, 0.3]

    References:
        Papicchio et al., Think2SQL, 2025, code (`apply_dynamic_len_penalty`).
    """
    if len(values) != len(completions):
        raise ConfigError(
            f"`length_penalised(values, completions)` should get as many of both, but got {len(values)} and "
            f"{len(completions)}. Pass one group."
        )
    right = [
        len(text)
        for value, text in zip(values, completions, strict=True)
        if value is not None and value > right_above
    ]
    if len(right) < 2:
        return list(values)
    middle = mean(right)
    deviation = max(stdev(right), floor * middle)

    def penalised(value: float | None, length: int) -> float | None:
        if value is None or value <= 0 or length <= middle or not deviation:
            return value
        return max(0.0, value - min(most, strength * (length - middle) / deviation))

    return [penalised(value, len(text)) for value, text in zip(values, completions, strict=True)]
