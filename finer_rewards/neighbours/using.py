"""From samples to samples on the database and its neighbours."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from finer_rewards.engines.sqlite.files import SQLiteFile, resolve_database
from finer_rewards.errors import ConfigError
from finer_rewards.executing import Query
from finer_rewards.neighbours.suite import Suite, neighbours_folder, read_suite
from finer_rewards.types import Execution, Sample

__all__ = ["with_neighbours"]


class _Runs(Protocol):
    def execute_many(self, queries: Sequence[Query]) -> list[Execution]: ...


def with_neighbours(
    samples: Sequence[Sample],
    executor: _Runs,
    *,
    root: str | os.PathLike[str] = ".",
    most: int = 8,
    folder: str | os.PathLike[str] | None = None,
    used: set[str] | None = None,
) -> list[Sample]:
    """Return the samples with `db` extended by the neighbours on which their golds can be used.

    Which those are the manifest says; for a gold that the neighbours were not built for, it is run on them,
    and those are left out where it fails, or cuts through a tie at its LIMIT. A sample with several
    databases of its own, or whose database is not there, stays as it is.

    Args:
        samples: what is to be scored.
        executor: runs golds that the neighbours were not built for.
        root: where database ids are looked up.
        most: how many neighbours to use; the first are the most telling.
        folder: where the neighbours were put, if not beside the databases.
        used: databases whose neighbours were used before; those of this call are added. When they can no longer
            be used, in the middle of a run, a database that is not there takes their place: the sample is then
            not scored, rather than scored by less than it should be.

    Raises:
        ConfigError: a database has no neighbours, or is no longer the one they were made from.
    """
    used = set() if used is None else used
    suites: dict[str, Suite | None] = {}
    lost: dict[str, str] = {}
    for db in {sample.dbs[0] for sample in samples}:
        try:
            suites[db] = _suite(db, root, folder)
        except ConfigError as error:
            if db not in used:
                raise
            suites[db], lost[db] = None, f"neighbours that can no longer be used: {error}"
        if suites[db] is not None:
            used.add(db)
    wanted: dict[Query, None] = {}
    for sample in samples:
        suite = suites[sample.dbs[0]]
        if suite is not None and len(sample.dbs) == 1:
            for gold in sample.golds:
                if not suite.knows(gold):
                    wanted.update(dict.fromkeys(Query(gold, path, keep=True) for path in suite.paths))
    runs = dict(zip(wanted, executor.execute_many(list(wanted)) if wanted else (), strict=True))

    def serves(suite: Suite, gold: str, path: str) -> bool:
        if suite.knows(gold):
            return path in suite.paths_for(gold)
        run = runs[Query(gold, path, keep=True)]
        # A worker that was lost says nothing of the gold: the sample is then left unscored, as it should be.
        lost = run.status.blame == "system"
        return lost or (run.ok and not (run.truncated or run.ambiguous or run.volatile))

    extended = []
    for sample in samples:
        suite = suites[sample.dbs[0]]
        if len(sample.dbs) > 1 or sample.answer is not None or (suite is None and sample.dbs[0] not in lost):
            extended.append(sample)
            continue
        if suite is None:
            extended.append(replace(sample, db=(sample.dbs[0], lost[sample.dbs[0]])))
            continue
        paths = [path for path in suite.paths if all(serves(suite, gold, path) for gold in sample.golds)]
        extended.append(replace(sample, db=(sample.dbs[0], *paths[:most])))
    return extended


def _suite(db: str, root: str | os.PathLike[str], folder: str | os.PathLike[str] | None) -> Suite | None:
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
    return _read(str(path), None if folder is None else str(folder), file.identity, written)


@lru_cache(maxsize=256)
def _read(path: str, folder: str | None, _identity: object, _written: int) -> Suite:
    """Read a suite once for each state of the database and of the manifest."""
    return read_suite(Path(path), folder=folder)
