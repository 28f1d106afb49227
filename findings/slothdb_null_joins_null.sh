#!/usr/bin/env bash
# slothdb 0.2.7. Two NULLs are equal in the ON of a join, and NOT of an unknown is true: NOT (b = 7) keeps the row without b, as b NOT BETWEEN
# and b IN (NULL, 1) do. b <> 7 does not. ISO/IEC 9075-2, 8.2 and 6.39: what is compared with NULL is unknown, and so is its negation.
# Guess: 2, 3 and 4 join; NOT (b = 7) keeps 4. Seen: 1 joins itself, and 1 and 4.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" slothdb==0.2.7
PYTHONPATH="$folder" python3 - <<"PY"
import slothdb

run = slothdb.connect().sql
run("CREATE TABLE t (a INTEGER, b INTEGER)")
run("INSERT INTO t VALUES (1, NULL), (2, 7), (3, 8), (4, 1)")


def kept(condition):
    return sorted(row[0] for row in run(f"SELECT a FROM t WHERE {condition}").fetchall())


joined = run("SELECT t.a, x.a FROM t JOIN t x ON t.b = x.b").fetchall()
assert sorted(map(tuple, joined)) == [(1, 1), (2, 2), (3, 3), (4, 4)], joined
found = [kept("b <> 7"), kept("NOT (b = 7)"), kept("b NOT BETWEEN 7 AND 9"), kept("b IN (NULL, 1)")]
assert found == [[3, 4], [1, 3, 4], [1, 4], [1, 4]], found
print("slothdb 0.2.7: NULL joins NULL; b <> 7 keeps", found[0], "and NOT (b = 7)", found[1])
PY
