"""The registry of engines, and the choice of the engine for a path or address. No other shared code names an engine."""

from __future__ import annotations

import os

from finer_rewards.engines.duckdb.engine import DUCKDB
from finer_rewards.engines.engine import Engine
from finer_rewards.engines.postgres.engine import POSTGRES
from finer_rewards.engines.sqlite.engine import SQLITE
from finer_rewards.errors import ConfigError, suggest

__all__ = ["engine_at", "register_engine"]

#: By name. The engine registered last is asked first whether a place is its own; SQLite takes every place left over.
ENGINES: dict[str, Engine] = {engine.name: engine for engine in (SQLITE, DUCKDB, POSTGRES)}
_SHIPPED = frozenset(ENGINES)


def register_engine(engine: Engine) -> Engine:
    """Make an engine known to the command line, the adapters and all else that goes by places; return it.

    It replaces an engine that was registered under the same name before, so that a module may be imported again.

    Raises:
        ConfigError: the name is that of an engine of this package.
    """
    if engine.name in _SHIPPED:
        raise ConfigError(
            f"`name` should be that of no shipped engine, but got {engine.name!r}. Choose another name."
        )
    ENGINES[engine.name] = engine
    return engine


def engine_at(place: str | os.PathLike[str]) -> Engine:
    """Return the engine for a place: the path of a file or folder, or the address of a server.

    Example:
        >>> [engine_at(place).name for place in ("postgresql://reader@localhost/concert", "x.duckdb", "x.sqlite")]
        ['postgres', 'duckdb', 'sqlite']
    """
    text = os.fspath(place)
    return next(engine for engine in reversed(ENGINES.values()) if engine.owns(text))


def engine_named(name: str) -> Engine:
    """Return the engine with a name.

    Raises:
        ConfigError: no engine has it.
    """
    if name not in ENGINES:
        raise ConfigError(
            f"`engine` should be one of {', '.join(ENGINES)}, but got {name!r}. {suggest(name, ENGINES)}".rstrip()
        )
    return ENGINES[name]


def is_address(text: str) -> bool:
    """Return whether a text says how to reach a database server, rather than naming a path or a database."""
    return any(engine.addresses(text) for engine in ENGINES.values())


def suffixes() -> frozenset[str]:
    """Return the suffixes of the database files of all engines."""
    return frozenset(suffix for engine in ENGINES.values() for suffix in engine.suffixes)
