"""`Engine`, the record by which the rest of the library knows an engine; `registry.py` keeps one for each."""

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

__all__ = ["Check", "Engine", "Fact", "Place", "files_at"]


@dataclass(frozen=True)
class Place:
    """What a user's path or address stands for: one database, or a root with several.

    Args:
        root: the executor's argument that says where databases are found.
        database: the one database that serves every statement; empty when each statement names its own.
        names: the ids of the databases; `None` when only a server knows them.
        options: further arguments for the executor.
    """

    root: str
    database: str = ""
    names: Sequence[str] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class Fact(NamedTuple):
    """A line that `doctor` prints about an engine on this machine, with advice if something is wrong."""

    name: str
    ok: bool
    found: str
    advice: str = ""


class Check(NamedTuple):
    """A query that `doctor` tries, and the status it must end with; the database has a table t (x) with 1 and 2."""

    name: str
    sql: str
    status: str


@dataclass(frozen=True)
class Engine:
    """All that the rest of the library knows of an engine.

    Args:
        name: its name in `--engine` and in signatures.
        executor: makes its executor; takes the root first, then limits by name.
        owns: says whether a place (a path or an address) belongs to this engine.
        look: says what such a place holds.
        suffixes: the suffixes of its database files.
        addresses: says whether a text is the address of a server of this engine, rather than a path or a name.
        extra: the name in `pip install 'finer-rewards[EXTRA]'` that installs what it needs; empty if nothing.
        packages: the packages that it needs, by the names they are imported under.
        facts: returns the lines that `doctor` prints about it.
        checks: the queries that `doctor` tries with it.
        warn: takes a new executor and returns a warning for the user; empty when there is none.

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
    """Return what a path holds: one database, or a folder of them.

    Args:
        place: the path.
        suffixes: the suffixes of database files.
        is_database: says whether a path is one database; for some engines a folder can be one.
    """
    path = Path(place)
    if not path.is_dir() or is_database(path):
        return Place(".", str(path.absolute()))
    folders = [child.name for child in sorted(path.iterdir()) if child.is_dir() and is_database(child)]
    return Place(str(path), names=[*database_names(path, suffixes), *folders])


def changes_fact(name: str, installed: str, changes: Mapping[str, str]) -> Fact:
    """Return how the installed version of an engine differs from newer ones in ways that may change a score.

    Args:
        name: the engine's name.
        installed: its version.
        changes: what older versions do, by the first version that no longer does it.

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
    """Return the version of the package that an engine needs, or how to install it."""
    if find_spec(package) is None:
        return Fact(name, False, "missing", f"pip install 'finer-rewards[{extra}]'")
    try:
        return Fact(name, True, f"{package} {version(package)}")
    except PackageNotFoundError:
        return Fact(name, True, f"{package}, of no known version")
