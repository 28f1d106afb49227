#!/usr/bin/env bash
# tableauhyperapi 0.0.26963 (Hyper, Tableau's engine). AVG and STDDEV of integers are numbers with six digits behind the point: of 1, 1, 2 the average is
# 1.333333, and of 1 and of 9,999,999 zeros 0.000000. PostgreSQL, whose SQL Hyper speaks, gives 16 digits and more, SQLite and DuckDB a double. So
# a comparison with a tolerance of 1e-9 fails. Guess: 1.3333333333333333. Seen: 1.333333. Through a cast to double all digits are there.
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
    numbers = "(VALUES (1), (1), (2)) AS t(a)"
    [row] = connection.execute_list_query(f"SELECT AVG(a), STDDEV(a), AVG(a::DOUBLE PRECISION) FROM {numbers}")
    tiny = "(SELECT CASE WHEN n = 1 THEN 1 ELSE 0 END AS a FROM generate_series(1, 10000000) AS g(n)) AS t"
    small = connection.execute_scalar_query(f"SELECT AVG(a) FROM {tiny}")
assert [str(value) for value in row[:2]] == ["1.333333", "0.577350"], row
assert row[2] == 4 / 3
assert float(small) == 0, small
print("Hyper 0.0.26963: AVG of 1, 1, 2 is", row[0])
PY
