"""What one query gives on several versions of SQLite, DuckDB and PostgreSQL: the table in docs/engines/differences.md.

    python -m benchmarks.engine_differences            # runs every engine; fails where the page says something else
    python -m benchmarks.engine_differences --write    # writes the page

Each version comes as a package from the index, into a temporary folder, and runs in a process of its own. PostgreSQL is
the server installed here; without one its column is not checked. The guesses were written down before the first run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[1] / "docs" / "engines" / "differences.md"
SQLITE = {
    "3.40": "apsw==3.40.1.0",
    "3.44": "apsw==3.44.2.0",
    "3.51": "apsw==3.51.1.0",
    "3.54": "apsw==3.54.1.0",
}
DUCKDB = {"1.2": "duckdb==1.2.2", "1.5": "duckdb==1.5.6", "2.0": "duckdb==2.0.1"}
TABLE = (
    "CREATE TABLE t (a INTEGER, b INTEGER, s TEXT)",
    "INSERT INTO t VALUES (1, NULL, 'Ann'), (2, 7, 'ann'), (3, 7, 'Bob'), (4, 1, NULL)",
)


class Row(NamedTuple):
    """One query, and what was guessed of it for each engine before it ran."""

    topic: str
    sql: str
    sqlite: str
    duckdb: str
    postgres: str


ROWS = [
    Row("Rounding", "SELECT ROUND(2.675, 2)", "2.68, later 2.67", "2.68", "2.68"),
    Row("Rounding", "SELECT ROUND(2.5)", "3.0", "3", "3"),
    Row("Rounding", "SELECT CAST(2.5 AS INTEGER)", "2", "3", "3"),
    Row("Rounding", "SELECT CAST(2.5e0 AS INTEGER)", "2", "2", "2"),
    Row(
        "Text of numbers",
        "SELECT CAST(0.1e0 + 0.2e0 AS VARCHAR)",
        "0.3, later 17 digits",
        "17 digits",
        "17 digits",
    ),
    Row("Text of numbers", "SELECT CAST(100.0 AS VARCHAR)", "100.0", "100.0", "100.0"),
    Row("Text of numbers", "SELECT CAST(1e20 AS VARCHAR)", "1.0e+20", "1e+20", "100000000000000000000"),
    Row(
        "Sums of floats",
        "SELECT SUM(x) FROM (SELECT 0.1e0 AS x FROM t AS p, t AS q LIMIT 10) AS z",
        "0.9999999999999999, later 1.0",
        "0.9999999999999999",
        "0.9999999999999999",
    ),
    Row("Sums of floats", "SELECT AVG(a) FROM t", "2.5", "2.5", "2.5"),
    Row("Sums of floats", "SELECT CAST(0.1 AS REAL) + CAST(0.2 AS REAL)", "17 digits", "0.3", "0.3"),
    Row(
        "Overflow",
        "SELECT SUM(x) FROM (SELECT 9223372036854775807 AS x UNION ALL SELECT 1) AS z",
        "error",
        "2**63",
        "2**63",
    ),
    Row("Overflow", "SELECT 9223372036854775807 + 1", "9.2e18", "error", "error"),
    Row("Division", "SELECT 7 / 2", "3", "3.5", "3"),
    Row("Division", "SELECT -7 / 2, -7 % 3", "-3, -1", "-3.5, -1", "-3, -1"),
    Row("Zero divisors", "SELECT 1 / 0", "NULL", "inf, 1.5 NULL", "error"),
    Row("Zero divisors", "SELECT 5 % 0", "NULL", "NULL", "error"),
    Row("Impossible dates", "SELECT date('2023-02-29')", "itself, later March", "error", "error"),
    Row("Impossible dates", "SELECT date('2023-02-30') > date('2023-02-28')", "1", "error", "error"),
    Row("JSON labels", """SELECT '{"x.y": 1, "x": {"y": 2}}' ->> 'x.y'""", "2, later 1", "1", "error"),
    Row("JSON labels", """SELECT '{"x": [5, 6]}' ->> '$.x[1]'""", "6", "6", "error"),
    Row("NULL order", "SELECT b FROM t ORDER BY b LIMIT 1", "NULL", "1", "1"),
    Row("NULL order", "SELECT b FROM t ORDER BY b DESC LIMIT 1", "7", "7", "NULL"),
    Row("LIKE", "SELECT COUNT(*) FROM t WHERE s LIKE 'a%'", "2", "1", "1"),
    Row("LIKE", "SELECT COUNT(*) FROM t WHERE s ILIKE 'a%'", "error", "2", "2"),
    Row(
        "Names",
        "SELECT a % 2 AS a, COUNT(*) FROM t GROUP BY a ORDER BY 1, 2",
        "2 groups",
        "4 groups",
        "4 groups",
    ),
    Row("Names", "SELECT -a AS a FROM t ORDER BY a LIMIT 1", "-4", "-4", "-4"),
    Row("Names", "SELECT -a AS a FROM t ORDER BY a + 0 LIMIT 1", "-1", "-4", "-1"),
    Row("Names", "SELECT s, COUNT(*) AS n FROM t GROUP BY s HAVING n > 1", "no rows", "no rows", "error"),
    Row("Names", "SELECT COUNT(*) FROM t GROUP BY (1)", "one group", "one group", "one group"),
    Row("Names", """SELECT COUNT(*) FROM t WHERE s = "Ann" """, "1", "error", "error"),
    Row("Names", """SELECT "A" FROM t LIMIT 1""", "1", "1", "error"),
    Row("Bare columns", "SELECT s, MAX(a) FROM t", "NULL, 4", "error", "error"),
    Row("Types", "SELECT '10' > 9", "1", "true", "true"),
    Row("Types", "SELECT COUNT(*) FROM t WHERE s = 1", "0", "error", "error"),
    Row("Types", "SELECT CAST('12abc' AS INTEGER)", "12", "error", "error"),
    Row("Types", "SELECT SUM(a > 2) FROM t", "2", "2", "error"),
    Row("Types", "SELECT 1 UNION SELECT 'a' ORDER BY 1", "1, a", "error", "error"),
    Row("Types", "SELECT COUNT(*) FROM t WHERE s", "0", "error", "error"),
    Row("Functions", "SELECT MAX(1, 2)", "2", "list", "error"),
    Row("Functions", "SELECT SUBSTR('hello', 0, 2)", "h", "h", "h"),
    Row("Functions", "SELECT SUBSTR('hello', -3, 2)", "ll", "ll", "empty"),
    Row(
        "Functions",
        "SELECT 'a' || NULL, CONCAT('a', NULL)",
        "error before 3.44, NULL and a",
        "NULL, a",
        "NULL, a",
    ),
    Row("Functions", "SELECT LOG(100)", "2", "2", "2"),
    Row("Functions", "SELECT IIF(a > 2, 'x', 'y') FROM t LIMIT 1", "y", "error", "error"),
    Row("Functions", "SELECT STRFTIME('%Y', '2020-01-05')", "2020", "error", "error"),
    Row(
        "Functions",
        "SELECT GROUP_CONCAT(s) FROM (SELECT s FROM t ORDER BY a) AS z",
        "Ann,ann,Bob",
        "Ann,ann,Bob",
        "error",
    ),
    Row("Functions", "SELECT COUNT(DISTINCT a, b) FROM t", "error", "error", "error"),
    Row("Limits", "SELECT a FROM t ORDER BY a LIMIT -1", "all rows", "error", "error"),
    Row("Limits", "SELECT a FROM t ORDER BY a LIMIT 1.5", "error", "2 rows", "2 rows"),
    Row("Limits", "SELECT a FROM t WHERE a IN ()", "no rows", "error", "error"),
    Row("Chained comparison", "SELECT COUNT(*) FROM t WHERE 1 < a < 3", "all rows", "error", "error"),
    Row("Truth", "SELECT COUNT(*) FROM t WHERE NOT b = 7", "1", "1", "1"),
    Row("Truth", "SELECT COUNT(*) FROM t WHERE b NOT IN (1, NULL)", "0", "0", "0"),
]

_PROBE = r"""
import json, sys
engine, version, tables, queries = sys.argv[1], sys.argv[2], *map(json.loads, sys.argv[3:5])
if engine == "sqlite":
    import apsw
    errors = apsw.Error
    connection = apsw.Connection(":memory:")
    found = apsw.sqlitelibversion()
