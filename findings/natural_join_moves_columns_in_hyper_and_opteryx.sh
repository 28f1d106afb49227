#!/usr/bin/env bash
# tableauhyperapi 0.0.26963 and opteryx-core 0.9.175. SELECT * over JOIN ... USING (a) does not begin with a: Hyper has it between the columns of the two
# tables, opteryx at the end. ISO/IEC 9075-2, 7.10: first the columns in common, then the others of the left, then of the right, as SQLite,
# PostgreSQL and DuckDB have it. Whoever compares by position sees another answer. Guess: a, b, c. Seen: b, a, c and b, c, a.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" tableauhyperapi==0.0.26963 opteryx-core==0.9.175
PYTHONPATH="$folder" python3 - <<"PY"
import os
import tempfile

import opteryx
from opteryx.connectors import DiskConnector
from tableauhyperapi import Connection, HyperProcess, Telemetry

os.chdir(tempfile.mkdtemp(dir=os.environ["PYTHONPATH"]))
for table, line in (("t", '{"a": 1, "b": 7}'), ("u", '{"a": 1, "c": 10}')):
    os.makedirs(f"data/{table}")
    with open(f"data/{table}/rows.jsonl", "w") as file:
        print(line, file=file)
opteryx.register_workspace("data", DiskConnector)
[morsel] = opteryx.session().execute_to_morsels("SELECT * FROM data.t t JOIN data.u u USING (a)")
of_opteryx = [morsel.column(name).to_pylist()[0] for name in morsel.column_names]
quiet = {"log_config": ""}
with HyperProcess(Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, parameters=quiet) as hyper, Connection(hyper.endpoint) as connection:
    connection.execute_command("CREATE TEMPORARY TABLE t AS (SELECT 1 AS a, 7 AS b)")
    connection.execute_command("CREATE TEMPORARY TABLE u AS (SELECT 1 AS a, 10 AS c)")
    [of_hyper] = connection.execute_list_query("SELECT * FROM t JOIN u USING (a)")
    assert connection.execute_list_query("SELECT * FROM t NATURAL JOIN u") == [of_hyper]
assert of_hyper == [7, 1, 10], of_hyper
assert of_opteryx == [7, 10, 1], of_opteryx
print("JOIN USING (a) of (a=1, b=7) and (a=1, c=10): Hyper", of_hyper, "opteryx-core", of_opteryx)
PY
