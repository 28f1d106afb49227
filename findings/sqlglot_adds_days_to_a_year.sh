#!/usr/bin/env bash
# sqlglot 30.30.0, PostgreSQL to SQLite. A date plus a whole number, the day after, is written DATE('2020-01-01') + 1, where SQLite makes a
# number of the text: 2021. unsupported_level=RAISE raises nothing. Guess: DATE(..., '+1 day'), or an error. Seen: 2021.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlglot==30.30.0
PYTHONPATH="$folder" python3 - <<"PY"
import sqlite3

import sqlglot

query = "SELECT '2020-01-01'::date + 1"
[written] = sqlglot.transpile(
    query, read="postgres", write="sqlite", unsupported_level=sqlglot.ErrorLevel.RAISE
)
assert sqlite3.connect(":memory:").execute(written).fetchone() == (2021,), written
print("sqlglot 30.30.0:", query, "in SQLite is 2021")
PY