elif engine == "duckdb":
    import duckdb
    errors = duckdb.Error
    connection = duckdb.connect()
    found = duckdb.__version__
else:
    import psycopg
    errors = psycopg.Error
    connection = psycopg.connect(version, autocommit=True)
    found = str(connection.info.server_version)
def shown(value):
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) or value == "" else str(value)
def run(sql):
    cursor = connection.cursor()
    cursor.execute(sql)
    return cursor.fetchall()
for text in tables:
    connection.cursor().execute(text)
answers = []
for sql in queries:
    try:
        rows = run(sql)
    except errors:
        answers.append("refused")
    else:
        answers.append("; ".join(", ".join(map(shown, row)) for row in rows) or "no rows")
print(json.dumps([found, answers]))
"""


def main() -> int:
    """Run every engine and compare with the page, or write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write the page instead of comparing with it")
    write = parser.parse_args().write
    answers: dict[str, list[str]] = {}
    for name, package in SQLITE.items():
        answers[f"SQLite {name}"] = _packaged("sqlite", package)
    for name, package in DUCKDB.items():
        answers[f"DuckDB {name}"] = _packaged("duckdb", package)
    postgres = _postgres()
    if postgres is not None:
        answers["PostgreSQL 15"] = postgres
    page = _page(answers)
    if write:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if postgres is None:
        print("no PostgreSQL here: install it to check the whole page", file=sys.stderr)
        return 2
    before = PAGE.read_text(encoding="utf-8").splitlines()
    differs = [line for line in page.splitlines() if line.startswith("|") and line not in before]
    print("\n".join(differs) or f"{len(ROWS)} rows as the page says")
    return 1 if differs else 0


