#!/usr/bin/env bash
# nl2sql360 1.1.0, BIRD's reward-based VES: measurements are kept when they lie strictly within three standard deviations of their mean.
# A single repeat has a deviation of 0, so none is kept, the mean over none divides by zero, and the right answer gets 0.
# Guess: one repeat gives a noisy 1 or so. Seen: 0 for a query held against itself; with 30 repeats it is above 0.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" --no-deps nl2sql360==1.1.0
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" numpy==2.2.6 func-timeout==4.3.5 tqdm==4.67.1 sqlglot==30.30.0 psycopg2-binary==2.9.11 pymysql==1.1.2 nltk==3.9.2 loguru==0.7.3 sqlparse==0.6.1
PYTHONPATH="$folder" python3 - <<"PY"
import os
import sqlite3
import tempfile

from nl2sql360.evaluator.bird_eval.bird_rves import clean_abnormal, execute_model

path = os.path.join(tempfile.mkdtemp(), "t.sqlite")
database = sqlite3.connect(path)
database.executescript("CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2)")
database.close()


def reward(repeats):
    sql = "SELECT a FROM t"
    return execute_model(sql, sql, path, 0, repeats, 30.0, "SQLite", None)["reward"]


assert clean_abnormal([1.0]) == [] and clean_abnormal([2.0, 2.0, 2.0]) == []
assert reward(1) == 0
assert reward(30) > 0
print("nl2sql360 1.1.0: R-VES with one repeat is 0 for every right answer")
PY
