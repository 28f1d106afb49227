"""Adapters: they turn what a trainer passes to a reward function into samples, score them, and return what it expects.

There is one file for each trainer, such as `finer_rewards.adapters.trl`. Only the one that is used is loaded, and none
imports its trainer before that is needed. `scorers.py` and `_training_rows.py` are shared by all.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def __getattr__(name: str) -> Any:
    if name not in __dir__():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
