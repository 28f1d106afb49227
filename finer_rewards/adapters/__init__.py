"""What each trainer calls, turned into samples for a `Scorer`: `finer_rewards.adapters.trl` and so on, a file each.

One that is used is loaded, and no other; none imports its trainer before it is asked to.
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
