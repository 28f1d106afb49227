"""`PreparedGold`, a gold with all that a worker needs to make its neighbours: conditions, near misses and checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from finer_rewards._neighbours.gold_facts import (
    conditions_of,
    joins_of,
    limited_parts,
    mentioned_in,
    read_gold,
    skipped_parts,
)
from finer_rewards._neighbours.mutants import mutants_of, promises_of
from finer_rewards._neighbours.shortcuts import Mutant, guess_of, recited_key
from finer_rewards._neighbours.storage_order import unfold_tree
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.executing import Query
from finer_rewards.executing.order_probe import probes
from finer_rewards.schema import Schema
from finer_rewards.types import Execution


class JudgingInstance(NamedTuple):
    """An instance that a gold can be judged on; the fields are explained in `make_judging_instances`."""

    number: int
    recipe: str
    rows: int
    content: bytes
    exposed: frozenset[int]
    weakly_exposed: frozenset[int]
    answer: str
    answer_rows: int

    @classmethod
    def of(cls, made: Sequence[Any], mutants: Sequence[int]) -> JudgingInstance:
        """Return the instance that a worker made; `mutants` are the numbers of the mutants that it was given."""
        number, recipe, rows, content, exposed, weakly_exposed, answer, count = made
        strong, weak = ({mutants[place] for place in places} for places in (exposed, weakly_exposed))
        return cls(number, recipe, rows, content, frozenset(strong), frozenset(weak), answer, count)


@dataclass
class PreparedGold:
    """A gold, its near misses, the request to a worker, and what workers have found so far.

    Args:
        sql: the gold.
        problem: why it can have no neighbours; empty if nothing is known against it.
        mutants: its near misses.
        request: the arguments of `make_judging_instances` up to the mutants; `None` if there is nothing to ask.
        living: the numbers of the mutants that no instance has exposed yet.
        equivalent: the numbers of the mutants that mean the same as the gold.
        trials: the instances on which it can be judged.
        notes: what of the database could not be copied.
    """

    sql: str
    problem: str = ""
    mutants: tuple[Mutant, ...] = ()
    request: tuple[Any, ...] | None = None
    living: list[int] = field(default_factory=list)
    equivalent: set[int] = field(default_factory=set)
    trials: list[JudgingInstance] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare(sql: str, run: Execution, schema: Schema, executor: SQLite, db: str) -> PreparedGold:
    """Return a prepared gold.

    Args:
        sql: the gold.
        run: its execution on the database.
        schema: the schema of the database.
        executor: runs further statements.
        db: the database.
    """
    if not run.ok:
        return PreparedGold(sql, f"it does not run: {run.status.told(run.error)}")
    if run.volatile:
        return PreparedGold(sql, "its result changes from run to run")
    if not run.tables:
        return PreparedGold(sql, "it reads no table")
    tree = read_gold(sql, schema)
    mutants: list[Mutant] = []
    conditions, joins, parts, skipped, promises = [], [], [], [], []
    extremes = None
    ordered = False
    guess = guess_of(() if run.truncated else run.rows, sorted(run.tables))
    mutants += [] if guess is None else [guess]
    if tree is not None:
        conditions, joins = conditions_of(tree, schema), joins_of(tree, schema)
        parts, skipped = limited_parts(tree), skipped_parts(tree)
        extremes = unfold_tree(tree)
        ordered = bool(tree.args.get("order"))
        recited = recited_key(tree, run.rows, run.order)
        mutants += [] if recited is None else [recited]
        promises = _kept(promises_of(tree), run, executor, db)
        mutants += [one for one in mutants_of(tree, schema) if one.sql not in promises]
    ties = []
    for part in dict.fromkeys([*parts, *skipped, *([sql] if "limit" in sql.lower() else [])]):
        asked = probes(part, executor.dialect, executor.sorting)
        if asked and asked[0].limit is not None:
            keys = [key.column for key in asked[0].keys]
            ties.append((part, asked[0].sql, asked[0].limit, keys, part in skipped))
    request = (
        sql,
        list(map(tuple, conditions)),
        list(map(tuple, joins)),
        ordered,
        ties,
        None if extremes is None else tuple(extremes),
        promises,
        sorted(run.tables),
        None if tree is None else mentioned_in(tree),
    )
    return PreparedGold(sql, "", tuple(mutants), request, list(range(len(mutants))))


def _kept(promises: Sequence[str], run: Execution, executor: SQLite, db: str) -> list[str]:
    """Return those statements that return the gold's result on the real database."""
    runs = executor.execute_many([Query(sql, db) for sql in promises]) if promises else []
    rows = sorted(map(repr, run.rows))
    return [
        sql
        for sql, other in zip(promises, runs, strict=True)
        if other.ok and sorted(map(repr, other.rows)) == rows
    ]
