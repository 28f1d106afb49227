"""What SQLite's pragmas say of tables, as a `Schema`."""

from __future__ import annotations

from typing import Any

from finer_rewards.schema import Column, ForeignKey, Schema, Table

__all__ = ["schema_of"]


def schema_of(found: list[tuple[Any, ...]]) -> Schema:
    """Return the schema of a database, of (name, kind, columns, unique, foreign keys) as a worker answers them."""
    tables = []
    for name, kind, columns, unique, foreign in found:
        keys = sorted((column[5], column[1]) for column in columns if column[5])
        references: dict[int, tuple[str, list[str], list[str]]] = {}
        for number, _, to_table, column, to_column, *_ in sorted(foreign, key=lambda part: part[:2]):
            reference = references.setdefault(number, (to_table, [], []))
            reference[1].append(column)
            if to_column is not None:
                reference[2].append(to_column)
        tables.append(
            Table(
                name,
                tuple(Column(c[1], c[2] or "", bool(c[3])) for c in columns if c[6] != 1),
                tuple(column for _, column in keys),
                tuple(tuple(part) for part in unique if None not in part),
                tuple(
                    ForeignKey(tuple(ours), to_table, tuple(theirs))
                    for to_table, ours, theirs in references.values()
                ),
                kind == "view",
            )
        )
    # A reference that names no column means the primary key of the table it refers to.
    primary = {table.name.lower(): table.primary_key for table in tables}
    return Schema(
        tuple(
            Table(
                table.name,
                table.columns,
                table.primary_key,
                table.unique,
                tuple(
                    key
                    if key.to_columns
                    else ForeignKey(key.columns, key.to_table, primary.get(key.to_table.lower(), ()))
                    for key in table.foreign_keys
                ),
                table.view,
            )
            for table in tables
        )
    )
