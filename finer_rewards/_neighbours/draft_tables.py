"""`DraftTable`, a table of an instance while it is being made, and the steps that write values into its rows.

While drafts are changed, a reference is kept as the index of the row it points to; `resolve` writes the values at the
end. The functions `keep_...` then repair what the data promises (see `promises.py`).
"""

from __future__ import annotations

from operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from finer_rewards._neighbours.conditions import ColumnCondition
    from finer_rewards._neighbours.portable_random import PortableRandom
    from finer_rewards._neighbours.source_tables import Reference, SourceTable
    from finer_rewards.types import Cell, Row

# In place of a row's index: a reference to a missing row, whose value stays as in the data; and a reference of NULL.
DANGLING = -1
NULL = -2


class DraftTable:
    """A table of an instance in the making.

    Attributes:
        table: the table of the source.
        rows: its rows so far.
        links: for each reference of the table, the index of the row that each row points to, or DANGLING or NULL.
        linked: the columns that refer to other tables.
        single_keys: the columns that are a key by themselves.
        named: those of `single_keys` that are not `linked`: only they can get a new value by themselves.
        parted: whether codes are separated from their names (see `Recipe.renames`).
        sought: the indices of the rows into which `seek_in` wrote values that a gold looks for.
        twins: index of a row -> index of the row that repeats it under another key.
    """

    def __init__(self, table: SourceTable, rows: list[list[Cell]]) -> None:
        self.table = table
        self.rows = rows
        self.links: list[list[int]] = []
        self.linked = table.linked
        self.single_keys = {key[0] for key in table.keys if len(key) == 1}
        self.named = sorted(self.single_keys - self.linked)
        self.parted = False
        self.sought: list[int] = []
        self.twins: dict[int, int] = {}

    def real_row(self, place: int, value: Cell) -> Row | None:
        """Return the row of the data that has this value in a key column."""
        found = self.table.rows.places((place,)).get((value,))
        return None if found is None else self.table.rows[found]


def seek_in(
    name: str,
    number: int,
    drafts: Mapping[str, DraftTable],
    sought: Mapping[str, list[list[ColumnCondition]]],
    rng: PortableRandom,
    depth: int,
    whole: bool = False,
) -> None:
    """Write values that meet a gold's conditions, or just miss them, into a row and the rows that it refers to.

    Args:
        name: the table.
        number: the index of the row.
        drafts: all tables.
        sought: for each table, lists of the gold's conditions on one column each.
        rng: the source of random numbers.
        depth: how many references to follow.
        whole: whether to try for all conditions at once; left to chance, a row would rarely meet all of them.
    """
    draft = drafts[name]
    places = draft.table.place
    for same in sought.get(name, ()):
        one = same[0] if len(same) == 1 else rng.choice(same)
        place = places.get(one.column)
        if place is None or (not whole and rng.random() < 0.15) or _has_name(draft, number, place, one):
            continue
        value = _looked_for(one, rng, whole)
        if place in draft.linked:
            _link_to(draft, number, place, value, drafts)
        else:
            _put(draft, number, place, value)
    for index, reference in enumerate(draft.table.references if depth else ()):
        parent = draft.links[index][number]
        if parent >= 0 and (whole or rng.random() < 0.5):
            wanted = sought.get(reference.to_table, ())
            known = _named(drafts[reference.to_table], parent, wanted, rng, whole)
            draft.links[index][number] = known
            seek_in(reference.to_table, known, drafts, sought, rng, depth - 1, whole)


def _looked_for(one: ColumnCondition, rng: PortableRandom, whole: bool) -> Cell:
    """Return a value that meets a condition, or, unless `whole`, sometimes one that just misses it."""
    near = one.near if one.near and not whole and rng.random() < 0.45 else one.meets
    return rng.choice(near)


def _is_name(draft: DraftTable, place: int, one: ColumnCondition) -> bool:
    """Whether the condition looks for a value that only one row may have."""
    return place in draft.single_keys or any((place, value) in draft.table.singles for value in one.meets)


def _has_name(draft: DraftTable, number: int, place: int, one: ColumnCondition) -> bool:
    """Whether the row has the unique value that a condition looks for; it keeps that, as no other row can get it."""
    value = draft.rows[number][place]
    return (value in one.meets or value in one.near) and _is_name(draft, place, one)


def _named(
    draft: DraftTable, parent: int, sought: Sequence[list[ColumnCondition]], rng: PortableRandom, whole: bool
) -> int:
    """Return the row to refer to: if a gold looks for a unique value, the row that has it or is given it here."""
    for same in sought:
        one = rng.choice(same)
        place = draft.table.place.get(one.column)
        if place is None or place in draft.linked or not _is_name(draft, place, one):
            continue
        value = _looked_for(one, rng, whole)
        for number, row in enumerate(draft.rows):
            if row[place] == value:
                return number
        free = [number for number in range(len(draft.rows)) if not _has_name(draft, number, place, one)]
        if free:
            parent = parent if parent in free else rng.choice(free)
            _put(draft, parent, place, value)
        return parent
    return parent


