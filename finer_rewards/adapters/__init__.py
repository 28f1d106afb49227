"""What each trainer calls, turned into samples for a `Scorer`: `finer_rewards.adapters.trl` and so on, a file each.

One that is used is loaded, and no other; none imports its trainer before it is asked to.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

__all__ = ["nemo_gym", "openrlhf", "skyrl", "trl", "verifiers", "verl"]


def __getattr__(name: str) -> Any:
    if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")
