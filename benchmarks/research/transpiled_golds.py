"""How many golds written for SQLite mean the same on another engine, once translated.

    python -m benchmarks.research.transpiled_golds ../shared/data [--write]

Spider's and BIRD's golds are translated as `finer-rewards prepare --engine duckdb` does and run there on copies of the
same data; the result is held against SQLite's as `strict` compares. The guesses were written down before the first
run, which for DuckDB had sqlglot's translation alone.

DuckDB reads the SQLite files. For PostgreSQL, a server of its own is started and each database is copied as loaders do:
names in lower case unless they have to be quoted, the declared primary keys, and of each column the type it is declared
with (whole numbers, numbers, else text) where every value fits it, else text.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from importlib.metadata import version
from pathlib import Path

import finer_rewards as fr
from finer_rewards.datasets.translating import Translation, translate_golds
from tests.postgres_server import Server, programs

RESULTS = Path(__file__).parents[1] / "results" / "transpiled_golds.md"
# Shares of all golds that were guessed to be kept, to fail and to mean something else.
GUESSES = {
    "DuckDB": {"Spider dev": (75, 22, 3), "Spider train": (80, 17, 3), "BIRD": (85, 10, 5)},
    "PostgreSQL": {"Spider dev": (70, 28, 2), "Spider train": (74, 24, 2), "BIRD": (75, 22, 3)},
}
CAUSES = {
    "a column that is neither grouped nor aggregated": r"must appear in the GROUP BY|GROUP BY clause",
    "DISTINCT ordered by what is not selected": r"for SELECT DISTINCT, ORDER BY",
    "text and number compared, joined or reckoned with": r"Cannot compare|Could not convert|Conversion Error|cast"
    r"|No function matches|operator does not exist|invalid input syntax|cannot be matched"
    r"|function \S+\(.*\) does not exist|must be type|types .* cannot be",
    "a name that is not there": r"not found|does not exist|Referenced",
    "another": r"",
}


def main() -> int:
    """Translate, run, count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    lines = [
        "# Golds translated from SQLite",
        "",
        f"`python -m benchmarks.research.transpiled_golds ../shared/data --write`, {date.today()}. "
        f"{platform.machine()}, Python {platform.python_version()}, "
        f"sqlglot {version('sqlglot')}, DuckDB {version('duckdb')}, PostgreSQL 15.",
        "",
        "| engine | golds | of | kept | do not run | mean something else | guess: kept, not run, else |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    details: list[str] = []
    for engine, found in _translated(arguments.data):
        for name, golds in found:
            counts = Counter(one.problem for one in golds)
            share = {
                kind: f"{counts[kind]} ({100 * counts[kind] / len(golds):.1f} %)"
                for kind in ("", "untranslated", "means_else")
            }
            guess = " / ".join(f"{part} %" for part in GUESSES[engine][name])
            lines.append(
                f"| {engine} | {name} | {len(golds)} | {share['']} | {share['untranslated']} | "
                f"{share['means_else']} | {guess} |"
            )
            details += _details(f"{engine}, {name}", golds)
    text = (
        "\n".join([*lines, "", "Why they do not run, and each one that means something else:", "", *details])
        + "\n"
    )
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")
    return 0


def _translated(data: Path) -> Iterator[tuple[str, list[tuple[str, list[Translation]]]]]:
    sets = list(_sets(data))
    found = []
    for name, root, golds in sets:
        with fr.SQLite(root) as source, fr.DuckDB(root) as target:
            found.append((name, translate_golds(golds, source, target)))
    yield "DuckDB", found
    place = programs()
    if place is None:
        print("no PostgreSQL here: it is left out", file=sys.stderr)
        return
    server = Server(place)
    try:
        server.script("postgres", "CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader")
        found = []
        for name, root, golds in sets:
            for db in dict.fromkeys(db for _, db in golds):
                server.script("postgres", f'CREATE DATABASE "{db}"')
                copy_to_postgres(root / db / f"{db}.sqlite", server.dsn("owner", db))
            with fr.SQLite(root) as source, fr.Postgres(server.dsn("reader"), workers=1) as target:
                found.append((name, translate_golds(golds, source, target)))
        yield "PostgreSQL", found
    finally:
        server.stop()
        shutil.rmtree(server.folder)


def copy_to_postgres(file: Path, dsn: str) -> None:
    """Copy the tables of a SQLite file into an empty database of a server."""
    import psycopg
    from psycopg import sql

    with (
        closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as source,
        psycopg.connect(dsn) as target,
    ):
        source.text_factory = lambda text: text.decode(errors="replace").replace("\0", "")
        tables = source.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        for (table,) in tables.fetchall():
            quoted = '"{}"'.format(table.replace('"', '""'))
            columns = source.execute(f"PRAGMA table_info({quoted})").fetchall()
            rows = source.execute(f"SELECT * FROM {quoted}").fetchall()
            types = [_type(column[2], [row[place] for row in rows]) for place, column in enumerate(columns)]
            parts = [
                sql.SQL("{} {}").format(sql.Identifier(_lowered(column[1])), sql.SQL(kind))
                for column, kind in zip(columns, types, strict=True)
            ]
            key = [
                place for place, column in sorted(enumerate(columns), key=lambda one: one[1][5]) if column[5]
            ]
            values = [tuple(row[place] for place in key) for row in rows]
            if key and len(set(values)) == len(values) and all(None not in value for value in values):
                names = sql.SQL(", ").join(sql.Identifier(_lowered(columns[place][1])) for place in key)
                parts.append(sql.SQL("PRIMARY KEY ({})").format(names))
            name = sql.Identifier(_lowered(table))
            target.execute(sql.SQL("CREATE TABLE {} ({})").format(name, sql.SQL(", ").join(parts)))
            with target.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(name)) as copy:
                for row in rows:
                    copy.write_row([_cell(cell, kind) for cell, kind in zip(row, types, strict=True)])


