#!/usr/bin/env bash
# elitesql 0.1.0. After a LEFT JOIN a WHERE on the right table's columns keeps all rows of the left: it decides which rows join, as if it stood in ON.
# Its error for conditions in ON says to put them into WHERE. ISO/IEC 9075-2, 7.12: WHERE is applied to the joined rows.
# Guess: the one row with c above 15. Seen: every row of the left table.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" elitesql==0.1.0
PYTHONPATH="$folder" python3 - <<"PY"
import os
import tempfile

from elitesql import EliteSQL

folder = tempfile.mkdtemp(dir=os.environ["PYTHONPATH"])
with EliteSQL(f"{folder}/x.esql") as database:
    database.query("CREATE TABLE t (a INTEGER)")
    database.query("CREATE TABLE u (a INTEGER, c INTEGER)")
    for a in (1, 2, 3):
        database.query("INSERT INTO t VALUES (?)", [a])
    for c in (10, 20):
        database.query("INSERT INTO u VALUES (1, ?)", [c])

    def rows(query):
        return sorted(map(tuple, database.query(query)["rows"]), key=str)

    left = rows("SELECT t.a, u.c FROM t LEFT JOIN u ON t.a = u.a WHERE u.c > 15")
    inner = rows("SELECT t.a, u.c FROM t JOIN u ON t.a = u.a WHERE u.c > 15")
assert inner == [(1, 20)], inner
assert left == [(1, 20), (2, None), (3, None)], left
print("elitesql 0.1.0: LEFT JOIN ... WHERE u.c > 15 gives", *left)
PY
