#!/usr/bin/env bash
# kuzu 0.11.3, an embedded graph database that speaks openCypher. collect() and sum() over no rows are NULL, where openCypher's reference says an empty
# list and 0, so that size(collect(x)) = 0 finds nothing; a power binds as any product: 2 ^ 3 ^ 2 is 64 and -2 ^ 2 is 4.
# Guess: [], 0; 64 (as Neo4j) and -4. Seen: NULL twice; 64 and 4.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" kuzu==0.11.3
PYTHONPATH="$folder" python3 - <<"PY"
import os
import tempfile

import kuzu

connection = kuzu.Connection(kuzu.Database(tempfile.mkdtemp(dir=os.environ["PYTHONPATH"]) + "/x"))


def row(query):
    return connection.execute(query).get_all()[0]


connection.execute("CREATE NODE TABLE t(a INT64, PRIMARY KEY(a))")
connection.execute("CREATE (:t {a: 1})")
none = row("MATCH (x:t) WHERE x.a > 9 RETURN count(*), collect(x.a), sum(x.a)")
assert none == [0, None, None], none
assert row("MATCH (x:t) WHERE x.a > 9 WITH collect(x.a) AS found RETURN size(found) = 0") == [None]
assert row("RETURN -2 ^ 2, 2 ^ 3 ^ 2") == [4.0, 64.0]
print("kuzu 0.11.3: count, collect and sum of nothing:", *none)
PY
