"""Choose, of many instances made, the few on which near misses of the golds give other results.

After Zhong, Yu, Klein, "Semantic Evaluation for Text-to-SQL with Distilled Test Suites", EMNLP 2020.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from finer_rewards.comparing import compare
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.engines.sqlite.files import SQLiteFile, resolve_database
from finer_rewards.errors import ConfigError
from finer_rewards.executing import Query
from finer_rewards.neighbours.generating import RECIPES, Instance, make_instance, merge_instances
from finer_rewards.neighbours.gold_facts import Condition, Join, conditions_of, joins_of, read_query
from finer_rewards.neighbours.mutants import Mutant, guess_of, mutants_of, recited_key
from finer_rewards.neighbours.source import Source, read_source
from finer_rewards.neighbours.suite import (
    GoldReport,
    Neighbour,
    Suite,
    install,
    neighbours_folder,
    write_instance,
)
from finer_rewards.neighbours.usable_golds import limited_parts, usable_on
from finer_rewards.operations import OperationsError, sql_operations
from finer_rewards.schema import Schema
from finer_rewards.sql_text import normalise
from finer_rewards.types import Execution

__all__ = ["STEPS", "build_neighbours"]

_ROUNDS = (24, 16)
_MERGED = 20
_MINDED = 4  # golds that an instance of a later round is made for
#: How many instances are made and tried, at most.
STEPS = sum(_ROUNDS) + _MERGED

_Pair = tuple[int, int]  # (gold, mutant)
_SERVED = -1  # in the place of a mutant: the gold can be used there at all


@dataclass
class _Gold:
    """A gold, and what is known of it."""

    sql: str
    problem: str = ""
    conditions: list[Condition] = field(default_factory=list)
    joins: list[Join] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    mutants: list[Mutant] = field(default_factory=list)
    killed_by_source: set[int] = field(default_factory=set)
    equivalent: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class _Trial:
    """An instance that was made: where it is, the golds it serves, and what it kills."""

    file: Path
    recipe: str
    renames: bool
    instance: Instance = field(repr=False)
    rows: int
    serves: frozenset[int]
    kills: frozenset[_Pair]


def build_neighbours(
    db: str | os.PathLike[str],
    golds: Iterable[str],
    *,
    folder: str | os.PathLike[str] | None = None,
    instances: int = 8,
    seed: int = 0,
    timeout: float = 2.0,
    workers: int | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Suite:
    """Build the neighbours of a database: few small siblings that tell its golds from near misses.

    Near misses of each gold (`mutants_of`, and a query that recites its result) are run on instances made by
    sampling real rows, by changing them around the constants of the golds, and by filling the schema anew;
    then the fewest instances are chosen that give other results for the most near misses.

    Args:
        db: the path of the database file. It is only read.
        golds: its gold queries.
        folder: where to put them (`FOLDER/ID/neighbours`); `None` means beside the database.
        instances: how many to keep at most.
        seed: the same seed, database and golds give the same neighbours.
        timeout: seconds that one query may take.
        workers: processes that run queries.
        on_step: called with the number of steps done since, out of `STEPS`.

    Returns:
        The suite, which is also written, with its manifest.

    Raises:
        ConfigError: the database cannot be read, or the folder cannot be used.
    """
    if not isinstance(instances, int) or instances < 1:
        raise ConfigError(
            f"`instances` should be a whole number from 1 up, but got {instances!r}. Pass for example 8."
        )
    path = resolve_database(str(Path(db).absolute()))
    home = neighbours_folder(path, folder)
    home.parent.mkdir(parents=True, exist_ok=True)
    file = SQLiteFile.look(path)
    texts = list({normalise(sql): sql for sql in golds}.values())
    step = on_step or (lambda _: None)
    with (
        tempfile.TemporaryDirectory(dir=home.parent, prefix=".neighbours-") as scratch,
        SQLite(".", timeout=timeout, workers=workers, clock="cpu") as executor,
    ):
        schema = executor.schema(str(path))
        known = _look_at(texts, schema, executor, str(path))
        source = read_source(
            file,
            schema,
            [one for gold in known for one in gold.conditions],
            [one for gold in known for one in gold.joins],
            seed,
        )
        trials = _try_instances(known, source, executor, Path(scratch), seed, instances, step)
        chosen = _choose(trials, instances)
        for index, number in _equivalent(known, _alive(known, chosen), source.obeyed()):
            known[index].equivalent.add(number)
        draft = Path(scratch) / "neighbours"
        draft.mkdir()
        neighbours = []
        for number, trial in enumerate(chosen):
            name = f"{number:02}.sqlite"
            content = trial.file.read_bytes()
            digest = sha256(content).hexdigest()
            neighbours.append(Neighbour(name, trial.recipe, trial.rows, len(content), digest))
            trial.file.replace(draft / name)
        suite = Suite(
            draft,
            path.name,
            file.digest(),
            seed,
            tuple(neighbours),
            tuple(_report(index, gold, chosen) for index, gold in enumerate(known)),
            source.notes,
        )
        suite.write_manifest()
        install(draft, home)
    return replace(suite, folder=home)


def _look_at(texts: Sequence[str], schema: Schema, executor: SQLite, db: str) -> list[_Gold]:
    """Read each gold, and find the near misses that run on the database itself."""
    runs = executor.execute_many([Query(sql, db, keep=True) for sql in texts])
    known = [_read_gold(sql, run, schema) for sql, run in zip(texts, runs, strict=True)]
    tried = executor.execute_many([Query(one.sql, db) for gold in known for one in gold.mutants])
    results = iter(tried)
    for gold, run in zip(known, runs, strict=True):
        usable: list[Mutant] = []
        for mutant in gold.mutants:
            result = next(results)
            if result.ok and not result.truncated:
                if _scorable(run) and not compare(run, result, "strict", gold_sql=gold.sql).match:
                    gold.killed_by_source.add(len(usable))
                usable.append(mutant)
        gold.mutants = usable
    return known


def _read_gold(sql: str, run: Execution, schema: Schema) -> _Gold:
    if not run.ok:
        return _Gold(sql, f"it does not run: {run.status.sentence} {run.error}".rstrip())
    if run.volatile:
        return _Gold(sql, "its result changes from run to run")
    gold = _Gold(sql)
    guess = guess_of(run.rows, sorted(run.tables or ()))
    tree = read_query(sql, schema)
    gold.mutants = [] if guess is None else [guess]
    if tree is not None:
        gold.conditions = conditions_of(tree, schema)
        gold.joins = joins_of(tree, schema)
        gold.parts = limited_parts(tree)
        recited = recited_key(tree, run.rows, run.order)
        gold.mutants += [] if recited is None else [recited]
        gold.mutants += mutants_of(tree, schema)
    if not run.tables:
        gold.problem = "it reads no table"
    return gold


def _scorable(run: Execution) -> bool:
    """Whether execution match has a value where this is the gold's result."""
    return run.ok and bool(run.rows) and not (run.truncated or run.ambiguous or run.volatile)


