"""What a schema lets a rewrite rely on: types, keys, NOT NULL and foreign keys of each table.

A primary key is taken as unique and not NULL, and a declared foreign key as holding, as standard SQL
has it (SQLite by itself enforces neither NOT NULL on a primary key nor a foreign key).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from finer_rewards.schema import Schema, Table


@dataclass(frozen=True)
class TableFacts:
    """One table, every name in lower case.

    Args:
        columns: names, in order.
        affinity: `number`, `real`, `text`, `date`, `blob`, or empty (not known), for each column.
        kinds: what columns have in common whose equal values are the same value.
        collations: the collation of each column that does not compare byte by byte.
        rowid: the column that SQLite calls `rowid`, its INTEGER PRIMARY KEY.
        not_null: columns that are never NULL.
        keys: sets of columns that no two rows share; `unique` ones only where all are not NULL.
        references: (columns, table, its columns) of each foreign key.
    """

    columns: tuple[str, ...] = ()
    affinity: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    collations: dict[str, str] = field(default_factory=dict)
    rowid: str = "rowid"
    not_null: frozenset[str] = frozenset()
    keys: tuple[frozenset[str], ...] = ()
    references: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...] = ()


_NOTHING = TableFacts()


@dataclass(frozen=True)
class Facts:
    """All tables of a schema; an unknown table has no facts."""

    tables: dict[str, TableFacts] = field(default_factory=dict)
    known: bool = False
    dialect: str = "sqlite"
    collated: bool = False  # whether a column has a collation

    def table(self, name: str) -> TableFacts:
        """Return the facts of one table."""
        return self.tables.get(name, _NOTHING)


def cast_affinity(declared: str) -> str:
    """Return the affinity that SQLite gives to a declared type (datatype3.html, section 3.1).

    Example:
        >>> cast_affinity("UNSIGNED BIG INT"), cast_affinity("STRING"), cast_affinity("VARCHAR(9)")
        ('integer', 'numeric', 'text')
    """
    upper = declared.upper()
    for affinity, parts in _AFFINITIES:
        if any(part in upper for part in parts):
            return affinity
    return "numeric" if upper else "blob"


_AFFINITIES = (
    ("integer", ("INT",)),
    ("text", ("CHAR", "CLOB", "TEXT")),
    ("blob", ("BLOB",)),
    ("real", ("REAL", "FLOA", "DOUB")),
)
#: The class of values of each affinity.
CLASS_OF = {"integer": "number", "numeric": "number", "real": "real", "text": "text", "blob": "blob"}


def affinity_of(declared: str, dialect: str = "sqlite") -> str:
    """Return the class of values a declared type holds; `blob` where SQLite converts nothing."""
    upper = declared.upper()
    affinity = cast_affinity(upper)
    if dialect != "sqlite" and ("STRING" in upper or affinity == "blob"):
        return "text" if "STRING" in upper else ""
    if affinity == "numeric" and any(part in upper for part in ("DATE", "TIME")):
        return "date"
    return CLASS_OF[affinity]


def _lower(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


def facts_of(schema: Schema | None, dialect: str = "sqlite") -> Facts:
    """Return the facts of a schema; none for `None`."""
    if schema is None:
        return Facts({}, False, dialect)
    key = schema.digest, dialect
    found = _known.get(key)
    if found is None:
        if len(_known) >= 256:
            _known.clear()
        found = _known[key] = _read_facts(schema, dialect)
    return found


_known: dict[tuple[str, str], Facts] = {}


def _type_of(table: Table, name: str) -> str:
    return next((column.type.upper() for column in table.columns if column.name.lower() == name), "")


def _read_facts(schema: Schema, dialect: str) -> Facts:
    primary = {table.name.lower(): _lower(table.primary_key) for table in schema.tables}
    tables = {table.name.lower(): _table_facts(table, primary, dialect) for table in schema.tables}
    return Facts(tables, True, dialect, any(one.collations for one in tables.values()))


def _table_facts(table: Table, primary: Mapping[str, tuple[str, ...]], dialect: str) -> TableFacts:
    """Return the facts of one table; `primary` has the primary key of each, which a foreign key may leave out."""
    key = _lower(table.primary_key)
    not_null = frozenset(key).union(column.name.lower() for column in table.columns if column.not_null)
    keys = [frozenset(key)] if key else []
    keys += [frozenset(_lower(names)) for names in table.unique if not_null.issuperset(_lower(names))]
    references = (
        (
            _lower(one.columns),
            one.to_table.lower(),
            _lower(one.to_columns) or primary.get(one.to_table.lower(), ()),
        )
        for one in table.foreign_keys
    )
    return TableFacts(
        columns=_lower(column.name for column in table.columns),
        affinity={column.name.lower(): affinity_of(column.type, dialect) for column in table.columns},
        kinds={column.name.lower(): _kind(column.type, dialect) for column in table.columns},
        collations={
            column.name.lower(): column.collation.lower()
            for column in table.columns
            if column.collation.lower() not in ("", "binary")
        },
        rowid=key[0] if len(key) == 1 and _type_of(table, key[0]) == "INTEGER" else "rowid",
        not_null=not_null,
        keys=tuple(dict.fromkeys(keys)),
        references=tuple(one for one in references if len(one[0]) == len(one[2])),
    )


def _kind(declared: str, dialect: str) -> str:
    """Return what tells types apart: SQLite has only classes of them, other engines the type as declared."""
    return affinity_of(declared) if dialect == "sqlite" else " ".join(declared.lower().split())
