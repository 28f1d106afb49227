#!/usr/bin/env bash
# slothdb 0.2.7. Of the ON of a join only the first condition counts: what stands behind AND is dropped without a word, and a < b is not the
# condition of a join either but leaves the rows that an equality would. ISO/IEC 9075-2, 7.10: the whole search condition holds.
# Guess: of u's rows of 1 the one above 15, and none where no row is above 99. Seen: both rows each time.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" slothdb==0.2.7
PYTHONPATH="$folder" python3 - <<"PY"
import slothdb

run = slothdb.connect().sql
run("CREATE TABLE t (a INTEGER, b INTEGER)")
run("CREATE TABLE u (a INTEGER, c INTEGER)")
run("INSERT INTO t VALUES (1, NULL), (2, 7)")
run("INSERT INTO u VALUES (1, 10), (1, 20)")
whole = [(1, 10), (1, 20), (2, None)]
for condition in ("u.c > 15", "u.c > 99", "t.b = 7"):
    rows = run(f"SELECT t.a, u.c FROM t LEFT JOIN u ON t.a = u.a AND {condition} ORDER BY t.a").fetchall()
    assert sorted(map(tuple, rows), key=str) == whole, rows
rows = run("SELECT t.a, u.a FROM t JOIN u ON t.a < u.a").fetchall()
assert sorted(map(tuple, rows)) == [(1, 1), (1, 1)], rows
print("slothdb 0.2.7: ON t.a = u.a AND u.c > 99 joins as ON t.a = u.a, and ON t.a < u.a joins 1 with 1")
PY
