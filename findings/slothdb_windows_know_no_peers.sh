#!/usr/bin/env bash
# slothdb 0.2.7. A window with ORDER BY covers the whole partition: a running SUM is the total in every row and LAST_VALUE the last of all; a frame that is
# written out is refused; LAG's third argument, the default, is dropped. ISO/IEC 9075-2, 7.15: up to the current row and its peers; 6.10.
# Guess: 4, 9, 9 for b = 1, 7, 7; the row itself; 0. Seen: 9 three times; the last; NULL.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" slothdb==0.2.7
PYTHONPATH="$folder" python3 - <<"PY"
import slothdb

run = slothdb.connect().sql
run("CREATE TABLE t (a INTEGER, b INTEGER)")
run("INSERT INTO t VALUES (2, 7), (3, 7), (4, 1)")


def values(window):
    return [tuple(row) for row in run(f"SELECT a, {window} AS x FROM t ORDER BY a").fetchall()]


assert values("SUM(a) OVER (ORDER BY b)") == [(2, 9), (3, 9), (4, 9)]
assert values("LAST_VALUE(a) OVER (ORDER BY a)") == [(2, 4), (3, 4), (4, 4)]
assert values("LAG(a, 1, 0) OVER (ORDER BY a)") == [(2, None), (3, 2), (4, 3)]
print("slothdb 0.2.7: SUM(a) OVER (ORDER BY b) is", *values("SUM(a) OVER (ORDER BY b)"))
PY
