#!/usr/bin/env bash
# sqlfluff 4.5.0, fix with its own settings. Columns are put in another order (plain ones first, and * before them), and `b = NULL`,
# which keeps no row, becomes `b IS NULL`. What compares results by position, as BIRD does, sees another answer.
# Guess: white space and capitals alone. Seen: b, a + 1 AS c; and IS NULL. COUNT(*), b is turned round as well.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlfluff==4.5.0
PYTHONPATH="$folder" python3 - <<"PY"
import sqlite3

import sqlfluff

base = sqlite3.connect(":memory:")
base.execute("CREATE TABLE t (a, b)")
base.execute("INSERT INTO t VALUES (1, NULL), (5, 7)")


def rows(sql):
    return base.execute(sql).fetchall()


moved = sqlfluff.fix("SELECT a + 1 AS c, b FROM t\n", dialect="sqlite")
assert moved.split() == "SELECT b, a + 1 AS c FROM t".split(), moved
assert rows(moved) == [(None, 2), (7, 6)]
null = sqlfluff.fix("SELECT a FROM t WHERE b = NULL\n", dialect="sqlite")
assert (rows("SELECT a FROM t WHERE b = NULL"), rows(null)) == ([], [(1,)]), null
counted = sqlfluff.fix("SELECT COUNT(*), b FROM t GROUP BY b\n", dialect="sqlite")
assert counted.split()[1] == "b,", counted
print("sqlfluff 4.5.0: fix turns a + 1 AS c, b round")
PY
