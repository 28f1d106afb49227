"""What everybody else may know of an engine: one record each, kept by the registry."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from finer_rewards.executing.databases import database_names
from finer_rewards.executing.pooled import PooledExecutor

__all__ = ["Check", "Engine", "Fact", "Place", "changes_fact", "files_at", "package_fact"]


@dataclass(frozen=True)
class Place:
    """What lies at a path, or behind an address.

    Args:
        root: what an executor is given to find the databases.
        database: the one that serves every statement; empty where each statement names its own.
        names: those that are there; `None` where only a server knows.
        options: what else an executor is given.
    """

    root: str
    database: str = ""
    names: Sequence[str] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Fact(NamedTuple):
    """What `doctor` finds of an engine on this machine, and what mends it."""

    name: str
    ok: bool
    found: str
    advice: str = ""


class Check(NamedTuple):
    """What `doctor` tries on a SQLite file with a table t (x) of 1 and 2, and the status it must end with."""

    name: str
    sql: str
    status: str


@dataclass(frozen=True)
class Engine:
    """All that is known of an engine outside its folder.

    Args:
        name: as `--engine` and signatures have it.
        executor: runs its SQL; takes the root first, then limits by name.
        owns: whether a place (a path or an address) is this engine's.
        look: says what lies at a place that is.
        suffixes: what the names of its database files end in.
        addresses: whether a text is the address of a server of this engine's, rather than a path or a name.
        extra: what `pip install 'finer-rewards[EXTRA]'` installs for it.
        packages: those that it needs, by the names they are imported under.
        facts: what `doctor` says of it.
        checks: what `doctor` tries with it.
        warn: what a user should know of an executor that was made; empty when there is nothing.

    Example:
        >>> from finer_rewards.engines.registry import ENGINES
        >>> ENGINES["duckdb"].owns("concert.duckdb"), ENGINES["duckdb"].executor.__name__
        (True, 'DuckDB')
    """

    name: str
    executor: Callable[..., PooledExecutor]
    owns: Callable[[str], bool]
    look: Callable[[str], Place]
    suffixes: tuple[str, ...] = ()
    addresses: Callable[[str], bool] = lambda text: False
    extra: str = ""
    packages: tuple[str, ...] = ()
    facts: Callable[[], Sequence[Fact]] = lambda: ()
    checks: tuple[Check, ...] = ()
    warn: Callable[[PooledExecutor], str] = lambda executor: ""


def files_at(
    place: str | os.PathLike[str],
    suffixes: tuple[str, ...],
    is_database: Callable[[Path], bool] = Path.is_file,
) -> Place:
    """Return what lies at a path: one database, or a folder of them.

    Args:
        place: the path.
        suffixes: what the names of database files end in.
        is_database: whether a path may be one database; a folder may, where an engine reads such.
    """
    path = Path(place)
    if not path.is_dir() or is_database(path):
        return Place(".", str(path.absolute()))
    folders = [child.name for child in sorted(path.iterdir()) if child.is_dir() and is_database(child)]
    return Place(str(path), names=[*database_names(path, suffixes), *folders])


def changes_fact(name: str, installed: str, changes: Mapping[str, str]) -> Fact:
    """Return what an engine does otherwise than its newer versions, which may move a score.

    Args:
        name: of the engine.
        installed: its version.
        changes: what older versions do, by the version that does it no more.

    Example:
        >>> changes_fact("SQLite", "3.45.1", {"3.44": "no CONCAT", "3.46": "date('2023-02-29') is itself"}).found
        "date('2023-02-29') is itself (until 3.46)"
    """
    older = [
        f"{what} (until {since})" for since, what in changes.items() if _number(installed) < _number(since)
    ]
    return Fact(f"{name} among versions", True, "; ".join(older) or "as the newest that is known")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def package_fact(name: str, package: str, extra: str) -> Fact:
    """Return what is to be said of the package that an engine needs."""
    if find_spec(package) is None:
        return Fact(name, False, "missing", f"pip install 'finer-rewards[{extra}]'")
    try:
        return Fact(name, True, f"{package} {version(package)}")
    except PackageNotFoundError:
        return Fact(name, True, f"{package}, of no known version")