def _try_instances(
    golds: Sequence[_Gold],
    source: Source,
    executor: SQLite,
    scratch: Path,
    seed: int,
    most: int,
    step: Callable[[int], None],
) -> list[_Trial]:
    """Make instances in rounds; each round has the golds in mind whose near misses live.

    Where more are wanted than may be kept, two are made one.
    """
    trials: list[_Trial] = []
    alive = _alive(golds, trials)

    def attempt(recipe: str, renames: bool, instance: Instance) -> None:
        file = scratch / f"try-{len(trials)}.sqlite"
        rows = write_instance(file, source, instance)
        serves, kills = _kills(golds, alive, executor, str(file))
        kills |= {(index, _SERVED) for index in serves}
        trials.append(_Trial(file, recipe, renames, instance, rows, serves, kills))
        step(1)

    for turn, count in enumerate(_ROUNDS if source.tables else ()):
        if turn:
            alive -= _equivalent(golds, _alive(golds, trials), source.obeyed())
        left = alive & _alive(golds, _choose(trials, most))
        if not left:
            break
        living = [golds[index].conditions for index in sorted({index for index, _ in left})]
        for _ in range(count):
            recipe = RECIPES[len(trials) % len(RECIPES)]
            rng = random.Random(f"{seed}:{len(trials)}")
            # One instance cannot be all things to many golds.
            minded = rng.sample(living, min(len(living), _MINDED)) if turn else living
            attempt(str(recipe), recipe.renames, make_instance(source, minded, recipe, rng))
    tried: set[tuple[Path, Path]] = set()
    for _ in range(_MERGED):
        kept = _choose(trials, most)
        files = {one.file for one in kept}
        wanted = [one for one in _choose(trials, 3 * most) if one.file not in files]
        couples = [
            (first, second)
            for second in wanted
            for first in kept
            if first.renames == second.renames and (first.file, second.file) not in tried
        ]
        if not couples:
            break
        first, second = min(couples, key=lambda two: two[0].rows + two[1].rows)
        tried.add((first.file, second.file))
        merged = merge_instances(source, first.instance, second.instance)
        attempt(f"{first.recipe}; {second.recipe}", first.renames, merged)
    step(STEPS - len(trials))
    return trials


