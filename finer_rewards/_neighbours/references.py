"""Finding the references between tables: declared ones, and those that a gold joins by and the data obeys.

This runs in a worker, so it uses the standard library only.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from finer_rewards._neighbours.source_tables import Reference, SourceTable
from finer_rewards._neighbours.table_rows import Rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from finer_rewards._neighbours.conditions import EqualColumns
    from finer_rewards.types import Cell

# The data obeys a reference if at least this share of the values is found in the table referred to.
_INCLUDED = 0.9


def refer_as_declared(tables: dict[str, SourceTable], declared: Sequence[tuple[Any, ...]]) -> None:
    """Add the references that the schema declares."""
    for name, _, _, _, foreign, *_ in declared:
        own = tables.get(name.lower())
        if own is None:
            continue
        parts: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for part in sorted(foreign, key=lambda part: part[:2]):
            parts[part[0]].append(part)
        references: list[Reference] = []
        for group in parts.values():
            to = tables.get(group[0][2].lower())
            if to is None:
                continue
            ours = _places(own, [part[3] for part in group])
            named = [part[4] for part in group if part[4] is not None]
            # A declared reference without columns means the primary key of the other table.
            theirs = _places(to, named) if named else () if to.primary is None else (to.primary,)
            if ours and len(ours) == len(theirs) and ours not in [one.columns for one in references]:
                references.append(Reference(ours, group[0][2].lower(), theirs))
        tables[name.lower()] = replace(own, references=tuple(references))


def refer(tables: dict[str, SourceTable], joins: Iterable[EqualColumns]) -> bool:
    """Add the references that a gold joins by and the data obeys; return whether there were any."""
    changed = False
    for join in joins:
        for child, parent in ((join.left, join.right), (join.right, join.left)):
            own, to = tables.get(child[0]), tables.get(parent[0])
            if own is None or to is None or own is to:
                continue
            ours, theirs = _places(own, child[1:]), _places(to, parent[1:])
            backwards = [one.columns for one in to.references if one.to_table == child[0]]
            if ours and theirs and ours[0] not in own.linked and theirs not in backwards:
                unique = theirs in to.keys or to.rows.never_repeats(theirs[0], 3)
                if unique and _included(own, ours[0], to, theirs[0]):
                    tables[child[0]] = replace(
                        own, references=(*own.references, Reference(ours, parent[0], theirs))
                    )
                    changed = True
                    break
    return changed


def _places(table: SourceTable, names: Sequence[str]) -> tuple[int, ...]:
    found = tuple(table.place[name.lower()] for name in names if name.lower() in table.place)
    return found if len(found) == len(names) else ()


def _included(own: SourceTable, column: int, to: SourceTable, other: int) -> bool:
    theirs = {value: value for value in to.values(other)}
    ours = {_spelled(value, theirs) for value in own.values(column)}
    if not to.complete:
        return True
    return not ours or len(ours & theirs.keys()) >= _INCLUDED * len(ours)


def as_referred(table: SourceTable, tables: Mapping[str, SourceTable]) -> SourceTable:
    """Return the table with referring values written like the values they refer to.

    In SQLite a column of text may hold '1' and refer to the number 1; Python would not find them equal.
    """
    changes: dict[int, dict[Cell, Cell]] = {}
    for one in table.references:
        for ours, theirs in zip(one.columns, one.to_columns, strict=True):
            known = {value: value for value in tables[one.to_table].values(theirs)}
            spelled = {value: _spelled(value, known) for value in table.values(ours)}
            if any(type(value) is not type(other) or value != other for value, other in spelled.items()):
                changes[ours] = spelled
    if not changes:
        return table
    rows = [list(row) for row in table.rows]
    for row in rows:
        for place, spelled in changes.items():
            row[place] = spelled.get(row[place], row[place])
    return replace(table, rows=Rows(map(tuple, rows)))


def _spelled(value: Cell, known: Mapping[Cell, Cell]) -> Cell:
    """Return the known value that SQLite finds equal to this one (text or number); if there is none, this one."""
    if value in known:
        return known[value]
    try:
        return known.get(float(value) if isinstance(value, str) else str(value), value)
    except ValueError:
        return value


def in_order(tables: Mapping[str, SourceTable]) -> dict[str, SourceTable]:
    """Return the tables with referred ones before those that refer to them; within a cycle, in the order declared."""
    ordered: dict[str, SourceTable] = {}
    left = dict(tables)
    while left:
        ready = [
            name
            for name, table in left.items()
            if all(one.to_table not in left or one.to_table == name for one in table.references)
        ] or [next(iter(left))]
        for name in ready:
            ordered[name] = left.pop(name)
    return ordered
