"""What `--db` means: one database for every statement, or a place in which each statement names its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from finer_rewards.engines.engine import Engine, Place
from finer_rewards.engines.registry import engine_at, engine_named
from finer_rewards.errors import ConfigError, suggest
from finer_rewards.executing.databases import is_database_text


class ChosenDatabases(NamedTuple):
    """What `--db` turned out to mean.

    Args:
        engine: the engine that runs the statements.
        place: what lies at `--db`: one database, or a folder or server with several.
        path: the value of `--db`.
        names: the database of each statement.
        where: the file that named the databases, for messages.
        notes: what the user should know of this choice.
    """

    engine: Engine
    place: Place
    path: str
    names: Sequence[str]
    where: str = ""
    notes: Sequence[str] = ()

    def missing(self, find: Callable[..., object]) -> list[str]:
        """Look once for each database, and return a sentence about those that are missing, if any are.

        Args:
            find: called as `find(database)`, or `find(database, called=what its message should call it)`; raises
                `ConfigError` if the database is not there.

        Raises:
            ConfigError: all databases are missing, or `--db` is a single one that cannot be read.
        """
        if self.place.database:
            find(self.place.database, called="--db")
            return []
        ids = sorted(set(self.names))
        missing = []
        for name in ids:
            try:
                find(name)
            except ConfigError:
                missing.append(name)
        if not missing:
            return []
        if len(missing) == len(ids):
            present = self.place.names or ()
            near = suggest(missing[0], present) if len(missing) == 1 else ""
            raise ConfigError(
                f"`--db` should be a folder that holds the databases that {self.where} names ({_some(ids)}), "
                f"but {self.path} holds none of them; it has {_some(present)}. {near}Check the folder and the ids."
            )
        count = sum(name in set(missing) for name in self.names)
        return [
            f"{len(missing)} of {len(ids)} databases are missing or unreadable in {self.path} ({_some(missing)}): "
            f"{count} statement{'s' * (count != 1)} cannot be scored."
        ]


def find_databases(
    path: str, named: Sequence[str | None], where: str, engine: str | None = None
) -> ChosenDatabases:
    """Return the database of each statement.

    If `--db` is one file, it serves every statement: ids are not needed, and it is an error if two statements name
    different ones. If it is a folder with one database, or the address of a server's database, statements without an id
    mean that one. Otherwise every statement needs an id. `ChosenDatabases.missing` sees which of them are there.

    Args:
        path: the value of `--db`.
        named: the database id that each statement carries, if any.
        where: the file that carries them, for the messages.
        engine: the value of `--engine`.

    Raises:
        ConfigError: no database lies there, or the ids and the path do not go together.
    """
    if not path.strip():
        raise ConfigError(
            f"`--db` should be a database file or a folder of databases, but got {path!r}. Write its path."
        )
    chosen = engine_named(engine) if engine else engine_at(path)
    server = chosen.addresses(path)
    if not server:
        _check_exists(path)
    place = chosen.look(path)
    ids = sorted({name for name in named if name})
    if place.database and server:
        return ChosenDatabases(chosen, place, path, [name or place.database for name in named], where)
    if place.database:
        notes = _notes_on_one_file(path, ids, where)
        return ChosenDatabases(chosen, place, path, [place.database] * len(named), where, notes)
    if place.names is not None and not place.names and not any(map(is_database_text, ids)):
        raise _no_databases(path, chosen)
    if place.names and len(place.names) == 1:
        named = [name or place.names[0] for name in named]
    _check_all_named(path, named, where, chosen)
    return ChosenDatabases(chosen, place, path, [str(name) for name in named], where)


def _check_exists(path: str) -> None:
    """Raise `ConfigError` where no file or folder lies."""
    if Path(path).exists():
        return
    scheme = re.match(r"[A-Za-z][\w+.-]*(?=:/)", path)
    if scheme:
        raise ConfigError(
            f"`--db` should be a file, a folder, or the address of a server that an engine knows, but no engine knows "
            f"{scheme[0]}: addresses, and nothing is fetched. Pass the path of a file here."
        )
    near = suggest(Path(path).name, (entry.name for entry in Path(path).absolute().parent.glob("*")))
    raise ConfigError(
        f"`--db` should be a database file, or a folder of databases, but there is nothing at {path}. "
        f"{near}Check the path."
    )


def _notes_on_one_file(path: str, ids: Sequence[str], where: str) -> list[str]:
    """Return what the user should know where one file serves statements that name a database.

    Raises:
        ConfigError: they name several.
    """
    if len(ids) > 1:
        raise ConfigError(
            f"`--db` should be the folder that holds the {len(ids)} databases that {where} names "
            f"({_some(ids)}), but got the file {path}. Pass a folder laid out ID/ID.sqlite or ID.sqlite."
        )
    if ids == [Path(path).stem]:
        return []
    return [f"{where} names the database {name}; every statement runs on {path}." for name in ids]


def _no_databases(path: str, chosen: Engine) -> ConfigError:
    below = [
        child for child in sorted(Path(path).iterdir()) if child.is_dir() and chosen.look(str(child)).names
    ]
    hint = f"Did you mean {below[0]}? " if below else ""
    return ConfigError(
        f"`--db` should be a database file or a folder laid out ID/ID.sqlite or ID.sqlite, "
        f"but there is no database in the folder {path}. {hint}Check the path."
    )


def _check_all_named(path: str, named: Sequence[str | None], where: str, chosen: Engine) -> None:
    """Raise `ConfigError` if a statement does not say which of several databases is its own."""
    for number, name in enumerate(named, 1):
        if not name:
            files = (one for pattern in ("*", "*/*") for one in Path(path).glob(pattern))
            example = min((str(one) for one in files if one.suffix in chosen.suffixes), default="NAME")
            raise ConfigError(
                f"`--db` is a folder, so every statement should name its database in it, but statement {number} of "
                f"{where} names none. Write `sql<TAB>db_id` lines, or pass one database, such as {example}."
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
