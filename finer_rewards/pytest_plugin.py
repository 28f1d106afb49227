"""A pytest fixture that tries the attacks and laws of `finer-rewards redteam` on a reward function.

def test_my_reward_cannot_be_cheated(redteam):
    redteam(my_reward, template="<think>{thought}</think><answer>{sql}</answer>", allow=("constant",))
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from finer_rewards.testing.attacking import Report

__all__ = ["redteam"]


@pytest.fixture(name="redteam")
def redteam() -> Callable[..., Report]:
    """Return a function that fails the test if an attack on a reward is accepted or a law is broken.

    It takes the arguments of `finer_rewards.testing.redteam`, and `allow`, the kinds of attacks that may succeed. It
    returns the report.
    """
    # This is not imported above, because every pytest run in an environment with this package loads the plugin.
    from finer_rewards.testing.attacking import KINDS
    from finer_rewards.testing.attacking import redteam as run

    def check(reward: Any, *, allow: Collection[str] = (), **options: Any) -> Report:
        options.setdefault("kinds", [kind for kind in KINDS if kind not in allow])
        report = run(reward, **options)
        if report.failures:
            pytest.fail("\n".join(report.lines()), pytrace=False)
        return report

    return check
