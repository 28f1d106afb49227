#!/usr/bin/env bash
# petl 1.7.30. join matches a row without a key with every other without one; selectlt keeps rows without a value, as None sorts before all; and
# selectrangeopen includes both ends, what mathematics calls closed. Its documentation likens the joins to SQL's, where NULL equals nothing.
# Guess: no match, left out, ends excluded. Seen: joined, kept, 1 and 7 within.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" petl==1.7.30
PYTHONPATH="$folder" python3 - <<"PY"
import petl

table = [["a", "b"], [1, None], [2, 7], [3, 1]]
rows = [tuple(row) for row in petl.join(table, table, lkey="b", rkey="b", rprefix="r_")][1:]
assert (1, None, 1) in rows, rows
assert petl.values(petl.selectlt(table, "b", 5), "a").list() == [1, 3]
assert petl.values(petl.selectrangeopen(table, "b", 1, 7), "a").list() == [2, 3]
print("petl 1.7.30: a self-join over b of NULL, 7, 1 gives", len(rows), "rows, b < 5 keeps NULL")
PY
