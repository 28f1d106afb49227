#!/usr/bin/env bash
# mo-sql-parsing 11.699.26234, which evaluators of text-to-SQL use to compare trees: `b = NULL` and `b IS NULL` are one tree.
# In every SQL engine the first keeps no row and the second those with NULL.
# Guess: two trees, {"eq": ["b", {"null": {}}]} and {"missing": "b"}. Seen: {"missing": "b"} twice.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" mo-sql-parsing==11.699.26234 mo-parsing==9.3.26234 mo-dots==10.688.26234 mo-future==7.687.26234 mo-imports==7.687.26234
PYTHONPATH="$folder" python3 - <<"PY"
import sqlite3

from mo_sql_parsing import parse

equal, missing = "SELECT a FROM t WHERE b = NULL", "SELECT a FROM t WHERE b IS NULL"
assert parse(equal) == parse(missing) == {"select": {"value": "a"}, "from": "t", "where": {"missing": "b"}}
database = sqlite3.connect(":memory:")
database.executescript("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, NULL), (2, 3)")
assert database.execute(equal).fetchall() == [] and database.execute(missing).fetchall() == [(1,)]
print("mo-sql-parsing 11.699.26234: b = NULL and b IS NULL are parsed alike")
PY
