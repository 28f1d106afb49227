#!/usr/bin/env bash
# tinyquery 1.2.2, a stand-in for BigQuery in tests. OR and AND with a NULL are NULL, so that a = 1 OR b = 7 drops the row with a = 1 and no b; in a join
# NULL equals NULL; and SUM over no rows is 0. BigQuery's reference: TRUE OR NULL is TRUE, NULL joins nothing, the sum of nothing is NULL.
# Guess: 1 and 2; 2 and 3; NULL. Seen: 2; 1, 2 and 3; 0.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" tinyquery==1.2.2 six==1.17.0
PYTHONPATH="$folder" python3 - <<"PY"
import json

from tinyquery import tinyquery

engine = tinyquery.TinyQuery()
schema = [{"name": name, "type": "INTEGER", "mode": "NULLABLE"} for name in ("a", "b")]
rows = [{"a": 1, "b": None}, {"a": 2, "b": 7}, {"a": 3, "b": 8}]
engine.load_table_from_newline_delimited_json("t", json.dumps(schema), [json.dumps(row) for row in rows])


def column(query):
    return [*engine.evaluate_query(query).columns.values()][0].values


either = column("SELECT a FROM t WHERE a = 1 OR b = 7")
assert either == [2], either
joined = column("SELECT x.a FROM t x JOIN t y ON x.b = y.b")
assert sorted(joined) == [1, 2, 3], joined
assert column("SELECT SUM(b) AS total FROM t WHERE a > 9") == [0]
print("tinyquery 1.2.2: a = 1 OR b = 7 keeps", either, "and NULL joins NULL")
PY