def _alive(golds: Sequence[_Gold], trials: Sequence[_Trial]) -> set[_Pair]:
    """The near misses that neither the database nor an instance kills."""
    every = {(index, number) for index, gold in enumerate(golds) for number in range(len(gold.mutants))}
    dead = {pair for trial in trials for pair in trial.kills}
    return {pair for pair in every - dead if pair[1] not in golds[pair[0]].killed_by_source}


def _kills(
    golds: Sequence[_Gold], alive: set[_Pair], executor: SQLite, db: str
) -> tuple[frozenset[int], frozenset[_Pair]]:
    sound = [index for index, gold in enumerate(golds) if not gold.problem]
    found, usable = usable_on(
        db, [golds[index].sql for index in sound], [golds[index].parts for index in sound], executor
    )
    runs = dict(zip(sound, found, strict=True))
    serves = frozenset(index for index, good in zip(sound, usable, strict=True) if good)
    pairs = sorted(pair for pair in alive if pair[0] in serves)
    tried = executor.execute_many([Query(golds[index].mutants[number].sql, db) for index, number in pairs])
    kills = frozenset(
        (index, number)
        for (index, number), result in zip(pairs, tried, strict=True)
        if result.ok and not compare(runs[index], result, "strict", gold_sql=golds[index].sql).match
    )
    return serves, kills


def _choose(trials: Sequence[_Trial], most: int) -> list[_Trial]:
    """Greedily the instance that kills the most near misses that live; of equals, the one that serves more.

    Instances that part codes from their names come last, for what no other kills.
    """
    chosen: list[_Trial] = []
    dead: set[_Pair] = set()
    tame = [trial for trial in trials if not trial.renames]
    for some, room in ((tame, max(1, most - 1)), (trials, most)):
        while len(chosen) < room:
            best = max(some, key=lambda trial: (len(trial.kills - dead), len(trial.serves)), default=None)
            if best is None or not best.kills - dead:
                break
            chosen.append(best)
            dead |= best.kills
    for trial in chosen[::-1]:  # what later ones made superfluous
        others = {pair for other in chosen if other is not trial for pair in other.kills}
        if trial.kills <= others:
            chosen.remove(trial)
    return [_only_where_needed(trial, chosen) if trial.renames else trial for trial in chosen]


def _only_where_needed(trial: _Trial, chosen: Sequence[_Trial]) -> _Trial:
    others = {pair for other in chosen if other is not trial for pair in other.kills}
    needing = frozenset(index for index, _ in trial.kills - others)
    kills = frozenset(pair for pair in trial.kills if pair[0] in needing)
    return replace(trial, serves=trial.serves & needing, kills=kills)


def _equivalent(golds: Sequence[_Gold], pairs: Iterable[_Pair], schema: Schema) -> set[_Pair]:
    """Of near misses that live, those that can be shown to mean the same as the gold."""
    found = set()
    for index, number in pairs:
        try:
            mine, other = (
                sql_operations(sql, schema=schema)
                for sql in (golds[index].sql, golds[index].mutants[number].sql)
            )
        except OperationsError:
            continue
        if mine == other:
            found.add((index, number))
    return found


def _report(index: int, gold: _Gold, chosen: Sequence[_Trial]) -> GoldReport:
    serves = tuple(number for number, trial in enumerate(chosen) if index in trial.serves)
    dead = {number for trial in chosen for owner, number in trial.kills if owner == index}
    counted = set(range(len(gold.mutants))) - gold.equivalent
    killed = (gold.killed_by_source | dead) & counted
    guesses = {number for number in counted if gold.mutants[number].kind in ("guess", "recited key")}
    pinned = bool(serves) and guesses <= killed and bool(killed)
    problem = gold.problem
    if not problem and not serves:
        problem = "no instance serves it: on each it is empty, fails, or cuts through a tie at a LIMIT"
    elif not problem and not pinned:
        problem = "its result is the same on every instance"
    living = [gold.mutants[number] for number in sorted(counted - killed)]
    return GoldReport(
        gold.sql,
        len(counted),
        len(gold.equivalent),
        len(gold.killed_by_source),
        len(killed),
        serves,
        pinned,
        problem,
        tuple(f"{one.kind}: {one.sql}" for one in living),
    )
