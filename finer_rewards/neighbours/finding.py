"""From golds to the ids of the siblings on which they can be judged, where the files are."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from finer_rewards.engines.sqlite import SQLite
from finer_rewards.engines.sqlite.files import SQLiteFile, resolve_database
from finer_rewards.errors import ConfigError
from finer_rewards.executing import Query
from finer_rewards.executing.abilities import FindsSiblings
from finer_rewards.executing.siblings import Siblings, sibling_id, sibling_path
from finer_rewards.neighbours.suite import Suite, neighbours_folder, read_suite, suites_digest

__all__ = ["find_siblings", "has_siblings", "neighbours_digest"]

_Folder = str | None


def has_siblings(executor: object) -> bool:
    """Return whether the databases of an executor may have neighbours."""
    return isinstance(executor, (SQLite, FindsSiblings))


def find_siblings(
    executor: object, asked: Sequence[tuple[str, str]], *, most: int, folder: _Folder = None
) -> list[Siblings]:
    """Return the siblings for each database and gold, or why there are none; nothing for a missing database.

    Args:
        executor: what runs the SQL; one that holds no files itself passes the question on.
        asked: pairs of database and gold.
        most: how many siblings to return at most, the most telling ones.
        folder: where neighbours are, if not beside the databases.
    """
    if isinstance(executor, FindsSiblings):
        return list(executor.siblings(asked, most=most, folder=folder))
    if not isinstance(executor, SQLite):
        return [Siblings()] * len(asked)
    suites: dict[str, Suite | None] = {}
    errors: dict[str, str] = {}
    for db in dict.fromkeys(db for db, _ in asked):
        try:
            suites[db] = _suite(db, os.fspath(executor.root), folder)
        except ConfigError as error:
            suites[db], errors[db] = None, str(error)
    unknown = {
        Query(gold, path, keep=True): None
        for db, gold in asked
        for suite in (suites[db],)
        if suite is not None and not suite.knows(gold)
        for path in suite.paths
    }
    runs = dict(zip(unknown, executor.execute_many(list(unknown)) if unknown else (), strict=True))
    found = []
    for db, gold in asked:
        suite = suites[db]
        ids: list[str] = []
        for one in suite.instances if suite is not None else ():
            path = str(suite.folder / one.file) if suite is not None else ""
            run = runs.get(Query(gold, path, keep=True))
            serves = (
                path in suite.paths_for(gold)
                if suite is not None and run is None
                else run is not None and run.ok and not (run.truncated or run.ambiguous or run.volatile)
            )
            if serves and suite is not None:
                ids.append(_installed(path, sibling_id(db, suite.digest, one.digest)))
        found.append(Siblings(tuple(ids[:most]), errors.get(db, "")))
    return found


def neighbours_digest(executor: object, folder: _Folder = None) -> str:
    """Return what tells the neighbours in use from others."""
    if isinstance(executor, FindsSiblings):
        return executor.siblings_digest(folder)
    return suites_digest(folder or executor.root) if isinstance(executor, SQLite) else ""


def _suite(db: str, root: str, folder: _Folder) -> Suite | None:
    try:
        path = resolve_database(db, root).absolute()
        file = SQLiteFile.look(path)
    except (ConfigError, OSError):
        return None  # whoever runs the sample says what is wrong with its database
    home = neighbours_folder(path, folder)
    try:
        written = (home / "manifest.json").stat().st_mtime_ns
    except OSError:
        written = 0
    return _read(str(path), folder, file.identity, written)


@lru_cache(maxsize=256)
def _read(path: str, folder: _Folder, _identity: object, _written: int) -> Suite:
    """Read a suite once for each state of the database and of the manifest."""
    return read_suite(Path(path), folder=folder)


def _installed(file: str, sibling: str) -> str:
    """Put a file where the id of a sibling says, and return the id."""
    place = sibling_path(sibling)
    assert place is not None
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=place.parent)
        os.close(number)
        shutil.copyfile(file, name)
        Path(name).replace(place)
    return sibling
