"""The rewards, by family. Each is a factory: `execution_match(mode="bird")` is a `Reward`."""

from finer_rewards.reward import clip, constant, gate, total
from finer_rewards.rewards.atomic import atomic_f1
from finer_rewards.rewards.completion import well_formed
from finer_rewards.rewards.execution import executable, execution_match

__all__ = ["atomic_f1", "clip", "constant", "executable", "execution_match", "gate", "total", "well_formed"]
