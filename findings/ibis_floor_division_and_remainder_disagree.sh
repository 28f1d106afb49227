#!/usr/bin/env bash
# ibis-framework 12.0.0 on DuckDB. `//` rounds down, as Python's does, while `%` takes the sign of the dividend, as SQL's does, so that
# (a // 3) * 3 + a % 3 is not a for negative a. Guess: both as Python, or both as SQL. Seen: -1 // 3 = -1 and -1 % 3 = -1.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" "ibis-framework[duckdb]==12.0.0" \
    duckdb==2.0.1
PYTHONPATH="$folder" python3 - <<"PY"
import ibis

table = ibis.memtable({"a": [-1]})
found = table.select(floor=table.a // 3, rest=table.a % 3, whole=(table.a // 3) * 3 + table.a % 3)
row = ibis.duckdb.connect().to_pyarrow(found).to_pylist()[0]
assert row == {"floor": -1, "rest": -1, "whole": -4}, row
assert (-1 // 3, -1 % 3) == (-1, 2)
print("ibis 12.0.0:", row)
PY
