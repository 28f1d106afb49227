#!/usr/bin/env bash
# pglast 8.8, fingerprint (libpg_query). LIMIT 1 and OFFSET 1 have one fingerprint, so have `a, b` and `b, a`, `FROM t, u` and
# `FROM u, t`, and `a = 1` and `a = NULL`; another alias of a table is another fingerprint. So it does not tell answers apart.
# Guess: constants alone do not count, clauses and the order of columns do, aliases of tables do not. Seen: the other way round.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" pglast==8.8
PYTHONPATH="$folder" python3 - <<"PY"
from pglast import fingerprint


def alike(first, second):
    return fingerprint(first) == fingerprint(second)


assert alike("SELECT a FROM t LIMIT 1", "SELECT a FROM t OFFSET 1")
assert alike("SELECT a, b FROM t", "SELECT b, a FROM t")
assert alike("SELECT a FROM t WHERE a = 1", "SELECT a FROM t WHERE a = NULL")
assert alike("SELECT 1, 1", "SELECT 'x'")
assert not alike("SELECT a FROM t AS p", "SELECT a FROM t AS q")
assert not alike("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC")
print("pglast 8.8: LIMIT 1 and OFFSET 1 have one fingerprint")
PY
