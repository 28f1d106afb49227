"""Building the neighbours of golds: workers try instances, and the few that expose the most near misses are kept.

An instance is a small database with the tables of the real one. It exposes a near miss if that returns another result
there than the gold; weakly, if only the number or the order of rows differs. `judging_instances` is the worker's part.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from finer_rewards._neighbours.prepared_golds import JudgingInstance, PreparedGold, prepare
from finer_rewards._neighbours.recipes import RECIPES
from finer_rewards._neighbours.sandbox import SandboxExecutor
from finer_rewards._neighbours.suite_store import (
    GoldReport,
    Neighbour,
    Suite,
    neighbours_folder,
    read_report,
    store_report,
    unique_golds,
    write_manifest,
)
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.engines.sqlite.files import SQLiteFile, resolve_database
from finer_rewards.errors import ConfigError
from finer_rewards.executing import Query
from finer_rewards.operations import OperationsError, sql_operations
from finer_rewards.schema import Column, ForeignKey, Schema, Table
from finer_rewards.types import Status

#: The most neighbours of a gold.
INSTANCES: Final = 8
#: CPU seconds that a worker may take to make the instances of one gold.
_SECONDS = 20.0
# Golds that are worked on at a time.
_BATCH = 64
# The numbers of the instances that are tried, as ranges: the first for every gold; the others only for golds some of
# whose near misses no instance has exposed yet: first all other recipes, then those that separate codes from names.
_FIRST, _MORE, _PARTED = (0, 3), (3, len(RECIPES)), (len(RECIPES), len(RECIPES) + 3)
# If only near misses of these kinds survive the first instances, they nearly always mean the same as the gold.
_STUBBORN = {"join kind", "group", "like"}
# Stop after this many instances that exposed nothing new; try longer for near misses that some value would expose.
_PATIENCE, _LONGER = 4, 8
_BY_VALUES = {"aggregate", "and/or", "column", "comparison", "constant", "order dropped", "predicate dropped"}
# Near misses of these kinds ask for something else, whatever keys and references the data obeys.
_NEVER_EQUIVALENT = {
    "aggregate", "and/or", "comparison", "direction", "guess", "like", "limit", "named value", "negation",
    "recited key", "stored row", "stored value", "sum by distinct",
}  # fmt: skip
# A gold should have at least this many neighbours even if fewer expose all near misses; more if its result is a single
# row, which is easily guessed.
_LEAST, _LEAST_SINGLE = 1, 2
# Near misses that recite a stored value. Where a code always goes with its name, only separating the two exposes them.
_GUESSES = {"guess", "recited key"}
#: The statuses of golds that would end the same way under any limits.
_LASTING = (Status.ok, Status.failed, Status.not_a_query, Status.several_statements, Status.refused)


def build_neighbours(
    db: str | os.PathLike[str],
    golds: Iterable[str],
    *,
    folder: str | os.PathLike[str] | None = None,
    instances: int = INSTANCES,
    seed: int = 0,
    timeout: float = 2.0,
    workers: int | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Suite:
    """Build the neighbours of golds: for each gold a few small siblings of the database that expose its near misses.

    Near misses of a gold (`mutants_of`, and a query that recites its result) are run on instances, which are made by
    sampling real rows, by changing them around the gold's constants, and by filling the schema with new rows. The
    fewest instances are kept on which the most near misses return another result than the gold. All of it happens in
    workers, under the limits of predictions. Neighbours that are there already are not built again.

    Args:
        db: the path of the database file. It is only read.
        golds: its gold queries.
        folder: where to put them (`FOLDER/ID/neighbours`); `None` means beside the database.
        instances: the most neighbours to keep for a gold.
        seed: the same seed, database content and gold give the same neighbours, whatever the other golds are.
        timeout: seconds that a gold may take on the database itself.
        workers: processes that do the work.
        on_step: called with the number of golds done since the last call.

    Returns:
        The neighbours of these golds; they are also written to the folder, with a manifest.

    Raises:
        ConfigError: the database cannot be read, or the folder cannot be used.
    """
    if not isinstance(instances, int) or instances < 1:
        raise ConfigError(
            f"`instances` should be a whole number from 1 up, but got {instances!r}. Pass for example 8."
        )
    path = resolve_database(str(Path(db).absolute()))
    home = neighbours_folder(path, folder)
    if home.is_file() or (home.is_dir() and not (home / "golds").is_dir() and any(home.iterdir())):
        raise ConfigError(
            f"{home} should be a folder of neighbours, but it holds something else. Move it away, or pass -o."
        )
    digest = SQLiteFile.look(path).digest()
    texts = unique_golds(golds)
    with SandboxExecutor(timeout=timeout, workers=workers_for(len(texts), workers), clock="cpu") as sandbox:
        known = {}
        for sql in texts:
            report = read_report(home, sql, digest)
            if report is not None and (report.seed, report.most) == (seed, instances):
                known[sql] = report
        if on_step is not None and known:
            on_step(len(known))
        missing = [sql for sql in texts if sql not in known]
        made = build_reports(
            str(path),
            missing,
            digest,
            home,
            executor=sandbox,
            sandbox=sandbox,
            instances=instances,
            seed=seed,
            on_step=on_step,
        )
    known.update(zip(missing, made, strict=True))
    suite = Suite(home, path.name, digest, tuple(known[sql] for sql in texts))
    home.mkdir(parents=True, exist_ok=True)
    write_manifest(suite)
    return suite


def workers_for(golds: int, most: int | None) -> int:
    """Return how many workers to start for this many golds: starting one takes as long as several golds."""
    return max(1, min(most or min(os.cpu_count() or 1, 8), golds // 32))


def build_reports(
    db: str,
    golds: Sequence[str],
    source: str,
    home: Path,
    *,
    executor: SQLite,
    sandbox: SandboxExecutor,
    instances: int = INSTANCES,
    seed: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> list[GoldReport]:
    """Build neighbours of golds, and write their records and files into a folder.

    Args:
        db: the database.
        golds: its golds.
        source: digest of its content.
        home: the folder.
        executor: runs the golds on the database itself.
        sandbox: makes the neighbours.
        instances: the most neighbours to keep for a gold.
        seed: the seed.
        on_step: called with the number of golds done since the last call.

    Raises:
        OSError: the folder cannot be written.
    """
    found = []
    schema = executor.schema(db) if golds else Schema(())
    for start in range(0, len(golds), _BATCH):
        batch = golds[start : start + _BATCH]
        runs = executor.execute_many([Query(sql, db, keep=True) for sql in batch])
        known = [prepare(sql, run, schema, executor, db) for sql, run in zip(batch, runs, strict=True)]
        _try(known, db, sandbox, seed)
        for gold, run in zip(known, runs, strict=True):
            report, contents = _report(gold, instances)
            report = replace(report, source=source, seed=seed, most=instances)
            # A gold that ran out of time may succeed under other limits, so its record is not written.
            if run.status in _LASTING:
                home.mkdir(parents=True, exist_ok=True)
                store_report(home, report, contents)
            found.append(report)
        if on_step is not None:
            on_step(len(batch))
    return found


def _try(golds: Sequence[PreparedGold], db: str, sandbox: SandboxExecutor, seed: int) -> None:
    """Try instances: a few for every gold, then more for golds with surviving near misses that are not equivalent."""
    for numbers in (_FIRST, _MORE, _PARTED):
        waiting = []
        requests = []
        for gold in golds:
            patience = _patience(gold, numbers)
            if gold.request and patience is not None:
                mutants = [gold.mutants[number].sql for number in gold.living]
                waiting.append(gold)
                requests.append((db, (*gold.request, mutants, seed, numbers, patience)))
        for gold, answer in zip(waiting, sandbox.ask("make", requests, _SECONDS), strict=True):
            if answer.value is None:
                gold.problem = f"its neighbours could not be made: {answer.error}"
                gold.request = None
                gold.trials.clear()
                continue
            trials, obeyed, gold.notes = answer.value
            _take_in(gold, trials)
            if numbers is _FIRST and gold.living:
                unclear = [one for one in gold.living if gold.mutants[one].kind not in _NEVER_EQUIVALENT]
                gold.equivalent = _equivalent(gold, unclear, _schema_of(obeyed)) if unclear else set()
                gold.living = [number for number in gold.living if number not in gold.equivalent]


def _patience(gold: PreparedGold, numbers: tuple[int, int]) -> int | None:
    """Return after how many vain instances to stop trying these for a gold; `None` if none of them is worth a try."""
    kinds = {gold.mutants[number].kind for number in gold.living}
    if numbers is _FIRST:
        return 0
    worth = (
        bool(kinds & _GUESSES) if numbers is _PARTED else bool(kinds - _STUBBORN if gold.trials else kinds)
    )
    if not worth:
        return None
    if not gold.trials:
        return len(RECIPES)
    return _LONGER if kinds & _BY_VALUES else _PATIENCE


def _take_in(gold: PreparedGold, trials: Iterable[Sequence[Any]]) -> None:
    """Keep what a worker made for a gold; the near misses that are exposed there live no longer."""
    gold.trials += [JudgingInstance.of(trial, gold.living) for trial in trials]
    exposed = {number for trial in gold.trials for number in trial.exposed | trial.weakly_exposed}
    gold.living = [number for number in gold.living if number not in exposed]


def _chosen(gold: PreparedGold, most: int) -> list[JudgingInstance]:
    """Return the trials to keep: those that expose the most near misses, the most telling first.

    Greedy: again and again the instance that exposes the most near misses not yet exposed. If few are kept that way,
    others that expose many are added, because what a policy will write is not among the near misses. Instances that
    separate codes from their names would fail a query that rightly knows a code, so they come last, and only for near
    misses that no other instance exposes.
    """
    tame = [trial for trial in gold.trials if "renamed" not in trial.recipe]
    found: list[JudgingInstance] = []
    exposed: set[int] = set()
    weakly_exposed: set[int] = set()

    def news(trial: JudgingInstance) -> tuple[int, int, int]:
        return len(trial.exposed - exposed), len(trial.weakly_exposed - weakly_exposed - exposed), -trial.rows

    for some in (tame, gold.trials):
        while len(found) < most:
            best = max((trial for trial in some if trial not in found), key=news, default=None)
            if best is None or not any(news(best)[:2]):
                break
            found.append(best)
            exposed |= best.exposed
            weakly_exposed |= best.weakly_exposed
        if some is tame:
            seen = {trial.answer for trial in found}
            least = _LEAST_SINGLE if all(trial.answer_rows == 1 for trial in tame) else _LEAST
            for trial in sorted(tame, key=lambda trial: -len(trial.exposed)):
                if len(found) < min(least, most) and trial.answer not in seen:
                    seen.add(trial.answer)
                    found.append(trial)
    return found


def _report(gold: PreparedGold, most: int) -> tuple[GoldReport, Mapping[str, bytes]]:
    """Return the record of a gold, and the content of the files that it names."""
    made = _chosen(gold, most)
    exposed = {number for trial in made for number in (*trial.exposed, *trial.weakly_exposed)}
    living = [number for number in range(len(gold.mutants)) if number not in exposed | gold.equivalent]
    guesses = {number for number, one in enumerate(gold.mutants) if one.kind in _GUESSES}
    pinned = bool(exposed) and guesses <= exposed
    problem = gold.problem
    if not problem and not made:
        problem = "no instance serves it: on each it is empty, fails, or cuts through a tie at a LIMIT"
    elif not problem and not pinned:
        problem = "its result is the same on every instance"
    neighbours, contents = [], {}
    for trial in made:
        digest = sha256(trial.content).hexdigest()
        name = f"{digest[:16]}.sqlite"
        neighbours.append(Neighbour(name, trial.recipe, trial.rows, len(trial.content), digest))
        contents[name] = trial.content
    report = GoldReport(
        gold.sql,
        instances=tuple(neighbours),
        mutants=len(gold.mutants) - len(gold.equivalent),
        equivalent=len(gold.equivalent),
        killed=len(exposed),
        pinned=pinned,
        problem=problem,
        survivors=tuple(f"{gold.mutants[number].kind}: {gold.mutants[number].sql}" for number in living),
        notes=tuple(gold.notes),
    )
    return report, contents


def _equivalent(gold: PreparedGold, living: Iterable[int], schema: Schema) -> set[int]:
    """Return the surviving near misses that the canonical form shows to mean the same as the gold."""
    found = set()
    with contextlib.suppress(OperationsError):
        mine = sql_operations(gold.sql, schema=schema)
        for number in living:
            with contextlib.suppress(OperationsError):
                if sql_operations(gold.mutants[number].sql, schema=schema) == mine:
                    found.add(number)
    return found


def _schema_of(obeyed: Iterable[tuple[Any, ...]]) -> Schema:
    """Return the schema with the keys and references that the data obeys; see `SourceDatabase.obeyed`."""
    return Schema(
        tuple(
            Table(
                name,
                tuple(Column(*one) for one in columns),
                (),
                tuple(map(tuple, keys)),
                tuple(ForeignKey(tuple(ours), to, tuple(theirs)) for ours, to, theirs in references),
            )
            for name, columns, keys, references in obeyed
        )
    )