def _lowered(name: str) -> str:
    return name.lower() if re.fullmatch(r"\w+", name) else name


def _type(declared: str, cells: list[object]) -> str:
    kinds = {type(cell) for cell in cells if cell is not None}
    if re.search("INT|BOOL", declared, re.IGNORECASE) and kinds <= {int}:
        return "bigint"
    if re.search("INT|BOOL|REAL|FLOA|DOUB|NUM|DEC", declared, re.IGNORECASE) and kinds <= {int, float}:
        return "double precision"
    return "bytea" if kinds == {bytes} else "text"


def _cell(cell: object, kind: str) -> object:
    return str(cell) if kind == "text" and cell is not None else cell


def _sets(data: Path) -> Iterator[tuple[str, Path, list[tuple[str, str]]]]:
    questions = data / "questions"
    for name, file, folder in (
        ("Spider dev", "spider_dev.json", "spider_dev/database"),
        ("BIRD", "bird_dev.json", "bird/databases"),
    ):
        records = json.loads((questions / file).read_text(encoding="utf-8"))
        golds = [(one.get("query") or one.get("SQL") or one["gold"], one["db_id"]) for one in records]
        yield name, data / folder, _there(golds, data / folder)
    pairs = [
        line.split("\t")
        for line in (questions / "spider_train_gold.sql").read_text(encoding="utf-8").splitlines()
    ]
    root = data / "spider_train/database"
    yield "Spider train", root, _there([(pair[0], pair[1].strip()) for pair in pairs if len(pair) == 2], root)


def _there(golds: list[tuple[str, str]], root: Path) -> list[tuple[str, str]]:
    """Return the distinct golds whose database is in the folder."""
    return [(sql, db) for sql, db in dict.fromkeys(golds) if (root / db / f"{db}.sqlite").exists()]


def _details(name: str, found: list[Translation]) -> list[str]:
    causes: Counter[str] = Counter()
    for one in found:
        if one.problem == "untranslated":
            causes[next(cause for cause, pattern in CAUSES.items() if re.search(pattern, one.reason))] += 1
    lines = [f"- {name}: " + "; ".join(f"{count} {cause}" for cause, count in causes.most_common())]
    lines += [
        f"    - `{' '.join(one.sql.split())[:160]}`: {one.reason[:160]}"
        for one in found
        if one.problem == "means_else"
    ]
    return lines


if __name__ == "__main__":
    sys.exit(main())
