#!/usr/bin/env bash
# sqlglot 30.30.0, PostgreSQL to SQLite. FETCH FIRST 1 ROW WITH TIES becomes LIMIT 1, without a word under unsupported_level=RAISE too: of
# two highest one is left. To DuckDB alike.
# Guess: UnsupportedError, as DISTINCT ON and QUALIFY are taken care of. Seen: LIMIT 1.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlglot==30.30.0
PYTHONPATH="$folder" python3 - <<"PY"
import sqlglot

query = "SELECT a FROM t ORDER BY b DESC FETCH FIRST 1 ROW WITH TIES"
for engine in ("sqlite", "duckdb"):
    [written] = sqlglot.transpile(
        query, read="postgres", write=engine, unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    assert written.endswith(" LIMIT 1"), written
print("sqlglot 30.30.0:", query, "is", written)
PY
