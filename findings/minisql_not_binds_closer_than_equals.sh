#!/usr/bin/env bash
# minisql-engine 0.4.0. NOT b = 7 is (NOT b) = 7 and keeps no row; NOT (b = 7) does as SQL says. SELECT a, a gives a row with one value, and a = '1' is
# false for the number 1. ISO/IEC 9075-2, 6.39: NOT takes a whole predicate; 7.16: as many columns as are selected.
# Guess: the same rows for both; two values; an error for a text held against a number. Seen: none; one value; no row.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" minisql-engine==0.4.0
PYTHONPATH="$folder" python3 - <<"PY"
from minisql.engine import MiniSQLEngine

run = MiniSQLEngine().execute
run("CREATE TABLE t (a INT, b INT)")
run("INSERT INTO t VALUES (2, 7)")
run("INSERT INTO t VALUES (1, 1)")
assert run("SELECT a FROM t WHERE NOT (b = 7)") == [{"a": 1}]
assert run("SELECT a FROM t WHERE NOT b = 7") == []
assert run("SELECT a, a FROM t WHERE b = 7") == [{"a": 2}]
assert run("SELECT a FROM t WHERE a = '1'") == []
print("minisql-engine 0.4.0: NOT (b = 7) keeps 1 row, NOT b = 7 none")
PY
