"""Making the instances of a gold in a worker: those on which near misses return another result than the gold.

After Zhong, Yu, Klein, "Semantic Evaluation for Text-to-SQL with Distilled Test Suites", EMNLP 2020. A worker has the
standard library only.
"""

from __future__ import annotations

from finer_rewards._neighbours.conditions import ColumnCondition, EqualColumns
from finer_rewards._neighbours.instance_database import EmptyDatabase, InstanceRequest, try_instance
from finer_rewards._neighbours.instances import make_instance
from finer_rewards._neighbours.portable_random import PortableRandom
from finer_rewards._neighbours.recipes import PARTED, RECIPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from finer_rewards._neighbours.source_database import SourceDatabase
    from finer_rewards.engines.sqlite.worker import Connection

# Once every near miss is exposed, this many instances are enough; one if the gold returns several rows there.
_ENOUGH = 2


def make_judging_instances(
    connection: Connection,
    source: SourceDatabase,
    template: EmptyDatabase,
    gold: str,
    conditions: list[tuple[Any, ...]],
    joins: list[tuple[Any, ...]],
    ordered: bool,
    ties: list[tuple[Any, ...]],
    extremes: tuple[Any, ...] | None,
    promises: list[str],
    tables: list[str],
    mentioned: list[str] | None,
    mutants: list[str],
    seed: int,
    numbers: tuple[int, int],
    patience: int,
) -> Any:
    """Make instances; return those on which the gold can be judged, and the keys and references that the data obeys.

    An instance depends on the content of the database, the gold, the seed and the instance's number, and on nothing
    else.

    Args:
        connection: the open database.
        source: what was read of it.
        template: its tables without rows.
        gold: the gold.
        conditions: the fields of its `ColumnCondition`s.
        joins: the fields of its `EqualColumns`s.
        ordered: see `InstanceRequest`.
        ties: see `InstanceRequest`.
        extremes: see `InstanceRequest`.
        promises: see `InstanceRequest`.
        tables: the tables that the gold reads, lower case.
        mentioned: the columns that it mentions, lower case; `None` if others may matter too.
        mutants: see `InstanceRequest`.
        seed: the seed.
        numbers: the first instance to make, and the one to stop before.
        patience: stop after this many instances in a row that expose nothing new, and leave such instances out; 0 makes
            and keeps all.

    Returns:
        A pair. First, for each instance: number, recipe, rows, content of the file, mutants exposed, mutants that
        differ only in how often rows occur or in their order, digest of the gold's rows, and their number. Second, what
        the data obeys (see `SourceDatabase.obeyed`).
    """
    looked_for = [ColumnCondition(*one) for one in conditions]
    mine = source.with_gold(connection, looked_for, [EqualColumns(*one) for one in joins])
    wanted = InstanceRequest(gold, ordered, ties, extremes, promises, mutants)
    columns = None if mentioned is None else frozenset(mentioned)
    found: list[tuple[Any, ...]] = []
    alive = set(range(len(mutants)))
    vain, enough = 0, _ENOUGH
    for number in range(*numbers) if mine.tables else ():
        if (not alive and (patience or len(found) >= enough)) or (patience and vain >= patience):
            break
        recipe = RECIPES[number] if number < len(RECIPES) else PARTED
        rng = PortableRandom(f"{seed}:{number}:{gold}")
        instance = make_instance(mine, [looked_for], recipe, rng, frozenset(tables), columns)
        trial = try_instance(template, mine, instance, wanted)
        news = trial is not None and bool(alive & (trial.exposed | trial.weakly_exposed))
        vain = 0 if news else vain + 1
        if trial is None or (patience and not news):
            continue
        alive -= trial.exposed | trial.weakly_exposed
        enough = min(enough, 1 if trial.answer[1] > 1 else _ENOUGH)
        found.append(
            (
                number,
                str(recipe),
                trial.rows,
                trial.content,
                sorted(trial.exposed),
                sorted(trial.weakly_exposed),
                *trial.answer,
            )
        )
    return found, mine.obeyed()
