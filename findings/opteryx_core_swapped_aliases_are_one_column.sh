#!/usr/bin/env bash
# opteryx-core 0.9.175. SELECT a AS b, b AS a gives one column twice, and LIKE ... ESCAPE takes no escape: 'a_b' is not LIKE 'a!_b'. Neither is
# refused. ISO/IEC 9075-2, 7.16: a name in a select item is a column of FROM; 8.5: what follows the escape character stands for itself.
# Guess: (2, 7), and one row. Seen: (2, 2), and none.
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
    print('{"a": 2, "b": 7, "s": "a_b"}', file=file)
opteryx.register_workspace("data", DiskConnector)


def rows(query):
    found = []
    for morsel in opteryx.session().execute_to_morsels(query):
        found += zip(*(morsel.column(name).to_pylist() for name in morsel.column_names))
    return found


assert rows("SELECT a AS x, b AS y FROM data.t") == [(2, 7)]
swapped = rows("SELECT a AS b, b AS a FROM data.t ORDER BY a, b")
assert swapped == [(2, 2)], swapped
escaped = [rows(f"SELECT a FROM data.t WHERE s LIKE {pattern}") for pattern in ("'a_b'", "'a!_b' ESCAPE '!'")]
assert escaped == [[(2,)], []], escaped
print("opteryx-core 0.9.175: a AS b, b AS a of (2, 7) is", *swapped)
PY
