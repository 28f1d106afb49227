#!/usr/bin/env bash
# tableauhyperapi 0.0.26963 (Hyper, Tableau's engine). NOT IN over a subquery that holds NULL keeps rows, and x > ALL of a NULL is true. Over a list
# that is written out NOT IN keeps none. Hyper's documentation says of NOT IN, as ISO/IEC 9075-2, 8.4 does: NULL where a row is NULL.
# Guess: no rows for both, as PostgreSQL, whose SQL Hyper speaks. Seen: 2, 3 and 4; and all four rows.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" tableauhyperapi==0.0.26963
PYTHONPATH="$folder" python3 - <<"PY"
import os
import tempfile

from tableauhyperapi import Connection, HyperProcess, Telemetry

os.chdir(tempfile.mkdtemp(dir=os.environ["PYTHONPATH"]))
quiet = {"log_config": ""}
with HyperProcess(Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, parameters=quiet) as hyper, Connection(hyper.endpoint) as connection:
    connection.execute_command("CREATE TEMPORARY TABLE t (a INTEGER, b INTEGER)")
    connection.execute_command("INSERT INTO t VALUES (1, NULL), (2, 7), (3, 7), (4, 1)")

    def kept(condition):
        return [row[0] for row in connection.execute_list_query(f"SELECT a FROM t WHERE {condition} ORDER BY a")]

    found = [
        kept("a NOT IN (SELECT b FROM t)"),
        kept("a NOT IN (1, NULL)"),
        kept("a > ALL (SELECT b FROM t WHERE b IS NULL)"),
    ]
assert found == [[2, 3, 4], [], [1, 2, 3, 4]], found
print("Hyper 0.0.26963: NOT IN (subquery with NULL), NOT IN (1, NULL), > ALL (NULL):", *found)
PY
