"""Making an instance: small tables with the source's schema, made for one gold by one recipe.

The steps of `make_instance`: take real rows or new ones, change columns and references, write the gold's constants
into some rows, repeat some rows, resolve references, and repair what the data promises.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from operator import itemgetter

from finer_rewards._neighbours.column_values import FILLS, bounds_of, fill, fresh
from finer_rewards._neighbours.draft_tables import (
    DANGLING,
    NULL,
    DraftTable,
    drop_childless,
    drop_orphans,
    keep_determined,
    keep_individuals,
    keep_singles,
    resolve,
    seek_in,
    unique,
)
from finer_rewards._neighbours.forms import Form
from finer_rewards._neighbours.recipes import Recipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from finer_rewards._neighbours.column_values import Bounds
    from finer_rewards._neighbours.conditions import ColumnCondition
    from finer_rewards._neighbours.portable_random import PortableRandom
    from finer_rewards._neighbours.source_database import SourceDatabase
    from finer_rewards._neighbours.source_tables import Reference, SourceTable
    from finer_rewards.types import Cell, Row


#: Tables that the gold does not need get this many rows of the data, with random references. That exposes queries that
#: read these tables; more rows would cost more than they expose.
_FAR_ROWS = 6
#: The share of the rows written for a gold that meet all its conditions, instead of each condition by chance.
_WHOLE = 0.3
# The recipe for such tables.
_FAR = Recipe("new", _FAR_ROWS, change=1.0)


@dataclass(frozen=True)
class Instance:
    """The rows of each table, in an order in which they can be inserted."""

    tables: Mapping[str, tuple[Row, ...]]


def make_instance(
    source: SourceDatabase,
    golds: Sequence[Sequence[ColumnCondition]],
    recipe: Recipe,
    rng: PortableRandom,
    looked_at: frozenset[str] | None = None,
    mentioned: frozenset[str] | None = None,
) -> Instance:
    """Return an instance.

    Args:
        source: the database.
        golds: the conditions of each gold that it is made for.
        recipe: how to make it.
        rng: the source of random numbers; the same state gives the same instance.
        looked_at: the tables that the gold reads, lower case, if known.
        mentioned: the columns that the gold mentions, lower case, if no others matter; the others keep real values.
    """
    golds = [[_as_written(source, one) for one in conditions] for conditions in golds]
    pools = _pools(source, golds)
    tables = frozenset(source.tables) if looked_at is None else looked_at
    near = _needed(source, tables)
    make = _sampled if recipe.start == "sample" else _drawn
    start = make(source, pools, recipe, rng, near, tables)
    sought = [_by_table(conditions) for conditions in golds]
    drafts = {}
    for name, table in source.tables.items():
        few = 0 if recipe.bare else min(_FAR_ROWS, len(table.rows))
        far = [] if name in near else [list(row) for row in rng.sample(table.rows, few)]
        drafts[name] = DraftTable(table, start.get(name, far))
    for name, draft in drafts.items():
        # References of new rows, and of tables that the gold does not need, are drawn anew further down.
        real = recipe.start == "sample" and name in near
        draft.links = [
            _links(draft, one, drafts[one.to_table]) if real else [NULL] * len(draft.rows)
            for one in draft.table.references
        ]
    for name, draft in drafts.items():
        if name in near:
            _change_columns(draft, name, pools, recipe, rng, mentioned)
        _relink(draft, drafts, recipe if name in near else _FAR, rng)
        _seek(name, drafts, _reaching(source, name, sought) if name in tables else [], recipe, rng)
        if name in near:
            _double(name, drafts, pools, recipe, rng)
        _seek_in_twins(name, drafts, sought, rng)
    for draft in drafts.values():
        resolve(draft, drafts)
    for draft in drafts.values() if source.cyclic else ():
        resolve(draft, drafts)
    for name, draft in drafts.items():
        keep_determined(draft, pools, name, rng)
        keep_singles(draft, rng)
        if not recipe.renames:
            keep_individuals(draft, rng)
    return _finished(
        drafts, {name: source.always_referred_to[name] for name in source.tables if name in near}
    )


def _finished(
    drafts: Mapping[str, DraftTable], always_referred_to: Mapping[str, frozenset[Reference]]
) -> Instance:
    """Return the instance without rows that repeat a key, refer to a dropped row, or lack what refers to them."""
    kept = {name: unique(draft) for name, draft in drafts.items()}
    while any(drop_orphans(name, draft, drafts, kept) for name, draft in drafts.items()) or any(
        drop_childless(drafts[name], references, kept, name)
        for name, references in always_referred_to.items()
    ):
        continue
    return Instance(
        {name: tuple(tuple(draft.rows[number]) for number in kept[name]) for name, draft in drafts.items()}
    )


def _needed(source: SourceDatabase, tables: frozenset[str]) -> set[str]:
    """Return the tables with all that their rows refer to, directly or not."""
    needed: set[str] = set()
    waiting = [name for name in tables if name in source.tables]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [one.to_table for one in source.tables[name].references]
    return needed


def _pools(
    source: SourceDatabase, golds: Sequence[Sequence[ColumnCondition]]
) -> dict[tuple[str, int], list[Cell]]:
    """Return the values that golds look for, by (table, column); also for columns that such a column refers to."""
    pools: dict[tuple[str, int], list[Cell]] = defaultdict(list)
    for conditions in golds:
        for one in conditions:
            place = _place(source, one)
            if place is not None:
                pools[one.table, place] += [*one.meets, *one.near]
    for name, table in reversed(list(source.tables.items())):
        for reference in table.references:
            for ours, theirs in zip(reference.columns, reference.to_columns, strict=True):
                pools[reference.to_table, theirs] += pools.get((name, ours), [])
    return {key: list(dict.fromkeys(values)) for key, values in pools.items() if values}


def _by_table(conditions: Sequence[ColumnCondition]) -> dict[str, list[list[ColumnCondition]]]:
    """Return a gold's conditions by table, and within a table in one list for each column."""
    found: dict[str, dict[str, list[ColumnCondition]]] = defaultdict(dict)
    for one in conditions:
        found[one.table].setdefault(one.column, []).append(one)
    return {table: list(columns.values()) for table, columns in found.items()}


