#!/usr/bin/env bash
# daft 0.7.26, daft.sql. LIMIT and ORDER BY behind a UNION or a UNION ALL are dropped without a word: LIMIT 2 of 4 + 3 rows
# gives all 7. On one SELECT both work.
# Guess: 2 rows, as everywhere else; or an error, as daft gives for much that it does not know. Seen: 7 rows.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" daft==0.7.26 pyarrow==25.0.1 packaging==26.4 tqdm==4.67.3
PYTHONPATH="$folder" python3 - <<"PY"
import daft

t = daft.from_pydict({"a": [1, 2, 3, 4]})
u = daft.from_pydict({"a": [1, 1, 5]})


def rows(sql):
    return [row["a"] for row in daft.sql(sql, t=t, u=u).to_pylist()]


assert rows("SELECT a FROM t ORDER BY a DESC LIMIT 2") == [4, 3]
assert len(rows("SELECT a FROM t UNION ALL SELECT a FROM u LIMIT 2")) == 7
assert rows("SELECT a FROM t UNION ALL SELECT a FROM u ORDER BY a DESC") == [1, 2, 3, 4, 1, 1, 5]
assert len(rows("SELECT a FROM t UNION SELECT a FROM u LIMIT 2")) == 5
print("daft 0.7.26: LIMIT 2 of a UNION ALL gives 7 rows, of a UNION 5")
PY
