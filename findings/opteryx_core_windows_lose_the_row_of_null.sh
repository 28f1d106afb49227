#!/usr/bin/env bash
# opteryx-core 0.9.175. A window with PARTITION BY b loses the rows whose b is NULL: of four rows three come back. GROUP BY b keeps them.
# ISO/IEC 9075-2, 7.15: a window changes no number of rows, and NULLs are one partition.
# Guess: four rows, 1 for the row of NULL. Seen: three. For ROW_NUMBER and SUM alike.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" opteryx-core==0.9.175
PYTHONPATH="$folder" python3 - <<"PY"
import os
import tempfile

import opteryx
from opteryx.connectors import DiskConnector

os.chdir(tempfile.mkdtemp(dir=os.environ["PYTHONPATH"]))
os.makedirs("data/t")
with open("data/t/rows.jsonl", "w") as file:
    print('{"a": 1, "b": null}\n{"a": 2, "b": 7}\n{"a": 3, "b": 7}\n{"a": 4, "b": 1}', file=file)
opteryx.register_workspace("data", DiskConnector)


def rows(query):
    found = []
    for morsel in opteryx.session().execute_to_morsels(query):
        found += zip(*(morsel.column(name).to_pylist() for name in morsel.column_names))
    return sorted(found)


for function, expected in (("COUNT(*)", [2, 2, 1]), ("SUM(a)", [5, 5, 4])):
    found = rows(f"SELECT a, {function} OVER (PARTITION BY b) AS w FROM data.t")
    assert [tuple(map(int, row)) for row in found] == [*zip((2, 3, 4), expected)], found
assert rows("SELECT COUNT(*) AS n FROM (SELECT b FROM data.t GROUP BY b) AS g") == [(3,)]
print("opteryx-core 0.9.175: of 4 rows a window with PARTITION BY b gives", len(found))
PY
