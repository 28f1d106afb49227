#!/usr/bin/env bash
# sqlas 2.8.0, execution_accuracy: only numbers are compared. Where the gold's rows hold texts alone, any texts of as many rows are an
# output match of 1: another name, or a constant. A row (name, 1) matches (anything, 1).
# Guess: sorted rows compared, so 0 for another name. Seen: output_score 1.0 for 'Bob' and for 'zzz' where the gold says 'Ann'.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlas==2.8.0
PYTHONPATH="$folder" python3 - <<"PY"
import os
import sqlite3
import tempfile

from sqlas.correctness import execution_accuracy

path = os.path.join(tempfile.mkdtemp(), "t.sqlite")
database = sqlite3.connect(path)
database.executescript("CREATE TABLE t (name TEXT, a INT); INSERT INTO t VALUES ('Ann', 1), ('Bob', 2)")
database.close()


def output(predicted, gold):
    return execution_accuracy(predicted, gold, db_path=path)[1]["output_score"]


assert output("SELECT name FROM t WHERE a = 2", "SELECT name FROM t WHERE a = 1") == 1.0
assert output("SELECT 'zzz'", "SELECT name FROM t WHERE a = 1") == 1.0
assert output("SELECT 'zzz', 1", "SELECT name, a FROM t WHERE a = 1") == 1.0
assert output("SELECT a FROM t WHERE a = 2", "SELECT a FROM t WHERE a = 1") == 0.0
print("sqlas 2.8.0: execution_accuracy never compares texts")
PY
