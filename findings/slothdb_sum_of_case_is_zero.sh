#!/usr/bin/env bash
# slothdb 0.2.7. SUM over a CASE is 0, MAX of texts is the text of the first row, SUM(DISTINCT b) adds repeats, and ROUND(x, 2) rounds to a
# whole number. No error is given for what is not there. ISO/IEC 9075-2, 10.9: the expression is evaluated for each row, DISTINCT
# removes repeats first. Guess: 2, bob, 8 and 2.72. Seen: 0, Ann, 15 and 3.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" slothdb==0.2.7
PYTHONPATH="$folder" python3 - <<"PY"
import slothdb

run = slothdb.connect().sql
run("CREATE TABLE t (a INTEGER, b INTEGER, s VARCHAR)")
run("INSERT INTO t VALUES (1, 1, 'Ann'), (2, 7, 'bob'), (3, 7, 'Cid')")


def value(expression):
    return run(f"SELECT {expression} AS x FROM t").fetchall()[0][0]


found = [value("SUM(CASE WHEN b = 7 THEN 1 ELSE 0 END)"), value("MAX(s)"), value("SUM(DISTINCT b)"), value("ROUND(2.7182, 2)")]
assert found == [0, "Ann", 15, 3], found
print("slothdb 0.2.7: SUM(CASE ...), MAX(s), SUM(DISTINCT b), ROUND(2.7182, 2):", *found)
PY
