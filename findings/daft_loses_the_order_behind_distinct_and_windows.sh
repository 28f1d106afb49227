#!/usr/bin/env bash
# daft 0.7.26, daft.sql. The last ORDER BY is dropped where the SELECT has DISTINCT, so that LIMIT takes any rows; and where
# it has a window function the rows come in the window's order.
# Guess: sorted, as SELECT a FROM t ORDER BY a is. Seen: 1,000 distinct numbers unsorted; the first by `ORDER BY a LIMIT 1` is 4.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" daft==0.7.26 pyarrow==25.0.1 packaging==26.4 tqdm==4.67.3
PYTHONPATH="$folder" python3 - <<"PY"
import daft

many = daft.from_pydict({"a": list(range(1000))})
few = daft.from_pydict({"a": [1, 2, 3, 4]})


def rows(sql, t):
    return [row["a"] for row in daft.sql(sql, t=t).to_pylist()]


assert rows("SELECT a FROM t ORDER BY a DESC", many) == list(range(999, -1, -1))
distinct = rows("SELECT DISTINCT a FROM t ORDER BY a DESC", many)
assert sorted(distinct) == list(range(1000)) and distinct != list(range(999, -1, -1))
assert rows("SELECT DISTINCT a FROM t ORDER BY a LIMIT 5", many) != [0, 1, 2, 3, 4]
assert rows("SELECT a, ROW_NUMBER() OVER (ORDER BY a DESC) AS r FROM t ORDER BY a", few) == [4, 3, 2, 1]
assert rows("SELECT a, ROW_NUMBER() OVER (ORDER BY a DESC) AS r FROM t ORDER BY a LIMIT 1", few) == [4]
print("daft 0.7.26: DISTINCT and windows lose the ORDER BY; the least of 1 to 4 by ORDER BY a LIMIT 1 is 4")
PY
