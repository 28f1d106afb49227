#!/usr/bin/env bash
# sqlglot 30.30.0, MySQL to SQLite. DATE_FORMAT's letters are turned into those of C: %M into %B, %W into %A, %e into %-d. SQLite knows
# none of them, and STRFTIME with a letter it does not know is NULL. unsupported_level=RAISE raises nothing.
# Guess: a warning that it cannot be said. Seen: NULL instead of 'January 5'.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlglot==30.30.0
PYTHONPATH="$folder" python3 - <<"PY"
import sqlite3

import sqlglot

written = sqlglot.transpile(
    "SELECT DATE_FORMAT('2020-01-05', '%M %e')",
    read="mysql",
    write="sqlite",
    unsupported_level=sqlglot.ErrorLevel.RAISE,
)[0]
assert written == "SELECT STRFTIME('%B %-d', '2020-01-05')", written
assert sqlite3.connect(":memory:").execute(written).fetchone() == (None,)
print("sqlglot 30.30.0:", written, "is NULL")
PY
