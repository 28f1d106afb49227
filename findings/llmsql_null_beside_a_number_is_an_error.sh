#!/usr/bin/env bash
# llmsql 0.1.16, evaluation: rows are put in order by `sorted`, which raises where a column holds NULL beside a number or a text; the
# exception counts as failed SQL. So a gold whose result has such a column cannot be met, not even by itself.
# Guess: rows as a sorted list, so a query matches itself. Seen: None for both, match 0, one SQL error.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" --no-deps llmsql==0.1.16
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" huggingface_hub==0.36.0 rich==14.2.0
PYTHONPATH="$folder" python3 - <<"PY"
import sqlite3

from llmsql.utils.evaluation_utils import evaluate_sample, execute_sql

database = sqlite3.connect(":memory:")
database.executescript("CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (NULL), (2)")


def match(gold):
    questions = {1: {"table_id": "t", "sql": gold, "question": "?"}}
    found, _, counts = evaluate_sample({"question_id": 1, "completion": gold}, questions, database)
    return found, counts["sql_error"]


assert execute_sql(database, "SELECT a FROM t") is None
assert match("SELECT a FROM t") == (0, 1)
assert match("SELECT a FROM t WHERE a IS NOT NULL") == (1, 0)
print("llmsql 0.1.16: a result with NULL beside numbers never matches itself")
PY
