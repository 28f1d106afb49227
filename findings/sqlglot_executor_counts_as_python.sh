#!/usr/bin/env bash
# sqlglot 30.30.0, sqlglot.executor: functions and operators are Python's, whatever the dialect: ROUND goes to the even neighbour, the
# remainder takes the divisor's sign, and LIKE heeds case, for queries read as SQLite, whose own answers are 3, -1 and a match.
# Guess: integer division is right (it is), the rest follows the dialect too. Seen: 2, 1 and no match.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlglot==30.30.0
PYTHONPATH="$folder" python3 - <<"PY"
import sqlite3

from sqlglot.executor import execute

tables, schema = {"t": [{"a": 1, "s": "Ann"}]}, {"t": {"a": "int", "s": "text"}}
database = sqlite3.connect(":memory:")
database.executescript("CREATE TABLE t (a INT, s TEXT); INSERT INTO t VALUES (1, 'Ann')")
for select, there, sqlite in [
    ("ROUND(a + 1.5)", 2, 3.0),
    ("-a % 2", 1, -1),
    ("s LIKE 'a%'", False, 1),
    ("a / 2", 0, 0),
]:
    sql = f"SELECT {select} AS x FROM t"
    assert execute(sql, schema=schema, tables=tables, dialect="sqlite").rows == [(there,)], select
    assert database.execute(sql).fetchall() == [(sqlite,)], select
print("sqlglot 30.30.0: its executor answers SQLite's ROUND, % and LIKE with Python's")
PY
