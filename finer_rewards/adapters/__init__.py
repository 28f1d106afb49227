"""What each trainer calls, turned into samples for a `Scorer`. No adapter imports its trainer before it is asked to."""

from finer_rewards.adapters import nemo_gym, openrlhf, skyrl, trl, verifiers, verl

__all__ = ["nemo_gym", "openrlhf", "skyrl", "trl", "verifiers", "verl"]
