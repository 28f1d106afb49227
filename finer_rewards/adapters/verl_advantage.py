"""verl: advantage estimators that see the whole group, which verl's reward workers do not.

    VERL_USE_EXTERNAL_MODULES=finer_rewards.adapters.verl_advantage python -m verl.trainer.main_ppo ... \\
        algorithm.adv_estimator=finer_groups

`finer_groups` is GRPO without what could not be scored; `finer_lost_groups` is that for a reward with `in_lost_groups`:
a right answer has a score of 1 and a wrong one less, and beside a right one a wrong one is worth 0. What could not be
scored is known by its score: `compute_score` gives the number `LEFT_OUT`, which no real score equals.
`finer_rewards.adapters.verl.overrides(..., left_out=True)`, or `lost_groups=True`, writes what belongs on the command
line.
"""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from finer_rewards._util.extras import extra
from finer_rewards.adapters._training_rows import LEFT_OUT
from finer_rewards.errors import ConfigError

__all__ = ["group_advantage", "lost_groups_advantage", "register"]

_LOGGER = logging.getLogger("finer_rewards")


def group_advantage(
    token_level_rewards: Any, response_mask: Any, index: Any, config: Any = None, **_: Any
) -> tuple[Any, Any]:
    """Return verl's GRPO advantages among what was scored; what was not has 0, and no part in mean and deviation.

    The share of groups that teach nothing is logged as `finer/silent_groups`.

    Args:
        token_level_rewards: of shape (samples, tokens).
        response_mask: of the same shape.
        index: the group of each sample.
        config: verl's `algorithm`; `norm_adv_by_std_in_grpo` is followed.

    Raises:
        ConfigError: KL is in the reward, so that scores do not tell what was not scored.

    References:
        verl 0.9.1, `verl.trainer.ppo.core_algos.compute_grpo_outcome_advantage`.
    """
    return _advantages(token_level_rewards, response_mask, index, config or {}, beside_right=False)


def lost_groups_advantage(
    token_level_rewards: Any, response_mask: Any, index: Any, config: Any = None, **_: Any
) -> tuple[Any, Any]:
    """Return what `group_advantage` does, of scores that count closeness only in groups without a right answer.

    Raises:
        ConfigError: KL is in the reward, so that scores tell no right answer from a wrong one.
    """
    return _advantages(token_level_rewards, response_mask, index, config or {}, beside_right=True)


def _advantages(
    token_level_rewards: Any, response_mask: Any, index: Any, settings: Any, *, beside_right: bool
) -> tuple[Any, Any]:
    if settings.get("use_kl_in_reward", False):
        raise ConfigError(
            "`algorithm.use_kl_in_reward` should be False with finer_groups and finer_lost_groups, but got True. "
            "Use actor_rollout_ref.actor.use_kl_loss=True."
        )
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    scores: list[float] = token_level_rewards.sum(-1).tolist()
    groups = _groups(scores, index)
    rewards, silent = token_level_rewards.clone(), 0
    for members in groups.values():
        values = [scores[row] for row in members]
        if beside_right and max(values, default=0) >= 1:
            values = [float(value >= 1) for value in values]
            rewards[[row for row in members if scores[row] < 1]] = 0
        silent += len(set(values)) < 2
    _LOGGER.info("finer/silent_groups: %.3f of %d", silent / max(1, len(groups)), len(groups))
    # Alone in its group a sample keeps its reward in verl; not one whose group is alone because the others were lost.
    alone = {group for group, members in groups.items() if len(members) == 1 < list(index).count(group)}
    rows = sorted(row for group, members in groups.items() if group not in alone for row in members)
    advantages = rewards * 0
    if rows:
        advantages[rows], _ = compute_grpo_outcome_advantage(
            rewards[rows],
            response_mask[rows],
            [index[row] for row in rows],
            norm_adv_by_std_in_grpo=settings.get("norm_adv_by_std_in_grpo", True),
            config=settings,
        )
    return advantages, advantages


def _groups(scores: Sequence[float], index: Sequence[Any]) -> Mapping[Any, list[int]]:
    """Return the rows of each group that were scored."""
    rows: dict[Any, list[int]] = defaultdict(list)
    for row, group in enumerate(index):
        rows[group] += [row] if scores[row] != LEFT_OUT else []
    return rows


def register() -> None:
    """Tell verl of the estimators.

    Raises:
        MissingExtraError: verl is not installed.
    """
    with extra("verl", "finer_groups", "verl"):
        from verl.trainer.ppo.core_algos import register_adv_est
    register_adv_est("finer_groups")(group_advantage)
    register_adv_est("finer_lost_groups")(lost_groups_advantage)


# It was verl that imported this, by VERL_USE_EXTERNAL_MODULES.
if "verl" in sys.modules:
    register()