def _as_written(source: SourceDatabase, condition: ColumnCondition) -> ColumnCondition:
    """Return the condition with its values as the data would write them.

    Its texts get the upper or lower case of the data, since LIKE ignores case, and its values the form of the column.
    """
    place = _place(source, condition)
    if place is None:
        return condition
    rows = source.tables[condition.table].rows
    form = rows.form(place)
    real = [value for value in rows.values(place) if isinstance(value, str)] if condition.any_case else []

    def spelled(text: Cell) -> Cell:
        for value in real:
            at = value.lower().find(text.lower()) if isinstance(text, str) else -1
            if at >= 0 and isinstance(text, str):
                return value[at : at + len(text)]
        return text

    def written(values: Sequence[Cell]) -> tuple[Cell, ...]:
        return tuple(dict.fromkeys(one for value in values for one in form.fitted(spelled(value))))

    # If no value fits the column's form, keep the values as they are: without them the gold would return nothing.
    meets = written(condition.meets) or condition.meets
    return condition._replace(meets=meets, near=written(condition.near))


def _place(source: SourceDatabase, condition: ColumnCondition) -> int | None:
    table = source.tables.get(condition.table)
    return None if table is None else table.place.get(condition.column)


def _sampled(
    source: SourceDatabase,
    pools: Mapping[tuple[str, int], list[Cell]],
    recipe: Recipe,
    rng: PortableRandom,
    near: set[str],
    looked_at: frozenset[str],
) -> dict[str, list[list[Cell]]]:
    """Return real rows, preferring those that golds look for, with all rows that they refer to."""
    chosen: dict[str, dict[int, None]] = {name: {} for name in source.tables if name in near}
    for name in chosen:
        table = source.tables[name]
        whole = bool(table.references) or name in looked_at
        size = min(recipe.rows, max(3, len(table.rows) * 3 // 5)) if whole else 6
        wanted = {place: set(values) for (owner, place), values in pools.items() if owner == name}
        sought = sorted(
            {
                number
                for place, values in wanted.items()
                for number, row in enumerate(table.rows)
                if row[place] in values
            }
        )
        for number in rng.sample(sought, min(len(sought), size // 2)):
            chosen[name][number] = None
        rest = range(len(table.rows))
        for number in rng.sample(rest, min(len(rest), size - min(size, len(chosen[name])))):
            chosen[name][number] = None
    waiting = [(name, number) for name, numbers in chosen.items() for number in numbers]
    while waiting:
        name, number = waiting.pop()
        table = source.tables[name]
        for one in table.references:
            value = tuple(table.rows[number][place] for place in one.columns)
            parent = source.tables[one.to_table].rows.places(one.to_columns).get(value)
            if parent is not None and parent not in chosen[one.to_table]:
                chosen[one.to_table][parent] = None
                waiting.append((one.to_table, parent))
    return {
        name: [list(source.tables[name].rows[number]) for number in sorted(numbers)]
        for name, numbers in chosen.items()
    }


def _drawn(
    source: SourceDatabase,
    _: Mapping[tuple[str, int], list[Cell]],
    recipe: Recipe,
    rng: PortableRandom,
    near: set[str],
    looked_at: frozenset[str],
) -> dict[str, list[list[Cell]]]:
    """Return rows for a `new` instance, whose values are written over later: copies of real rows if there are any."""
    found = {}
    for name, table in source.tables.items():
        if name in near:
            count = recipe.rows if table.references or name in looked_at else max(5, recipe.rows // 3)
            rows, size = table.rows or ((None,) * len(table.columns),), max(1, len(table.rows))
            found[name] = [list(rows[int(rng.random() * size)]) for _ in range(count)]
    return found


def _links(draft: DraftTable, reference: Reference, parent: DraftTable) -> list[int]:
    """Return the index of the row that each row refers to by its present values."""
    several = len(reference.columns) > 1
    places = {value: n for n, value in enumerate(map(itemgetter(*reference.to_columns), parent.rows))}
    return [
        NULL if value is None or (several and None in value) else places.get(value, DANGLING)
        for value in map(itemgetter(*reference.columns), draft.rows)
    ]


def _change_columns(
    draft: DraftTable,
    name: str,
    pools: Mapping[tuple[str, int], list[Cell]],
    recipe: Recipe,
    rng: PortableRandom,
    mentioned: frozenset[str] | None,
) -> None:
    """Give columns other values: shuffled ones, or a mixture of real values, the gold's constants and new ones."""
    table, count = draft.table, len(draft.rows)
    new = recipe.start == "new"
    if new:
        _name(draft, name, pools, recipe, rng)
    kept = draft.linked | draft.single_keys
    if table.rows and mentioned is not None:
        kept |= {place for title, place in table.place.items() if title not in mentioned}
    for place in range(len(table.columns)):
        if place in kept:
            continue
        pool = pools.get((name, place), [])
        avoided = set(pool) if recipe.avoids else set()
        known = [*pool, *table.values(place)]
        if avoided:
            pool, known = [], [value for value in known if value not in avoided]
        if not new and rng.random() >= recipe.change:
            continue
        if not new and rng.random() < 0.4:
            values = [row[place] for row in draft.rows]
            rng.shuffle(values)
        else:
            values = _other_values(table, place, pool, known, count, rng)
        values = _with_nulls(draft, place, values, known, rng)
        for row, value in zip(draft.rows, values, strict=True):
            row[place] = rng.choice(known) if known and value in avoided else value


def _other_values(
    table: SourceTable,
    place: int,
    pool: Sequence[Cell],
    known: Sequence[Cell],
    count: int,
    rng: PortableRandom,
) -> list[Cell]:
    """Return values for a column: real ones, constants of the gold and new ones, in the form of the real ones."""
    some = [*rng.sample(pool, min(len(pool), 3)), *rng.sample(known, min(len(known), 30))]
    values = fill(rng.choice(FILLS), count, some, table.types[place], rng)
    form = table.rows.form(place)
    if not known or form == Form():
        return values
    return [
        value if value is None or value in pool or form.takes(value) else rng.choice(known)
        for value in values
    ]


def _with_nulls(
    draft: DraftTable, place: int, values: list[Cell], known: Sequence[Cell], rng: PortableRandom
) -> list[Cell]:
    """Return values with some NULLs where a column takes them, and without any where it does not."""
    if place in draft.table.nullable:
        return [None if rng.random() < 0.15 else value for value in values] if rng.random() < 0.5 else values
    bounds = bounds_of(known) if None in values else None
    return [
        value if value is not None else fresh(known, draft.table.types[place], rng, bounds)
        for value in values
    ]


def _name(
    draft: DraftTable,
    name: str,
    pools: Mapping[tuple[str, int], list[Cell]],
    recipe: Recipe,
    rng: PortableRandom,
) -> None:
    """Give new rows their keys. Most get all keys of one real row, so that a code stays with its name."""
    draft.parted = recipe.renames
    real: list[Row] = []
    if not recipe.renames:
        count = (3 * len(draft.rows) + 3) // 4
        sought = [(place, set(pools[name, place])) for place in draft.named if (name, place) in pools]
        rows = draft.table.rows
        real = (
            [row for row in rows if any(row[place] in values for place, values in sought)] if sought else []
        )
        rng.shuffle(real)
        taken = set(map(id, real))
        more = rng.sample(rows, min(len(rows), count))
        real = [*real, *[row for row in more if id(row) not in taken]][:count]
        # Without this the rows that a gold looks for would be stored first.
        rng.shuffle(real)
    for place in draft.named:
        names = [row[place] for row in real]
        looked_for = list(pools.get((name, place), []))
        rng.shuffle(looked_for)
        known = [*looked_for, *draft.table.values(place)]
        bounds = _bounds(draft, place, pools.get((name, place), ()))
        # Values that golds look for come before new values.
        values = list(dict.fromkeys([*names, *looked_for[: len(draft.rows) // 2]]))
        missing = len(draft.rows) - len(values)
        if missing > 0:
            others = fill("distinct", 2 * missing, known, draft.table.types[place], rng, bounds)
            values = list(dict.fromkeys([*values, *others]))
        if not real:
            values[: len(draft.rows)] = rng.sample(values[: len(draft.rows)], len(values[: len(draft.rows)]))
        for row, value in zip(draft.rows, values, strict=False):
            row[place] = value


def _bounds(draft: DraftTable, place: int, pool: Sequence[Cell]) -> Bounds:
    """Return the least and greatest number that a column has or that a gold looks for."""
    found = [one for one in (draft.table.rows.bounds(place), bounds_of(pool)) if one is not None]
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def _relink(draft: DraftTable, drafts: Mapping[str, DraftTable], recipe: Recipe, rng: PortableRandom) -> None:
    """Draw references anew: evenly, or unevenly, with one row referred to once, the next twice, and so on."""
    for index, one in enumerate(draft.table.references):
        parents = list(range(len(drafts[one.to_table].rows)))
        if not parents or (recipe.start != "new" and rng.random() >= recipe.change):
            continue
        rng.shuffle(parents)
        if len(parents) > 3 and rng.random() < 0.7:
            # Leave some rows that nothing refers to.
            parents = parents[: max(3, len(parents) * 3 // 4)]
        if rng.random() < 0.6:
            parents = [parent for step, parent in enumerate(parents[:8], 1) for _ in range(step)]
        optional = all(place in draft.table.nullable for place in one.columns)
        # As `choice` does, without a call for each row.
        draw, count = rng.random, len(parents)
        draft.links[index] = [
            NULL if optional and draw() < 0.1 else parents[int(draw() * count)] for _ in draft.rows
        ]


def _double(
    name: str,
    drafts: Mapping[str, DraftTable],
    pools: Mapping[tuple[str, int], list[Cell]],
    recipe: Recipe,
    rng: PortableRandom,
) -> None:
    """Repeat rows under other keys, preferring rows that a gold looks for.

    A repeated row refers to the same rows as its twin, or to the twins of these.
    """
    draft = drafts[name]
    if not draft.rows:
        return
    known = {
        place: [*pools.get((name, place), []), *draft.table.values(place)] for place in draft.single_keys
    }
    bounds = {place: _bounds(draft, place, pools.get((name, place), ())) for place in known}
    for _ in range(int(len(draft.rows) * recipe.doubles)):
        number = rng.randint(0, len(draft.rows) - 1)
        if draft.sought and rng.random() < 0.5:
            number = rng.choice(draft.sought)
        row = list(draft.rows[number])
        for place in draft.single_keys:
            row[place] = fresh(known[place], draft.table.types[place], rng, bounds[place], spread=3)
        draft.twins[number] = len(draft.rows)
        draft.rows.append(row)
        for one, links in zip(draft.table.references, draft.links, strict=True):
            twin = drafts[one.to_table].twins.get(links[number])
            other = rng.choice(links) if twin is None else twin
            links.append(other if rng.random() < 0.5 else links[number])


def _reaching(
    source: SourceDatabase, name: str, golds: Sequence[Mapping[str, list[list[ColumnCondition]]]]
) -> list[Mapping[str, list[list[ColumnCondition]]]]:
    """Return the conditions of those golds that a row of the table, or a row that it refers to, can meet."""
    reached = _needed(source, frozenset([name]))
    return [sought for sought in golds if not reached.isdisjoint(sought)]


def _seek(
    name: str,
    drafts: Mapping[str, DraftTable],
    golds: Sequence[Mapping[str, list[list[ColumnCondition]]]],
    recipe: Recipe,
    rng: PortableRandom,
) -> None:
    """Write values that meet a gold's conditions, or just miss them, into some rows and the rows that they refer to."""
    # If no condition is on this table itself, the values go into rows that several rows refer to: half as many do.
    share = recipe.sought if any(name in sought for sought in golds) else recipe.sought / 2
    for number in range(len(drafts[name].rows) if golds else 0):
        if rng.random() < share:
            drafts[name].sought.append(number)
            sought = rng.choice(golds)
            whole = sum(map(len, sought.values())) > 1 and rng.random() < _WHOLE
            seek_in(name, number, drafts, sought, rng, depth=3, whole=whole)


def _seek_in_twins(
    name: str,
    drafts: Mapping[str, DraftTable],
    golds: Sequence[Mapping[str, list[list[ColumnCondition]]]],
    rng: PortableRandom,
) -> None:
    """Write values that a gold looks for into some repeated rows.

    Such a pair differs in nothing else, as golds with INTERSECT and EXCEPT need.
    """
    own = [sought for sought in golds if name in sought]
    for number in drafts[name].twins.values() if own else ():
        if rng.random() < 0.5:
            seek_in(name, number, drafts, rng.choice(own), rng, depth=1)
