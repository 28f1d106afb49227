"""Finding the neighbours of golds: beside the database, in a folder or in the cache, or else by building them now.

The scorer and the servers call `find_siblings`; it returns ids that the executor can run SQL on.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from finer_rewards._neighbours.building import build_reports, workers_for
from finer_rewards._neighbours.sandbox import SandboxExecutor
from finer_rewards._neighbours.suite_store import (
    GENERATOR,
    GoldReport,
    Suite,
    cached,
    locked,
    neighbours_folder,
    read_report,
    read_suite,
    suites_digest,
    unique_golds,
)
from finer_rewards._util.sql_text import normalise
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.engines.sqlite.files import SQLiteFile, resolve_database
from finer_rewards.errors import ConfigError
from finer_rewards.executing.abilities import FindsSiblings
from finer_rewards.executing.siblings import Siblings, cache_folder, neighbours_cache, sibling_id

# Seconds to wait for another process that builds neighbours of the same database.
_PATIENCE = 600.0
# Seconds that a gold may take on its database while its neighbours are built.
_SECONDS = 2.0


def has_siblings(executor: object) -> bool:
    """Return whether the databases of an executor may have neighbours."""
    return isinstance(executor, (SQLite, FindsSiblings))


def find_siblings(
    executor: object,
    asked: Sequence[tuple[str, str]],
    *,
    most: int,
    folder: str | None = None,
    on_step: Callable[[int], None] | None = None,
) -> list[Siblings]:
    """Return the siblings for each database and gold, or why there are none; nothing for a missing database.

    They are looked for in the folder, or beside the database, then in the cache folder. Missing ones are built into the
    cache folder, while other processes that want the same ones wait.

    Args:
        executor: runs the SQL; if the files are on another machine, it passes the request on.
        asked: pairs of database and gold.
        most: the most siblings to return for a pair; the most telling ones come first.
        folder: where neighbours are, if not beside the databases.
        on_step: called with the number of pairs done since the last call.
    """
    if isinstance(executor, FindsSiblings):
        return list(executor.siblings(asked, most=most, folder=folder))
    if not isinstance(executor, SQLite):
        return [Siblings()] * len(asked)
    by_db: dict[str, list[str]] = {}
    for db, gold in asked:
        by_db.setdefault(db, []).append(gold)
    found: dict[tuple[str, str], Siblings] = {}
    built: dict[str, list[GoldReport]] = {}
    started = time.monotonic()
    for db, golds in by_db.items():
        found.update(
            zip(
                [(db, gold) for gold in golds],
                _of_database(executor, db, golds, most, folder, built),
                strict=True,
            )
        )
        if on_step is not None:
            on_step(len(golds))
    if built:
        _tell(built, time.monotonic() - started)
    return [found[pair] for pair in asked]


def _tell(built: Mapping[str, list[GoldReport]], seconds: float) -> None:
    """Print to standard error what was built."""
    made = [report for reports in built.values() for report in reports]
    instances = {one.digest: one.bytes for report in made for one in report.instances}
    served = sum(bool(report.instances) for report in made)
    names = ", ".join(list(built)[:3]) + (f" and {len(built) - 3} more" if len(built) > 3 else "")
    print(
        f"finer-rewards: built {len(instances)} neighbours of {names} for {served} of {len(made)} golds in "
        f"{seconds:.1f} s ({sum(instances.values()) / 1024:.0f} KiB, kept in {cache_folder()})",
        file=sys.stderr,
        flush=True,
    )


def neighbours_digest(executor: object, folder: str | None = None) -> str:
    """Return a text that identifies the neighbours in use: the generator's version, and a digest of a folder's."""
    if isinstance(executor, FindsSiblings):
        return executor.siblings_digest(folder)
    own = suites_digest(folder or executor.root) if isinstance(executor, SQLite) else ""
    return f"{GENERATOR}:{own}" if own else str(GENERATOR)


def suite_of(db: str | os.PathLike[str], *, folder: str | os.PathLike[str] | None = None) -> Suite:
    """Return the neighbours that were built for a database file, beside it or under a folder.

    Raises:
        ConfigError: there are none for its present content.
    """
    path = resolve_database(str(Path(db).absolute()))
    return read_suite(path, SQLiteFile.look(path).digest(), folder=folder)


def neighbours_of(
    db: str | os.PathLike[str], gold: str | None = None, *, folder: str | os.PathLike[str] | None = None
) -> tuple[str, ...]:
    """Return the files of a database's neighbours, for `Sample(db=(path, *neighbours_of(path, gold)))`.

    Args:
        db: the path of the database file.
        gold: return only those made for this gold; `None` returns all.
        folder: where the neighbours were put, if not beside the database.

    Raises:
        ConfigError: there are none for the database's present content.
    """
    suite = suite_of(db, folder=folder)
    return suite.paths if gold is None else suite.paths_for(gold)


@dataclass
class _NeighbourFolders:
    """The places where the neighbours of a database are looked for.

    Args:
        path: the database file.
        content: digest of its content.
        own: the folder beside the database, or the user's.
        cache: the folder in the cache.
    """

    path: Path
    content: str
    own: Path
    cache: Path

    def reports(self, golds: Sequence[str]) -> dict[str, GoldReport | None]:
        """Return the record of each gold, if there is one; its files are in the cache then."""
        # Most databases have no neighbours beside them, and every step of a training looks.
        own = self.own if self.own.is_dir() else None
        return {gold: self._report(gold, own) for gold in golds}

    def _report(self, gold: str, own: Path | None) -> GoldReport | None:
        if own is not None:
            found = read_report(own, gold, self.content)
            if found is not None and cached(found, own):
                return found
        return read_report(self.cache, gold, self.content)


def _of_database(
    executor: SQLite,
    db: str,
    golds: Sequence[str],
    most: int,
    folder: str | None,
    built: dict[str, list[GoldReport]],
) -> list[Siblings]:
    try:
        file = SQLiteFile.look(executor.find(db))
        content = _digest(file, file.identity)
    except (ConfigError, OSError):
        # When the sample itself is run, the executor says what is wrong with its database.
        return [Siblings()] * len(golds)
    path = Path(file.path)
    home = _NeighbourFolders(path, content, neighbours_folder(path, folder), neighbours_cache(content))
    try:
        known = home.reports(golds)
        missing = [gold for gold in golds if known[gold] is None]
        if missing:
            with locked(home.cache, patience=_PATIENCE):
                known.update(home.reports(missing))
                missing = [gold for gold in missing if known[gold] is None]
                texts = unique_golds(missing)
                reports = _build(executor, texts, home, built) if texts else []
                made = dict(zip(map(normalise, texts), reports, strict=True))
                known.update((gold, made[normalise(gold)]) for gold in missing)
    except (OSError, ConfigError) as error:
        return [
            Siblings(error=f"Neighbours of {path.name} could not be made in {home.cache}: {error}.")
        ] * len(golds)
    found = []
    for gold in golds:
        report = known[gold]
        instances = () if report is None else report.instances
        found.append(Siblings(tuple(sibling_id(db, content, one.digest) for one in instances[:most])))
    return found


def _build(
    executor: SQLite, golds: Sequence[str], home: _NeighbourFolders, built: dict[str, list[GoldReport]]
) -> list[GoldReport]:
    workers = workers_for(len(golds), executor.workers)
    with SandboxExecutor(timeout=_SECONDS, workers=workers, clock="cpu") as sandbox:
        made = build_reports(
            str(home.path), golds, home.content, home.cache, executor=sandbox, sandbox=sandbox
        )
    built[home.path.stem] = made
    return made


@lru_cache(maxsize=4096)
def _digest(file: SQLiteFile, _identity: object) -> str:
    """Return the digest of a file, computed once for each of its states."""
    return file.digest()
