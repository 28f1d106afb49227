#!/usr/bin/env bash
# datafusion 55.0.0. SUM of 64-bit integers wraps around without an error, where DuckDB widens and SQLite and PostgreSQL raise or widen.
# Guess: an overflow error. Seen: the largest integer plus 1 sums to the smallest.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" datafusion==55.0.0 pyarrow==22.0.0
PYTHONPATH="$folder" python3 - <<"PY"
import datafusion

run = datafusion.SessionContext().sql
total = run("SELECT SUM(c) AS s FROM (SELECT 9223372036854775807 AS c UNION ALL SELECT 1) AS z").to_pydict()
assert total == {"s": [-9223372036854775808]}
print("datafusion 55.0.0: SUM(9223372036854775807, 1) =", total["s"][0])
PY
