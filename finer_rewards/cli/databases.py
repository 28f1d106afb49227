"""What `--db` means: one file for every statement, or a folder in which each statement names its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from finer_rewards.engines.duckdb.files import SUFFIXES as DUCKDB_SUFFIXES
from finer_rewards.engines.duckdb.files import is_duckdb_place
from finer_rewards.engines.postgres.dsn import database_in
from finer_rewards.engines.registry import engine_of
from finer_rewards.engines.sqlite.files import SUFFIXES, resolve_database
from finer_rewards.errors import ConfigError, suggest
from finer_rewards.executing.databases import database_names, find_database

__all__ = ["Databases", "find_databases"]


class Databases(NamedTuple):
    """Where statements run.

    Args:
        root: the folder an executor looks in.
        names: the database of each statement.
        notes: what the user should know of the choice.
    """

    root: str
    names: list[str]
    notes: list[str]


def find_databases(path: str, named: Sequence[str | None], where: str) -> Databases:
    """Return the database of each statement.

    Args:
        path: the value of `--db`.
        named: the database id that each statement carries, if any.
        where: the file that carries them, for the messages.

    A file serves every statement; ids are not needed, and two different ones cannot both mean that file.
    In a folder every statement needs an id. Ids that the folder lacks are noted (those statements cannot be
    scored) unless it lacks them all.

    Raises:
        ConfigError: there is no such database, or the ids and the path do not go together.
    """
    if not path.strip():
        raise ConfigError(
            f"`--db` should be a database file or a folder of databases, but got {path!r}. Write its path."
        )
    place = Path(path)
    ids = sorted({name for name in named if name})
    engine = engine_of(path)
    if engine == "postgres":
        return _on_server(path, named, where)
    suffixes = DUCKDB_SUFFIXES if engine == "duckdb" else SUFFIXES
    if not place.is_dir() or (engine == "duckdb" and is_duckdb_place(place)):
        file = _file(place) if engine == "sqlite" else _duckdb(place)
        if len(ids) > 1:
            raise ConfigError(
                f"`--db` should be the folder that holds the {len(ids)} databases that {where} names "
                f"({_some(ids)}), but got the file {path}. Pass a folder laid out ID/ID.sqlite or ID.sqlite."
            )
        notes = [f"{where} names the database {name}; every statement runs on {path}." for name in ids]
        return Databases(".", [file] * len(named), notes if ids != [place.stem] else [])

    present = database_names(place, suffixes)
    if engine == "duckdb":
        present += [
            child.name for child in sorted(place.iterdir()) if child.is_dir() and is_duckdb_place(child)
        ]
    if not present:
        below = [
            child for child in sorted(place.iterdir()) if child.is_dir() and database_names(child, suffixes)
        ]
        hint = f"Did you mean {below[0]}? " if below else ""
        raise ConfigError(
            f"`--db` should be a database file or a folder laid out ID/ID.sqlite or ID.sqlite, "
            f"but there is no database in the folder {path}. {hint}Check the path."
        )
    for number, name in enumerate(named, 1):
        if not name:
            raise ConfigError(
                f"`--db` is the folder {path}, so every statement should name its database, but "
                f"statement {number} of {where} names none. Write `sql<TAB>db_id` lines, or pass one "
                f"file, such as {_resolve(present[0], place, engine)}."
            )
    missing = [name for name in ids if not _is_there(name, place, engine)]
    if len(missing) == len(ids):
        near = suggest(missing[0], present) if len(missing) == 1 else ""
        raise ConfigError(
            f"`--db` should be a folder that holds the databases that {where} names ({_some(ids)}), "
            f"but {path} holds none of them; it has {_some(present)}. {near}Check the folder and the ids."
        )
    notes = []
    if missing:
        count = sum(name in set(missing) for name in named)
        notes = [
            f"{len(missing)} of {len(ids)} databases are missing or unreadable in {path} ({_some(missing)}): "
            f"{count} statement{'s' * (count != 1)} cannot be scored."
        ]
    return Databases(str(place), [str(name) for name in named], notes)


def _file(place: Path) -> str:
    if not place.exists():
        near = suggest(place.name, (entry.name for entry in place.absolute().parent.glob("*")))
        raise ConfigError(
            f"`--db` should be a database file, or a folder of databases, but there is nothing at {place}. "
            f"{near}Check the path."
        )
    try:
        return str(resolve_database(str(place.absolute())))
    except ConfigError as error:
        raise ConfigError(str(error).replace("`db`", "`--db`", 1)) from None


def _on_server(dsn: str, named: Sequence[str | None], where: str) -> Databases:
    """A dsn that names a database serves every statement, as a file does; one that does not, as a folder does."""
    its_own = database_in(dsn)
    if its_own:
        return Databases(dsn, [name or its_own for name in named], [])
    for number, name in enumerate(named, 1):
        if not name:
            raise ConfigError(
                f"`--db` should name a database of the server, since statement {number} of {where} names none. "
                "Write postgresql://reader@host/NAME."
            )
    return Databases(dsn, [str(name) for name in named], [])


def _duckdb(place: Path) -> str:
    try:
        return str(find_database(str(place.absolute()), ".", DUCKDB_SUFFIXES, is_duckdb_place))
    except ConfigError as error:
        raise ConfigError(str(error).replace("`db`", "`--db`", 1)) from None


def _resolve(name: str, place: Path, engine: str) -> Path:
    if engine == "duckdb":
        return find_database(name, place, DUCKDB_SUFFIXES, is_duckdb_place)
    return resolve_database(name, place)


def _is_there(name: str, place: Path, engine: str) -> bool:
    try:
        _resolve(name, place, engine)
    except ConfigError:
        return False
    return True


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
