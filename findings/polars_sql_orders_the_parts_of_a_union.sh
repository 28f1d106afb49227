#!/usr/bin/env bash
# polars 1.36.1, SQLContext. ORDER BY after a set operation sorts its parts, each for itself; LIMIT then cuts what is put together, so
# `A UNION ALL B ORDER BY x LIMIT 2` gives the two smallest of A. Through a CTE the same query is right.
# Guess: NULL's place may differ, the order is right. Seen: 1, 3, 9, 2, 4, 8, and (1, 3) for the two smallest, which are 1 and 2.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" polars==1.36.1
PYTHONPATH="$folder" python3 - <<"PY"
import polars

tables = {"t": polars.DataFrame({"b": [3, 9, 1]}), "u": polars.DataFrame({"b": [8, 2, 4]})}
run = polars.SQLContext(tables, eager=True).execute
union = "SELECT b FROM t UNION ALL SELECT b FROM u"
assert run(f"{union} ORDER BY b").rows() == [(1,), (3,), (9,), (2,), (4,), (8,)]
assert run(f"{union} ORDER BY b LIMIT 2").rows() == [(1,), (3,)]
assert run(f"WITH z AS ({union}) SELECT b FROM z ORDER BY b LIMIT 2").rows() == [(1,), (2,)]
print("polars 1.36.1: ORDER BY of a UNION ALL sorts each part alone")
PY
