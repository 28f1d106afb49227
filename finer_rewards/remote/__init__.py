"""Executors and memories in other processes: clients of `finer-rewards serve`, and actors of a Ray cluster.

The clients of a server need only the standard library. Nothing is loaded before it is used.
Import from here: the modules inside are private.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from finer_rewards.remote.ray_executor import RayExecutor
    from finer_rewards.remote.ray_memory import RayMemory
    from finer_rewards.remote.remote_executor import Remote
    from finer_rewards.remote.remote_memory import RemoteMemory

__all__ = ["RayExecutor", "RayMemory", "Remote", "RemoteMemory"]

_WHERE = {
    "RayExecutor": "ray_executor",
    "RayMemory": "ray_memory",
    "Remote": "remote_executor",
    "RemoteMemory": "remote_memory",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