def _put(draft: DraftTable, number: int, place: int, value: Cell) -> None:
    """Write a value; if it is the key of a real row, write all keys of that row, so that they stay together.

    Nothing is written if another row already has one of the keys.
    """
    row = draft.rows[number]
    if place not in draft.single_keys:
        row[place] = value
        return
    real = None if draft.parted else draft.real_row(place, value)
    names = {place: value} if real is None else {other: real[other] for other in draft.named}
    names[place] = value
    if all(other[one] != name for other in draft.rows if other is not row for one, name in names.items()):
        for one, name in names.items():
            row[one] = name


def _link_to(
    draft: DraftTable, number: int, place: int, value: Cell, drafts: Mapping[str, DraftTable]
) -> None:
    """Let a row refer to the row that has the value; if there is none, give the value to the row that it refers to."""
    for index, one in enumerate(draft.table.references):
        if one.columns == (place,):
            parent, column = drafts[one.to_table], one.to_columns[0]
            for candidate, row in enumerate(parent.rows):
                if row[column] == value:
                    draft.links[index][number] = candidate
                    return
            target = draft.links[index][number]
            if target >= 0 and column not in parent.linked:
                _put(parent, target, column, value)
            return


def resolve(draft: DraftTable, drafts: Mapping[str, DraftTable]) -> None:
    """Write into referring columns the values of the rows that they refer to."""
    for one, links in zip(draft.table.references, draft.links, strict=True):
        parent = drafts[one.to_table].rows
        for row, link in zip(draft.rows, links, strict=True):
            for ours, theirs in zip(one.columns, one.to_columns, strict=True):
                if link == NULL:
                    row[ours] = None
                elif link != DANGLING:
                    row[ours] = parent[link][theirs]


def keep_individuals(draft: DraftTable, rng: PortableRandom) -> None:
    """Give rows that a gold names by key the unique texts they have in the data; other rows get other texts there."""
    for one in draft.table.individuals:
        for place, text in one.texts:
            others = [value for value in draft.table.values(place) if value != text] or [f"{text}a"]
            for row in draft.rows:
                if row[one.key] == one.value:
                    row[place] = text
                elif row[place] == text:
                    row[place] = rng.choice(others)


def keep_singles(draft: DraftTable, rng: PortableRandom) -> None:
    """Leave a text that only one row of the data has to one row; the others get another text."""
    for place, text in draft.table.singles:
        others = [value for value in draft.table.values(place) if value != text] or [f"{text}a"]
        having = [row for row in draft.rows if row[place] == text]
        for row in having[1:]:
            row[place] = rng.choice(others)


def keep_determined(
    draft: DraftTable, pools: Mapping[tuple[str, int], list[Cell]], name: str, rng: PortableRandom
) -> None:
    """Rewrite columns until one determines the other as in the data: a query may rely on that.

    Usually the determined column changes; `pools` has the values that a gold looks for, and these stay where
    they can.
    """
    for first, second in draft.table.determined:
        known = draft.table.mapping(first, second)
        wanted = set(pools.get((name, second), ()))
        if wanted and first not in draft.linked and (name, first) not in pools:
            # The determined column has a value that a gold looks for: the column that determines it is changed to fit.
            saying: dict[Cell, list[Cell]] = {}
            for value, other in known.items():
                saying.setdefault(other, []).append(value)
            for row in draft.rows:
                said, other = row[second], row[first]
                if said in wanted and said in saying:
                    row[first] = rng.choice(saying[said])
                elif said in wanted and isinstance(said, str) and isinstance(other, str):
                    row[first] = f"{said} {other}"
        for row in draft.rows:
            if row[first] is not None:
                row[second] = known.setdefault(row[first], row[second])


def unique(draft: DraftTable) -> list[int]:
    """Return the indices of the rows to keep so that no key occurs twice."""
    rows = draft.rows
    kept = list(range(len(rows)))
    for key in draft.table.keys:
        values = list(map(itemgetter(*key), rows))
        if len(set(values)) < len(values):
            seen: set[Any] = set()
            some = []
            for number in kept:
                value = values[number]
                if value not in seen or value is None or (len(key) > 1 and None in value):
                    seen.add(value)
                    some.append(number)
            kept = some
    return kept


def drop_orphans(
    name: str, draft: DraftTable, drafts: Mapping[str, DraftTable], kept: dict[str, list[int]]
) -> bool:
    """Drop the rows that refer to a dropped row; return whether there were any."""
    before = len(kept[name])
    for one, links in zip(draft.table.references, draft.links, strict=True):
        parent = drafts[one.to_table].rows
        if len(kept[one.to_table]) == len(parent):
            continue
        theirs, ours = itemgetter(*one.to_columns), itemgetter(*one.columns)
        present = {theirs(parent[number]) for number in kept[one.to_table]}
        kept[name] = [
            number for number in kept[name] if links[number] < 0 or ours(draft.rows[number]) in present
        ]
    return len(kept[name]) < before


def drop_childless(
    draft: DraftTable, references: frozenset[Reference], kept: dict[str, list[int]], name: str
) -> bool:
    """Drop the rows of other tables that no row of this one refers to; return whether there were any.

    Args:
        draft: the table.
        references: those of its references by which in the data every row is referred to.
        kept: the rows kept so far, by table; changed.
        name: the name of the table.
    """
    dropped = False
    for one, links in zip(draft.table.references, draft.links, strict=True):
        if one in references:
            referred = {links[number] for number in kept[name]}
            some = [number for number in kept[one.to_table] if number in referred]
            dropped = dropped or len(some) < len(kept[one.to_table])
            kept[one.to_table] = some
    return dropped
