#!/usr/bin/env bash
# mo-sql-parsing 11.699.26234: `format(parse(sql))` loses the brackets after NOT and around the second part of a set operation, so that
# the text it writes means something else.
# Guess: both keep their brackets, as (a OR b) AND c does. Seen: NOT a = 1 OR b = 2, and A UNION B EXCEPT C.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" mo-sql-parsing==11.699.26234 mo-parsing==9.3.26234 mo-dots==10.688.26234 mo-future==7.687.26234 mo-imports==7.687.26234
PYTHONPATH="$folder" python3 - <<"PY"
import sqlite3

from mo_sql_parsing import format, parse

database = sqlite3.connect(":memory:")
database.executescript("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 2), (3, 2), (1, 4), (3, 4)")
written = "SELECT a, b FROM t WHERE NOT (a = 1 OR b = 2)"
again = format(parse(written))
assert again == "SELECT a, b FROM t WHERE NOT a = 1 OR b = 2"
assert database.execute(written).fetchall() == [(3, 4)]
assert database.execute(again).fetchall() == [(1, 2), (3, 2), (3, 4)]
assert format(parse("SELECT a FROM t WHERE (a = 1 OR b = 2) AND a = 3")).endswith("(a = 1 OR b = 2) AND a = 3")
union = " ".join(format(parse("SELECT a FROM t UNION (SELECT a FROM u EXCEPT SELECT a FROM v)")).split())
assert union == "SELECT a FROM t UNION SELECT a FROM u EXCEPT SELECT a FROM v"
print("mo-sql-parsing 11.699.26234: NOT (a = 1 OR b = 2) is written NOT a = 1 OR b = 2")
PY
