#!/usr/bin/env bash
# libsql 0.1.11, the Python package of the fork of SQLite. LOG(100) is the natural one, 4.6, where SQLite's is to base 10; CEIL gives a whole
# number; a name in double quotes that is no column is an error, not a text, so that golds with "Ann" fail.
# Guess: a newer SQLite: 2.0, -1.0 and a row. Seen: 4.605170185988092, -1 and no such column.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" libsql==0.1.11
PYTHONPATH="$folder" python3 - <<"PY"
import libsql

base = libsql.connect(":memory:")
base.execute("CREATE TABLE t (s TEXT)")
base.execute("INSERT INTO t VALUES ('Ann')")
log, ceil = base.execute("SELECT LOG(100), CEIL(-1.5)").fetchall()[0]
assert abs(log - 4.605170185988092) < 1e-12 and (ceil, type(ceil)) == (-1, int), (log, ceil)
assert base.execute("SELECT COUNT(*) FROM t WHERE s = 'Ann'").fetchall()[0][0] == 1
try:
    base.execute('SELECT COUNT(*) FROM t WHERE s = "Ann"').fetchall()
except ValueError as error:
    assert "no such column" in str(error)
else:
    raise AssertionError("accepted")
print("libsql 0.1.11: LOG(100) is", log)
PY
