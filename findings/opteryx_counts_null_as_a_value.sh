#!/usr/bin/env bash
# opteryx 0.26.8. COUNT(DISTINCT b) counts NULL as one more value, NOT IN keeps rows of NULL, and COUNT(*) FILTER (...) does not filter.
# Of b = NULL, 7, 7, 1 the guess was 2, no row with NULL, and 2. Seen: 3, a row with NULL, and 4. (SUM(...) FILTER is refused.)
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



found = (
    rows("SELECT COUNT(DISTINCT b) FROM t")[0][0],
    rows("SELECT a FROM t WHERE b NOT IN (1, 2)"),
    rows("SELECT COUNT(*) FILTER (WHERE b = 7) FROM t")[0][0],
)
assert found == (3, [(1,), (2,), (3,)], 4), found
print("opteryx 0.26.8: of NULL, 7, 7, 1", found[0], "values are distinct")
PY