def _packaged(engine: str, package: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--root-user-action", "ignore", "--no-deps"]
        subprocess.run([*pip, "--target", folder, package], check=True, stderr=subprocess.DEVNULL)
        return _probe(engine, "", {**os.environ, "PYTHONPATH": folder})


def _probe(engine: str, dsn: str, environment: dict[str, str]) -> list[str]:
    arguments = [engine, dsn, json.dumps(TABLE), json.dumps([row.sql for row in ROWS])]
    run = subprocess.run(
        [sys.executable, "-c", _PROBE, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    answers: list[str] = json.loads(run.stdout)[1]
    return answers


def _postgres() -> list[str] | None:
    """Run the rows on a server made for the purpose, which ends with them."""
    programs = sorted(Path("/usr/lib/postgresql").glob("15/bin"))
    if not programs:
        return None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    prefix: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres")
        prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def do(program: str, *arguments: str) -> None:
        command = [*prefix, str(programs[0] / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    data = str(folder / "data")
    do("initdb", "-D", data, "-U", "owner", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
    do(
        "pg_ctl",
        "-D",
        data,
        "-w",
        "-l",
        str(folder / "log"),
        "start",
        "-o",
        f"-c listen_addresses='' -k {folder}",
    )
    try:
        return _probe("postgres", f"host={folder} user=owner dbname=postgres", dict(os.environ))
    finally:
        do("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _page(answers: dict[str, list[str]]) -> str:
    lines = [
        "# What engines and versions do otherwise",
        "",
        "The same text gives another result, or none, on another engine or version. A gold and a prediction that",
        "run on the same engine are compared fairly whatever it does; golds made for one engine may be wrong on",
        "another, and a score made with one version may not be had again with the next (the signature names the",
        "version). *refused*: the engine answers with an error. Cells that differ within an engine are what an",
        "upgrade changes.",
        "",
        f"Made by `python -m benchmarks.engine_differences --write`, {date.today()}, from packages of the index",
        "(apsw for SQLite) and PostgreSQL 15; without `--write` the command fails where an engine does something else.",
        "The table `t` has the rows (1, NULL, 'Ann'), (2, 7, 'ann'), (3, 7, 'Bob'), (4, 1, NULL) in columns a, b, s.",
        "*Guess*: what was written down before the first run, for SQLite / DuckDB / PostgreSQL. Which verdicts on",
        "real predictions hang on the version: `python -m benchmarks.research.version_verdicts`.",
    ]
    for topic in dict.fromkeys(row.topic for row in ROWS):
        lines += [
            "",
            f"## {topic}",
            "",
            f"| query | {' | '.join(answers)} | guess |",
            f"|---|{'---|' * len(answers)}---|",
        ]
        for number, row in enumerate(ROWS):
            if row.topic == topic:
                cells = [_code(row.sql), *(_cell(column[number]) for column in answers.values())]
                cells.append(f"{row.sqlite} / {row.duckdb} / {row.postgres}")
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _code(sql: str) -> str:
    return "`" + sql.strip().replace("|", "\\|") + "`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
