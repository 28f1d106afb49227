#!/usr/bin/env bash
# lancedb 0.40.0, flat search. By cosine a row whose vector is all zeros is not found at all, whatever the limit, and a query
# of zeros finds nothing; an index of texts that hash or mask to zeros loses them without a word. By l2 and dot they are there.
# Guess: a distance of 1 (or NaN, at the end). Seen: 2 of 3 rows, and no row.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" lancedb==0.40.0 pyarrow==26.0.1
PYTHONPATH="$folder" python3 - "$folder/db" <<"PY"
import sys

import lancedb

rows = [{"vector": [1.0, 0.0], "n": 1}, {"vector": [0.0, 1.0], "n": 2}, {"vector": [0.0, 0.0], "n": 3}]
table = lancedb.connect(sys.argv[1]).create_table("t", rows)


def found(query, distance):
    return [row["n"] for row in table.search(query).distance_type(distance).limit(10).to_list()]


assert found([1.0, 0.0], "cosine") == [1, 2]
assert found([0.0, 0.0], "cosine") == []
assert sorted(found([1.0, 0.0], "l2")) == sorted(found([1.0, 0.0], "dot")) == [1, 2, 3]
print("lancedb 0.40.0: cosine finds", found([1.0, 0.0], "cosine"), "of rows 1 to 3, and a query of zeros none")
PY
