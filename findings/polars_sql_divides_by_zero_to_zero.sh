#!/usr/bin/env bash
# polars 1.36.1, SQLContext. `/` between integers rounds down, a zero divisor gives 0, and ROUND goes to the even neighbour.
# SQLite and PostgreSQL truncate (-7 / 3 = -2); a zero divisor is NULL in SQLite and an error in PostgreSQL; ROUND(2.5) is 3 in both.
# Guess: 7 / 2 = 3.5 as in polars' own expressions, 1 / 0 = inf, ROUND(2.5) = 3. Seen: 3, 0 and 2.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" polars==1.36.1
PYTHONPATH="$folder" python3 - <<"PY"
import polars

run = polars.SQLContext(eager=True).execute
assert run("SELECT 7/2 AS a, -7/3 AS b, 1/0 AS c").rows() == [(3, -3, 0)]
assert run("SELECT ROUND(2.5) AS a, ROUND(3.5) AS b").rows() == [(2.0, 4.0)]
assert polars.select(polars.lit(7) / polars.lit(2)).item() == 3.5
print("polars 1.36.1: in SQL 7/2 = 3, -7/3 = -3, 1/0 = 0, ROUND(2.5) = 2")
PY
