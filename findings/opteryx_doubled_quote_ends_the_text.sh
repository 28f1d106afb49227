#!/usr/bin/env bash
# opteryx 0.26.8. A quote is not doubled: 'it''s' is the text it under the name s, and where no name may stand the query is refused.
# Guess: it's, as in every SQL. Seen: it.
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



found = opteryx.query("SELECT 'it''s'")
assert found.fetchall() == [("it",)]
try:
    rows("SELECT a FROM t WHERE 'it''s' = 'x'")
except Exception as error:  # any refusal will do
    assert "it" not in type(error).__name__
else:
    raise AssertionError("accepted")
print("opteryx 0.26.8: SELECT 'it''s' gives it")
PY
