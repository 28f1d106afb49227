"""Finding what the data promises without declaring it: keys, columns that determine others, texts that name one row.

People who write golds rely on such promises, so neighbours keep them. This runs in a worker, so it uses the standard
library only.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import permutations

from finer_rewards._neighbours.source_tables import Individual, SourceTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from finer_rewards._neighbours.conditions import ColumnCondition
    from finer_rewards._neighbours.source_tables import Reference
    from finer_rewards.types import Cell

# With fewer rows than this, it may be an accident that values never repeat; fewer are enough for a column with the
# table's name.
_TELLING_ROWS = 5
_FEWEST_ROWS = 3
# Words in the titles of columns that name a row.
_NAMES = ("name", "title")
# A column names rows if at least this share of its values is distinct.
_NAMING = 0.8
# In a table with more columns, none is checked for determining another.
_MOST_COLUMNS = 40


def observed_keys(table: SourceTable, referred: set[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    """Yield the keys that are not declared but that the data obeys."""
    for column, title in enumerate(table.columns):
        is_id = title.lower() == "id" or title.lower().endswith(("_id", "code")) or title.endswith("ID")
        if (
            ((column,) in referred and (not table.rows or table.rows.never_repeats(column, 3)))
            or (is_id and not table.keys and table.rows.never_repeats(column, 3))
            or _names_rows(table, column)
        ):
            yield (column,)
    links = tuple(sorted(table.linked))
    if len(links) > 1 and table.rows.never_repeats_together(links, _TELLING_ROWS):
        yield links


def _names_rows(table: SourceTable, column: int) -> bool:
    """Whether a column holds texts that never repeat, in so many rows that it is no accident: it names the rows."""
    title, own = table.columns[column].lower(), table.name.lower()
    least = (
        _FEWEST_ROWS
        if title in (own, own.removesuffix("s"))
        else _TELLING_ROWS
        if any(word in title for word in _NAMES)
        else 2 * _TELLING_ROWS
    )
    return table.rows.never_repeats(column, least) and all(
        isinstance(value, str) for value in table.values(column)
    )


def determined(table: SourceTable) -> Iterator[tuple[int, int]]:
    """Yield pairs of columns of which the first determines the second in all rows, although it repeats."""
    rows, count = table.rows, len(table.rows)
    if count < _TELLING_ROWS or len(table.columns) > _MOST_COLUMNS:
        return
    alone = {key[0] for key in table.keys if len(key) == 1}
    open_to = [place for place in range(len(table.columns)) if place not in alone]
    for first, second in permutations(open_to, 2):
        if second in table.linked:
            continue
        ours, theirs = len(table.values(first)), len(table.values(second))
        # The first has to repeat often enough that this is no accident, and the second must not be constant.
        if 2 <= theirs <= ours <= 0.7 * count and len(rows.places((first, second))) == len(
            rows.places((first,))
        ):
            yield first, second


def with_singles(table: SourceTable, conditions: Sequence[ColumnCondition]) -> SourceTable:
    """Return the table with the texts of the gold's conditions that belong to exactly one row, and so have to stay.

    A query with `= (SELECT id ... WHERE name = 'Bore')` relies on that, and people accept it as right.
    """
    sought = {
        (table.place[one.column], one.meets[0])
        for one in conditions
        if one.table == table.name.lower() and one.beside is not None and one.column in table.place
        if table.place[one.column] not in table.linked
    }
    singles = [
        (place, value)
        for place, value in sorted(sought, key=repr)
        # Only for a column that hardly ever repeats: that one of three pets is a cat promises nothing.
        if isinstance(value, str) and _hardly_repeats(table, place)
        # In a sampled table too, all rows that the gold looks for were read.
        if sum(row[place] == value for row in table.rows) == 1
    ]
    return replace(table, singles=tuple(singles)) if singles else table


def _hardly_repeats(table: SourceTable, place: int) -> bool:
    """Whether most texts of a column are the only ones of their kind; NULL and signs such as - name nothing."""
    texts = [
        value for row in table.rows if isinstance(value := row[place], str) and any(map(str.isalnum, value))
    ]
    return len(set(texts)) >= _NAMING * len(texts)


def always_referred_to(table: SourceTable, tables: Mapping[str, SourceTable]) -> Iterator[Reference]:
    """Yield the references of a table by which every row of the other table is referred to.

    Where every continent of the data has a country, people accept a query that counts continents without one as 0, as
    well as a query that leaves them out.
    """
    for one in table.references:
        to = tables[one.to_table]
        if (
            to is not table
            and table.complete
            and to.complete
            and len(to.rows) >= _TELLING_ROWS
            and to.rows.places(one.to_columns).keys() <= table.rows.places(one.columns).keys()
        ):
            yield one


def passed_on(
    tables: Mapping[str, SourceTable], conditions: Sequence[ColumnCondition]
) -> Iterator[ColumnCondition]:
    """Yield the gold's conditions on referring columns as conditions on the columns that these refer to."""
    for one in conditions:
        table = tables.get(one.table)
        if table is None:
            continue
        for reference in table.references:
            if reference.columns == (table.place.get(one.column),):
                to = tables[reference.to_table]
                title = to.columns[reference.to_columns[0]].lower()
                yield one._replace(table=reference.to_table, column=title)


def with_individuals(table: SourceTable, key: int, conditions: Sequence[ColumnCondition]) -> SourceTable:
    """Return the table with the rows that the gold names by their key, and the texts that only they have."""
    mentioned: dict[Cell, set[str]] = defaultdict(set)
    for one in conditions:
        named = (one.table, one.column) == (table.name.lower(), table.columns[key].lower())
        if named and one.beside is not None:
            mentioned[one.meets[0]] |= one.beside
    if not mentioned or not table.complete:
        return table
    found = []
    for value, columns in mentioned.items():
        for row in [row for row in table.rows if row[key] == value][:1]:
            texts = tuple(
                (other, text)
                for other, text in enumerate(row)
                if isinstance(text, str) and text and other not in table.linked
                if table.columns[other].lower() not in columns
                if sum(any_row[other] == text for any_row in table.rows) == 1
            )
            found.append(Individual(key, value, texts))
    return replace(table, individuals=tuple(found))
