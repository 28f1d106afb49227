#!/usr/bin/env bash
# pyturso 0.8.3 (Turso, SQLite written anew in Rust). A column beside MAX or MIN is not of the row that has it, as SQLite promises and many
# golds of Spider and BIRD rely on, but of the first row, in groups too.
# Guess: as SQLite, whose file format and SQL it keeps. Seen: Ann for the greatest r, where SQLite gives Bob.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" pyturso==0.8.3
PYTHONPATH="$folder" python3 - <<"PY"
import sqlite3

import turso


def answers(base):
    base.execute("CREATE TABLE t (b INTEGER, s TEXT, r REAL)")
    base.execute("INSERT INTO t VALUES (1, 'Ann', 1.5), (1, 'Bob', 9.0), (2, 'Cid', 3.0), (2, 'Dan', 2.0)")
    queries = "SELECT s, MAX(r) FROM t", "SELECT b, s, MAX(r) FROM t GROUP BY b ORDER BY b"
    return [[tuple(row) for row in base.execute(query).fetchall()] for query in queries]


sqlite, other = answers(sqlite3.connect(":memory:")), answers(turso.connect(":memory:"))
assert sqlite == [[("Bob", 9.0)], [(1, "Bob", 9.0), (2, "Cid", 3.0)]], sqlite
assert other == [[("Ann", 9.0)], [(1, "Ann", 9.0), (2, "Cid", 3.0)]], other
print("pyturso 0.8.3:", other[0], "where SQLite gives", sqlite[0])
PY
