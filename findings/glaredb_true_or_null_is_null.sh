#!/usr/bin/env bash
# glaredb 25.6.3. AND and OR of columns are NULL as soon as one side is: `a = 1 OR b = 7` loses the row with a = 1 that has no
# b, and NOT (b = 7 AND a = 3) loses it too.
# Guess: TRUE OR NULL is true and FALSE AND NULL false, as in every SQL. Seen: NULL, both ways round.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" glaredb==25.6.3
PYTHONPATH="$folder" python3 - <<"PY"
import re

import glaredb

engine = glaredb.connect()
engine.sql("CREATE TEMP TABLE t (a INT, b INT)")
engine.sql("INSERT INTO t VALUES (1, NULL), (2, 7), (3, 7), (4, 1)")


def rows(condition):
    return [int(n) for n in re.findall(r"│\s+(\d+) │", str(engine.sql(f"SELECT a FROM t WHERE {condition} ORDER BY a")))]


assert rows("a = 1") == [1]
assert rows("a = 1 OR b = 7") == rows("b = 7 OR a = 1") == [2, 3]
assert rows("NOT (b = 7 AND a = 3)") == [2, 4]
assert rows("(a = 1 OR b = 7) IS NULL") == [1]
print("glaredb 25.6.3: a = 1 OR b = 7 finds", rows("a = 1 OR b = 7"), "and not the row (1, NULL)")
PY
