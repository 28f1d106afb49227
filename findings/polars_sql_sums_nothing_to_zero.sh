#!/usr/bin/env bash
# polars 1.36.1, SQLContext. NULLs do not behave as SQL says: SUM over no rows is 0, and `x NOT IN (1, NULL)` keeps rows.
# A gold that DuckDB or SQLite answers with NULL, or with no rows, has another answer here.
# Guess: SUM gives NULL, and nothing is NOT IN a list that holds NULL. Seen: 0, and the two rows with 7.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" polars==1.36.1
PYTHONPATH="$folder" python3 - <<"PY"
import polars

table = polars.DataFrame({"a": [1, 2, 3, 4], "b": [None, 7, 7, 1]})
other = polars.DataFrame({"a": [1, None]})
run = polars.SQLContext(t=table, u=other, eager=True).execute
assert run("SELECT SUM(a) AS s FROM t WHERE a > 10").rows() == [(0,)]
assert run("SELECT AVG(a) AS s FROM t WHERE a > 10").rows() == [(None,)]
assert run("SELECT a FROM t WHERE b NOT IN (1, NULL)").rows() == [(2,), (3,)]
assert run("SELECT a FROM t WHERE a NOT IN (SELECT a FROM u)").rows() == [(2,), (3,), (4,)]
print("polars 1.36.1: SUM of no rows is 0; NOT IN a list with NULL keeps rows")
PY
