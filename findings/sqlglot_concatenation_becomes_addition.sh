#!/usr/bin/env bash
# sqlglot 30.30.0, SQLite to T-SQL. `||` becomes `+`, with no cast, and T-SQL adds numbers: year || month, '202001' in SQLite, is 2021.
# Through T-SQL and back it is an addition in SQLite as well, where a text that is added counts as 0.
# Guess: CONCAT(a, b), as for MySQL. Seen: a + b.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlglot==30.30.0
PYTHONPATH="$folder" python3 - <<"PY"
import sqlite3

import sqlglot

query = "SELECT year || month FROM (SELECT 2020 AS year, 1 AS month)"
there = sqlglot.transpile(query, read="sqlite", write="tsql")[0]
assert there.startswith("SELECT year + month "), there
back = sqlglot.transpile(there, read="tsql", write="sqlite")[0]
base = sqlite3.connect(":memory:")
assert base.execute(query).fetchone() == ("20201",)
assert base.execute(back).fetchone() == (2021,), back
print("sqlglot 30.30.0:", there)
PY
