#!/usr/bin/env bash
# sqlglot 30.30.0. Letters of dates that it does not know are handed on as they stand, to an engine that takes them for text: PostgreSQL's
# TO_CHAR(d, 'Mon YYYY') becomes DuckDB's STRFTIME(d, 'Mon %Y'), and SQLite's strftime('%w', d), the day of the week, PostgreSQL's
# TO_CHAR(d, '%w'). unsupported_level=RAISE raises nothing.
# Guess: 'Jan 2020', by %b. Seen: 'Mon 2020' for every month.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlglot==30.30.0 duckdb==2.0.1
PYTHONPATH="$folder" python3 - <<"PY"
import duckdb
import sqlglot

strict = {"unsupported_level": sqlglot.ErrorLevel.RAISE}
[written] = sqlglot.transpile(
    "SELECT TO_CHAR(DATE '2020-01-05', 'Mon YYYY')", read="postgres", write="duckdb", **strict
)
assert duckdb.sql(written).fetchall() == [("Mon 2020",)], written
[week] = sqlglot.transpile("SELECT strftime('%w', d) FROM t", read="sqlite", write="postgres", **strict)
assert week == "SELECT TO_CHAR(CAST(d AS TIMESTAMP), '%w') FROM t", week
print("sqlglot 30.30.0:", written, "is Mon 2020")
PY
