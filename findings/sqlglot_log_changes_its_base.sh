#!/usr/bin/env bash
# sqlglot 30.30.0. LOG of one number is to base 10 in SQLite, natural in MySQL and T-SQL. From MySQL to SQLite it becomes LN; from SQLite
# to MySQL and to T-SQL it stays LOG, so 2 becomes 4.6. There and back is another query.
# Guess: LOG10, as it minds the base one way. Seen: LOG(100) for both, and LN(100) after the way back.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlglot==30.30.0
PYTHONPATH="$folder" python3 - <<"PY"
import sqlglot

strict = {"unsupported_level": sqlglot.ErrorLevel.RAISE}
there = {
    engine: sqlglot.transpile("SELECT LOG(100)", read="sqlite", write=engine, **strict)[0]
    for engine in ("mysql", "tsql")
}
assert set(there.values()) == {"SELECT LOG(100)"}, there
back = sqlglot.transpile(there["mysql"], read="mysql", write="sqlite", **strict)[0]
assert back == "SELECT LN(100)", back
print("sqlglot 30.30.0: SQLite's LOG(100), by way of MySQL, is", back)
PY
