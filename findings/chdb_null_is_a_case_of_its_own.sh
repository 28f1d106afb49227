#!/usr/bin/env bash
# chdb 4.4.0 (ClickHouse in the process). `CASE b WHEN NULL THEN ...` matches a NULL, which no comparison in SQL does; INTERSECT keeps
# duplicates; and ORDER BY ... LIMIT behind UNION ALL belongs to the last part, so that all rows come back in no order.
# Guess: the ELSE, one 7, and the least row (that a LEFT JOIN fills with 0 was known). Seen: the NULL branch, two, and all of them.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" chdb==4.4.0
PYTHONPATH="$folder" python3 - <<"PY"
import json

from chdb.session import Session

session = Session()


def rows(sql):
    return json.loads(str(session.query(sql, "JSONCompact")))["data"]


session.query("CREATE DATABASE d ENGINE = Atomic")
session.query("CREATE TABLE d.t (b Nullable(Int32)) ENGINE = Memory")
session.query("INSERT INTO d.t VALUES (NULL), (7), (7)")
case = rows("SELECT CASE b WHEN NULL THEN 'null' ELSE 'else' END FROM d.t WHERE b IS NULL")
both = rows("SELECT b FROM d.t WHERE b = 7 INTERSECT SELECT b FROM d.t")
every = rows("SELECT 3 AS n UNION ALL SELECT 1 AS n ORDER BY n LIMIT 1")
assert (case, both, len(every)) == ([["null"]], [[7], [7]], 2), (case, both, every)
print("chdb 4.4.0: CASE b WHEN NULL finds NULL")
PY
