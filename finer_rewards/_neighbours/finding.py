"""From golds to the ids of the siblings on which they can be judged, where the files are."""

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

_PATIENCE = 600.0  # seconds to wait for another process that builds for the same database
_SECONDS = 2.0  # that a gold may take on its database while neighbours are made of it


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

    They are looked for in the folder, or beside the database, then in the cache folder; what is nowhere is built
    there, while other processes that want the same wait for it.

    Args:
        executor: what runs the SQL; one that holds no files itself passes the question on.
        asked: pairs of database and gold.
        most: how many siblings to return at most, the most telling ones.
        folder: where neighbours are, if not beside the databases.
        on_step: called with the number of pairs done since.
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
    """Say what was built."""
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
    """Return what tells the neighbours in use from others: the version of what makes them, and those in a folder."""
    if isinstance(executor, FindsSiblings):
        return executor.siblings_digest(folder)
    own = suites_digest(folder or executor.root) if isinstance(executor, SQLite) else ""
    return f"{GENERATOR}:{own}" if own else str(GENERATOR)


def suite_of(db: str | os.PathLike[str], *, folder: str | os.PathLike[str] | None = None) -> Suite:
    """Return the neighbours that were built for a database file, beside it or under a folder.

    Raises:
        ConfigError: there are none for what it holds now.
    """
    path = resolve_database(str(Path(db).absolute()))
    return read_suite(path, SQLiteFile.look(path).digest(), folder=folder)


def neighbours_of(
    db: str | os.PathLike[str], gold: str | None = None, *, folder: str | os.PathLike[str] | None = None
) -> tuple[str, ...]:
    """Return the files of a database's neighbours, for `Sample(db=(path, *neighbours_of(path, gold)))`.

    Args:
        db: the path of the database file.
        gold: return those on which this gold is to be judged; none where they were not made for it.
            `None` returns all.
        folder: where the neighbours were put, if not beside the database.

    Raises:
        ConfigError: there are none for what the database holds now.
    """
    suite = suite_of(db, folder=folder)
    return suite.paths if gold is None else suite.paths_for(gold)


@dataclass
class _Home:
    """Where the neighbours of a database are looked for."""

    path: Path
    content: str
    own: Path
    cache: Path

    def report(self, gold: str) -> GoldReport | None:
        """Return the record of a gold, its files being in the cache."""
        found = read_report(self.own, gold, self.content)
        if found is not None and cached(found, self.own):
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
        return [Siblings()] * len(golds)  # whoever runs the sample says what is wrong with its database
    path = Path(file.path)
    home = _Home(path, content, neighbours_folder(path, folder), neighbours_cache(content))
    try:
        known = {normalise(gold): home.report(gold) for gold in golds}
        if None in known.values():
            with locked(home.cache, patience=_PATIENCE):
                missing = [gold for gold in unique_golds(golds) if known[normalise(gold)] is None]
                others = {normalise(gold): home.report(gold) for gold in missing}
                missing = [gold for gold in missing if others[normalise(gold)] is None]
                known.update(others)
                made = _build(executor, missing, home, built) if missing else []
                known.update(zip(map(normalise, missing), made, strict=True))
    except (OSError, ConfigError) as error:
        return [
            Siblings(error=f"Neighbours of {path.name} could not be made in {home.cache}: {error}.")
        ] * len(golds)
    found = []
    for gold in golds:
        report = known[normalise(gold)]
        instances = () if report is None else report.instances
        found.append(Siblings(tuple(sibling_id(db, content, one.digest) for one in instances[:most])))
    return found


def _build(
    executor: SQLite, golds: Sequence[str], home: _Home, built: dict[str, list[GoldReport]]
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
    return file.digest()
