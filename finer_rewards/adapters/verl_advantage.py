"""verl: the advantage estimator `finer_lost_groups`, for a reward with `in_lost_groups`.

    VERL_USE_EXTERNAL_MODULES=finer_rewards.adapters.verl_advantage python -m verl.trainer.main_ppo ... \\
        algorithm.adv_estimator=finer_lost_groups

`finer_rewards.adapters.verl.overrides(..., lost_groups=True)` writes what belongs on the command line. verl's reward
workers see one completion at a time; here its whole group is in sight. A right answer has a score of 1 and a wrong one
less; beside a right one a wrong one is worth 0.
"""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from typing import Any

from finer_rewards.errors import ConfigError
from finer_rewards.extras import extra

__all__ = ["lost_groups_advantage", "register"]

_LOGGER = logging.getLogger("finer_rewards")


def lost_groups_advantage(
    token_level_rewards: Any, response_mask: Any, index: Any, config: Any = None, **_: Any
) -> tuple[Any, Any]:
    """Return verl's GRPO advantages of scores that count closeness only in groups without a right answer.

    The share of groups that teach nothing is logged as `finer/silent_groups`.

    Args:
        token_level_rewards: of shape (samples, tokens).
        response_mask: of the same shape.
        index: the group of each sample.
        config: verl's `algorithm`; `norm_adv_by_std_in_grpo` is followed.

    Raises:
        ConfigError: KL is in the reward, so that scores tell no right answer from a wrong one.

    References:
        verl 0.9.1, `verl.trainer.ppo.core_algos.compute_grpo_outcome_advantage`.
    """
    settings = config or {}
    if settings.get("use_kl_in_reward", False):
        raise ConfigError(
            "`algorithm.use_kl_in_reward` should be False with finer_lost_groups, but got True. "
            "Use actor_rollout_ref.actor.use_kl_loss=True."
        )
    from verl.trainer.ppo.core_algos import compute_grpo_outcome_advantage

    scores = token_level_rewards.sum(-1).tolist()
    rows: dict[Any, list[int]] = defaultdict(list)
    for row, group in enumerate(index):
        rows[group].append(row)
    rewards, silent = token_level_rewards.clone(), 0
    for members in rows.values():
        values = [scores[row] for row in members]
        if max(values) >= 1:
            values = [float(value >= 1) for value in values]
            rewards[[row for row in members if scores[row] < 1]] = 0
        silent += len(set(values)) < 2
    _LOGGER.info("finer/silent_groups: %.3f of %d", silent / max(1, len(rows)), len(rows))
    found: tuple[Any, Any] = compute_grpo_outcome_advantage(
        rewards,
        response_mask,
        index,
        norm_adv_by_std_in_grpo=settings.get("norm_adv_by_std_in_grpo", True),
        config=config,
    )
    return found


def register() -> None:
    """Tell verl of the estimator.

    Raises:
        MissingExtraError: verl is not installed.
    """
    with extra("verl", "finer_lost_groups", "verl"):
        from verl.trainer.ppo.core_algos import register_adv_est
    register_adv_est("finer_lost_groups")(lost_groups_advantage)


if "verl" in sys.modules:  # it was verl that imported this
    register()
