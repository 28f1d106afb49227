"""The program that copies a SQLite file, a Parquet file or a folder of Parquet files into one DuckDB file.

`DuckDB` starts it as `python -I -S copying.py PACKAGES KIND SOURCE TARGET MEMORY`. The source is the URI that opens a
SQLite file without writing anything beside it, or the path of the Parquet files. In SQLite each value has a type, in
DuckDB each column, so a column gets a type that holds every value it has now; nothing is written to the copy later.
"""

from __future__ import annotations

import os
import sqlite3
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

# Rows that are copied at a time.
ROWS = 10_000
# How dates and times are written in SQLite, as patterns of LIKE.
DATE = "____-__-__"
MOMENT = "____-__-__ __:__:__"


def quote(name: str) -> str:
    """Return the name as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def type_of(source: sqlite3.Connection, table: str, column: str, declared: str) -> str:
    """Return the DuckDB type that holds every value of a SQLite column."""
    name, declared = quote(column), declared.upper()
    kinds = {kind for (kind,) in source.execute(f"SELECT DISTINCT typeof({name}) FROM {quote(table)}")}
    kinds.discard("null")
    if "blob" in kinds:
        return "BLOB"
    if "text" in kinds:
        if kinds == {"text"} and ("DATE" in declared or "TIME" in declared):
            for kind, pattern in (("DATE", DATE), ("TIMESTAMP", MOMENT)):
                # The column becomes a date only if each of its values would be printed the same way again.
                function = "date" if kind == "DATE" else "datetime"
                (others,) = source.execute(
                    f"SELECT count(*) FROM {quote(table)} WHERE {name} IS NOT NULL AND"
                    f" ({name} NOT LIKE '{pattern}' OR {function}({name}) IS NOT {name} OR {name} LIKE '0000%')"
                ).fetchone()
                if not others:
                    return kind
        return "VARCHAR"
    if kinds:
        return "DOUBLE" if "real" in kinds else "BIGINT"
    for part, kind in (("INT", "BIGINT"), ("CHAR", "VARCHAR"), ("CLOB", "VARCHAR"), ("TEXT", "VARCHAR")):
        if part in declared:
            return kind
    if "TIME" in declared:
        return "TIMESTAMP"
    if "DATE" in declared:
        return "DATE"
    return "BLOB" if "BLOB" in declared else "DOUBLE" if declared else "VARCHAR"


def as_type(value: Any, kind: str) -> Any:
    """Return a SQLite value as the Python value that a DuckDB column of the type takes."""
    if value is None:
        return None
    if kind == "VARCHAR":
        return value if isinstance(value, str) else repr(value)
    if kind == "BLOB":
        return value if isinstance(value, bytes) else str(value).encode()
    return float(value) if kind == "DOUBLE" else value


def columns_of(rows: list[tuple[Any, ...]], kinds: list[str]) -> list[list[Any]]:
    """Return rows turned into one list of values for each column, converted to its type."""
    return [
        [as_type(value, kind) for value in values]
        for values, kind in zip(zip(*rows), kinds)  # noqa: B905
    ]


def batches(cursor: sqlite3.Cursor) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows, `ROWS` at a time."""
    while rows := cursor.fetchmany(ROWS):
        yield rows


def copy_sqlite(uri: str, target: Any) -> None:
    """Copy the tables of a SQLite file, and those of its views whose SQL DuckDB understands."""
    source = sqlite3.connect(uri, uri=True)
    source.text_factory = lambda raw: raw.decode("utf-8", "ignore")
    found = source.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, rowid"
    ).fetchall()
    target.execute("BEGIN")
    for kind, table, _ in found:
        if kind == "view":
            continue
        declared = [
            (name, kind)
            for _, name, kind, *_, hidden in source.execute(f"PRAGMA table_xinfo({quote(table)})")
            if hidden != 1
        ]
        kinds = [type_of(source, table, name, kind) for name, kind in declared]
        definition = ", ".join(f"{quote(name)} {kind}" for (name, _), kind in zip(declared, kinds))  # noqa: B905
        target.execute(f"CREATE TABLE {quote(table)} ({definition})")
        values = ", ".join(
            f"unnest(?::{'VARCHAR' if kind in ('DATE', 'TIMESTAMP') else kind}[])" for kind in kinds
        )
        names = ", ".join(quote(name) for name, _ in declared)
        for rows in batches(source.execute(f"SELECT {names} FROM {quote(table)}")):
            target.execute(f"INSERT INTO {quote(table)} SELECT {values}", columns_of(rows, kinds))
    target.execute("COMMIT")
    for kind, _, sql in found:
        if kind == "view":
            copy_view(sql, target)


def copy_view(sql: str, target: Any) -> None:
    """Make a view; leave it out if DuckDB does not understand its SQL."""
    import duckdb

    try:
        target.execute(sql)
    except duckdb.Error:
        return


def copy_parquet(place: str, target: Any) -> None:
    """Copy a Parquet file, or each one in a folder, into a table with the file's name."""
    one = os.path.isfile(place)  # noqa: PTH113
    for path in [place] if one else sorted(entry.path for entry in os.scandir(place) if entry.is_file()):
        stem, suffix = os.path.splitext(os.path.basename(path))  # noqa: PTH119, PTH122
        if one or suffix == ".parquet":
            target.execute(f"CREATE TABLE {quote(stem)} AS SELECT * FROM read_parquet(?)", [path])


def main() -> None:
    """Run the program; an error ends it with a message on stderr."""
    packages, kind, source, path, memory = sys.argv[1:]
    sys.path += packages.split(os.pathsep)
    import duckdb

    target = duckdb.connect(path, config={"threads": "1", "memory_limit": f"{memory}B"})
    target.execute("SET autoinstall_known_extensions = false")
    target.execute("SET python_enable_replacements = false")
    try:
        copy_sqlite(source, target) if kind == "sqlite" else copy_parquet(source, target)
        target.close()
    except (duckdb.Error, sqlite3.Error, OSError, MemoryError, ValueError, OverflowError) as error:
        sys.exit(str(error) or type(error).__name__)


if __name__ == "__main__":
    main()
