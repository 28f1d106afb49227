#!/usr/bin/env bash
# daft 0.7.26 and glaredb 25.6.3. A correlated SELECT COUNT(*) is NULL, not 0, for a row that nothing refers to: both make a
# LEFT JOIN of grouped rows of it. A filter `(SELECT COUNT(*) ...) = 0` then finds no row at all.
# Guess: 0, since COUNT never gives NULL. Seen: NULL in both, and no row for `= 0`.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" daft==0.7.26 pyarrow==25.0.1 packaging==26.4 tqdm==4.67.3 glaredb==25.6.3
PYTHONPATH="$folder" python3 - <<"PY"
import daft
import glaredb

t = daft.from_pydict({"a": [1, 2]})
u = daft.from_pydict({"a": [1, 1]})
COUNTS = "SELECT a, (SELECT COUNT(*) FROM u WHERE u.a = t.a) AS n FROM t ORDER BY a"
NONE = "SELECT a FROM t WHERE (SELECT COUNT(*) FROM u WHERE u.a = t.a) = 0"
assert daft.sql(COUNTS, t=t, u=u).to_pylist() == [{"a": 1, "n": 2}, {"a": 2, "n": None}]
assert daft.sql(NONE, t=t, u=u).to_pylist() == []

engine = glaredb.connect()
for statement in (
    "CREATE TEMP TABLE t (a INT)",
    "CREATE TEMP TABLE u (a INT)",
    "INSERT INTO t VALUES (1), (2)",
    "INSERT INTO u VALUES (1), (1)",
):
    engine.sql(statement)
assert "NULL" in str(engine.sql(COUNTS)), str(engine.sql(COUNTS))
assert "No rows" in str(engine.sql(NONE)), str(engine.sql(NONE))
print("daft 0.7.26, glaredb 25.6.3: a correlated COUNT(*) of nothing is NULL")
PY
