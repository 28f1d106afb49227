"""One scorer a configuration and process, for trainers that call a function and keep no object."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from typing import Any

from finer_rewards.errors import ConfigError, suggest
from finer_rewards.executing import SQLite
from finer_rewards.memory import TraceMemory
from finer_rewards.presets import PRESETS, preset
from finer_rewards.scoring import Scorer

__all__ = ["scorer_for"]

_LOCK = Lock()


def scorer_for(spec: str, root: str, limits: Mapping[str, Any], memory: str | None = None) -> Scorer:
    """Return the scorer of this configuration, the same object for every call in this process.

    Args:
        spec: a reward as it prints, or the name of a preset.
        root: folder of the SQLite databases.
        limits: further arguments of `SQLite`.
        memory: folder of a `TraceMemory`, for rewards that search one.

    Raises:
        ConfigError: the spec, a limit or the memory cannot be used.
    """
    known = [name for name in inspect.signature(SQLite).parameters if name != "root"]
    for name in limits:
        if name not in known:
            raise ConfigError(
                f"Options should be of the adapter or of SQLite ({', '.join(known)}), but got {name!r}. "
                f"{suggest(name, known)}".rstrip()
            )
    with _LOCK:  # two threads at once must not start two sets of workers
        return _scorer(spec, root, memory, tuple(sorted(limits.items())))


@lru_cache(maxsize=32)
def _scorer(spec: str, root: str, memory: str | None, limits: tuple[tuple[str, Any], ...]) -> Scorer:
    reward = preset(spec) if spec in PRESETS else spec
    traces = None if memory is None else TraceMemory.open(memory, create=False)
    return Scorer(reward, SQLite(root, **dict(limits)), memory=traces)
