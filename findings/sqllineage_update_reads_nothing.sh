#!/usr/bin/env bash
# sqllineage 1.5.9. An UPDATE or a DELETE has no source tables when what it reads stands in a subquery, though an INSERT with the same
# subquery has. Guess: u is read by each. Seen: by the INSERT alone.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqllineage==1.5.9
PYTHONPATH="$folder" python3 - <<"PY"
from sqllineage.runner import LineageRunner


def read(sql):
    return [str(table) for table in LineageRunner(sql, dialect="ansi").source_tables]


found = (
    read("INSERT INTO t SELECT MAX(b) FROM u"),
    read("UPDATE t SET a = (SELECT MAX(b) FROM u)"),
    read("DELETE FROM t WHERE a IN (SELECT b FROM u)"),
)
assert found == (["<default>.u"], [], []), found
print("sqllineage 1.5.9: UPDATE t SET a = (SELECT MAX(b) FROM u) reads", found[1])
PY
