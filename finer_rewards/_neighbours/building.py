"""From golds to the records of their neighbours: what is asked of the workers, and what is made of the answers."""

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

#: How many neighbours of a gold there are, at most.
INSTANCES: Final = 8
#: CPU seconds that the neighbours of one gold may take.
_SECONDS = 20.0
_BATCH = 64
# Numbers of the instances that are tried for every gold, then for those of which near misses live: first all ways to
# make one, then those that part codes from names.
_FIRST, _MORE, _PARTED = (0, 3), (3, len(RECIPES)), (len(RECIPES), len(RECIPES) + 3)
# Near misses of these kinds that live through the first instances nearly always mean the same as the gold.
_STUBBORN = {"join kind", "group", "like"}
# Neighbours that a gold should have, be it that fewer tell all near misses: more where a result is easily guessed.
_LEAST, _LEAST_SINGLE = 1, 2
# Those that recite: where a code goes with its name, only parting the two tells them.
_GUESSES = {"guess", "recited key"}
#: How a gold ends that ends so whatever the limits.
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
    """Build the neighbours of golds: for each few small siblings of the database that tell it from near misses.

    Near misses of a gold (`mutants_of`, and a query that recites its result) are run on instances made by sampling
    real rows, by changing them around the constants of the gold, and by filling the schema anew; the fewest
    instances are kept that give other results for the most near misses. All of it happens in workers, under the
    limits of predictions. What is there already is not made again.

    Args:
        db: the path of the database file. It is only read.
        golds: its gold queries.
        folder: where to put them (`FOLDER/ID/neighbours`); `None` means beside the database.
        instances: how many to keep for a gold at most.
        seed: the same seed, content of the database and gold give the same neighbours, whatever else is asked for.
        timeout: seconds that a gold may take on the database itself.
        workers: processes that do the work.
        on_step: called with the number of golds done since.

    Returns:
        The neighbours of these golds, which are also written, with a manifest.

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
    """Return how many workers so many golds are worth: one starts about as long as a few golds take."""
    return max(1, min(most or min(os.cpu_count() or 1, 8), golds // 16))


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
        instances: how many to keep for a gold at most.
        seed: the seed.
        on_step: called with the number of golds done since.

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
            # A gold that ran out of time may do better under other limits.
            if run.status in _LASTING:
                home.mkdir(parents=True, exist_ok=True)
                store_report(home, report, contents)
            found.append(report)
        if on_step is not None:
            on_step(len(batch))
    return found


def _try(golds: Sequence[PreparedGold], db: str, sandbox: SandboxExecutor, seed: int) -> None:
    """Try instances: a few for every gold, then more for those of which near misses live that are none in disguise."""
    for numbers in (_FIRST, _MORE, _PARTED):
        waiting = []
        requests = []
        for gold in golds:
            living = [gold.mutants[number] for number in gold.living]
            kinds = {one.kind for one in living}
            hopeless = not kinds - _STUBBORN if gold.trials else not kinds
            if gold.request and (
                numbers is _FIRST or (kinds & _GUESSES if numbers is _PARTED else not hopeless)
            ):
                patience = 0 if numbers is _FIRST else 4 if gold.trials else len(RECIPES)
                waiting.append(gold)
                requests.append((db, (*gold.request, [one.sql for one in living], seed, numbers, patience)))
        for gold, answer in zip(waiting, sandbox.ask("make", requests, _SECONDS), strict=True):
            if answer.value is None:
                gold.problem = f"its neighbours could not be made: {answer.error}"
                gold.request = None
                gold.trials.clear()
                continue
            trials, obeyed, gold.notes = answer.value
            numbered = gold.living
            gold.trials += [JudgingInstance.of(trial, numbered) for trial in trials]
            told = {number for trial in gold.trials for number in trial.told | trial.counted}
            gold.living = [number for number in numbered if number not in told]
            if numbers is _FIRST and gold.living:
                gold.equivalent = _equivalent(gold, gold.living, _schema_of(obeyed))
                gold.living = [number for number in gold.living if number not in gold.equivalent]


def _chosen(gold: PreparedGold, most: int) -> list[JudgingInstance]:
    """Return the trials that tell the most near misses from the gold, the most telling first.

    Greedily the one that tells the most that no other does yet; then, where that leaves few, others that tell the
    most: what a policy will write is not among the near misses. Instances that part codes from their names fail who
    rightly knows a code, so they come last, for what no other tells.
    """
    tame = [trial for trial in gold.trials if "renamed" not in trial.recipe]
    found: list[JudgingInstance] = []
    told: set[int] = set()
    counted: set[int] = set()

    def news(trial: JudgingInstance) -> tuple[int, int, int]:
        return len(trial.told - told), len(trial.counted - counted - told), -trial.rows

    for some in (tame, gold.trials):
        while len(found) < most:
            best = max((trial for trial in some if trial not in found), key=news, default=None)
            if best is None or not any(news(best)[:2]):
                break
            found.append(best)
            told |= best.told
            counted |= best.counted
        if some is tame:
            seen = {trial.answer for trial in found}
            least = _LEAST_SINGLE if all(trial.answer_rows == 1 for trial in tame) else _LEAST
            for trial in sorted(tame, key=lambda trial: -len(trial.told)):
                if len(found) < min(least, most) and trial.answer not in seen:
                    seen.add(trial.answer)
                    found.append(trial)
    return found


def _report(gold: PreparedGold, most: int) -> tuple[GoldReport, Mapping[str, bytes]]:
    made = _chosen(gold, most)
    told = {number for trial in made for number in (*trial.told, *trial.counted)}
    living = [number for number in range(len(gold.mutants)) if number not in told | gold.equivalent]
    guesses = {number for number, one in enumerate(gold.mutants) if one.kind in _GUESSES}
    pinned = bool(told) and guesses <= told
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
        killed=len(told),
        pinned=pinned,
        problem=problem,
        survivors=tuple(f"{gold.mutants[number].kind}: {gold.mutants[number].sql}" for number in living),
        notes=tuple(gold.notes),
    )
    return report, contents


def _equivalent(gold: PreparedGold, living: Iterable[int], schema: Schema) -> set[int]:
    """Of near misses that live, those that can be shown to mean the same as the gold."""
    found = set()
    with contextlib.suppress(OperationsError):
        mine = sql_operations(gold.sql, schema=schema)
        for number in living:
            with contextlib.suppress(OperationsError):
                if sql_operations(gold.mutants[number].sql, schema=schema) == mine:
                    found.add(number)
    return found


def _schema_of(obeyed: Iterable[tuple[Any, ...]]) -> Schema:
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
