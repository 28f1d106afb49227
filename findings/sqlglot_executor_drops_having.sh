#!/usr/bin/env bash
# sqlglot 30.30.0, sqlglot.executor: a HAVING without GROUP BY and without an aggregate is dropped in silence; all rows come back.
# SQLite 3.39 and later filters by it, PostgreSQL refuses the query.
# Guess: filtered, or an error. Seen: every row. With GROUP BY the condition holds.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlglot==30.30.0
PYTHONPATH="$folder" python3 - <<"PY"
from sqlglot.executor import execute

tables = {"t": [{"a": 1}, {"a": 2}, {"a": 3}]}


def rows(sql):
    return execute(sql, schema={"t": {"a": "int"}}, tables=tables, dialect="sqlite").rows


assert rows("SELECT a FROM t HAVING a > 1") == [(1,), (2,), (3,)]
assert rows("SELECT a FROM t GROUP BY a HAVING a > 1") == [(2,), (3,)]
assert rows("SELECT a FROM t WHERE a > 1") == [(2,), (3,)]
print("sqlglot 30.30.0: its executor drops HAVING where there is no GROUP BY")
PY
