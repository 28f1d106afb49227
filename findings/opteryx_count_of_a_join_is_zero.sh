#!/usr/bin/env bash
# opteryx 0.26.8. COUNT(*) over an inner join is 0 whatever the join finds; its rows are there when columns are selected.
# Guess: 2, the number of rows. Seen: 0 for ON and for USING; over a LEFT JOIN it is right.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" opteryx==0.26.8 pyarrow==26.0.1
PYTHONPATH="$folder" python3 - <<"PY"
import warnings

import opteryx
import pyarrow as pa

warnings.simplefilter("ignore")
opteryx.register_arrow("t", pa.table({"a": [1, 2, 3, 4], "b": pa.array([None, 7, 7, 1], pa.int64())}))
opteryx.register_arrow("u", pa.table({"a": [1, 1, 5], "x": [1.5, 2.5, 3.5]}))


def rows(sql):
    return opteryx.query(sql).fetchall()



assert len(rows("SELECT t.a, u.x FROM t INNER JOIN u ON t.a = u.a")) == 2
found = [
    rows(f"SELECT COUNT(*) FROM t {join}")[0][0]
    for join in ("JOIN u ON t.a = u.a", "JOIN u USING (a)", "LEFT JOIN u ON t.a = u.a")
]
assert found == [0, 0, 5], found
print("opteryx 0.26.8: an inner join of 2 rows has COUNT(*)", found[0])
PY
