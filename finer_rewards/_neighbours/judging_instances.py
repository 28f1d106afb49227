"""From a database and a gold to instances on which near misses of the gold give other results.

After Zhong, Yu, Klein, "Semantic Evaluation for Text-to-SQL with Distilled Test Suites", EMNLP 2020. This runs in a
worker, so it needs the standard library only.
"""

from __future__ import annotations

from finer_rewards._neighbours.conditions import ColumnCondition, EqualColumns
from finer_rewards._neighbours.instance_database import EmptyDatabase, Wanted, try_instance
from finer_rewards._neighbours.instances import make_instance
from finer_rewards._neighbours.portable_random import PortableRandom
from finer_rewards._neighbours.recipes import PARTED, RECIPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from finer_rewards._neighbours.source_database import SourceDatabase
    from finer_rewards.engines.sqlite.worker import Connection

_ENOUGH = 2  # trials that a gold can be judged on, when every near miss is told from it; 1 where it has several rows


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
    """Make instances, and return those on which the gold can be judged, and what the data obeys.

    What an instance is hangs on the content of the database, the gold, the seed and its number, and on nothing else.

    Args:
        connection: the open database.
        source: what was read of it.
        template: its tables without rows.
        gold: the gold, and what is known of it up to `promises`: see `Wanted`.
        conditions: what it looks for.
        joins: what it takes to be equal.
        ordered: see `Wanted`, as for what follows.
        ties: see there.
        extremes: see there.
        promises: see there.
        tables: those that the gold reads, lower case.
        mentioned: the columns that it mentions, lower case; `None` where others may count too.
        mutants: see there.
        seed: the seed.
        numbers: the first instance to make, and the one to end before.
        patience: instances without news, one after the other, after which no more are made; then those without are
            left out. 0 for all.

    Returns:
        A pair: for each instance (number, how it was made, rows, content, mutants told, mutants that differ only in how
        often rows come or in their order, digest of the gold's rows, how many there are); and what the data obeys.
    """
    looked_for = [ColumnCondition(*one) for one in conditions]
    mine = source.with_gold(connection, looked_for, [EqualColumns(*one) for one in joins])
    wanted = Wanted(gold, ordered, ties, extremes, promises, mutants)
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
        news = trial is not None and bool(alive & (trial.told | trial.counted))
        vain = 0 if news else vain + 1
        if trial is None or (patience and not news):
            continue
        alive -= trial.told | trial.counted
        enough = min(enough, 1 if trial.answer[1] > 1 else _ENOUGH)
        found.append(
            (
                number,
                str(recipe),
                trial.rows,
                trial.content,
                sorted(trial.told),
                sorted(trial.counted),
                *trial.answer,
            )
        )
    return found, mine.obeyed()
