#!/usr/bin/env bash
# pyturso 0.8.3. Within an expression of ORDER BY a name is the alias before it is the column: SELECT -a AS a ... ORDER BY a + 0 sorts the
# other way round than SQLite and PostgreSQL, where only a name alone is looked for among the aliases.
# Guess: as SQLite. Seen: -3, -2, -1, where SQLite gives -1, -2, -3. ORDER BY a is the same in both.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" pyturso==0.8.3
PYTHONPATH="$folder" python3 - <<"PY"
import sqlite3

import turso


def answers(base):
    base.execute("CREATE TABLE t (a INTEGER)")
    base.execute("INSERT INTO t VALUES (1), (2), (3)")
    return [
        [row[0] for row in base.execute(f"SELECT -a AS a FROM t ORDER BY {key}").fetchall()]
        for key in ("a", "a + 0")
    ]


sqlite, other = answers(sqlite3.connect(":memory:")), answers(turso.connect(":memory:"))
assert sqlite == [[-3, -2, -1], [-1, -2, -3]], sqlite
assert other == [[-3, -2, -1], [-3, -2, -1]], other
print("pyturso 0.8.3: ORDER BY a + 0 gives", other[1])
PY
