#!/usr/bin/env bash
# hnswlib 0.8.0, space cosine. get_items does not give back what was added: rows are divided by their length and that is kept alone, so
# that a memory that reads its vectors from the index has lost the lengths. Space ip keeps them; there the distance of a row to itself
# is 1 less its squared length, below 0.
# Guess: as added. Seen: (3, 0) comes back as (1, 0).
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" hnswlib==0.8.0 numpy==2.2.6
PYTHONPATH="$folder" python3 - <<"PY"
import hnswlib
import numpy as np

rows = np.array([[3, 0], [1, 1]], np.float32)
kept = {}
for space in ("cosine", "ip"):
    index = hnswlib.Index(space=space, dim=2)
    index.init_index(10)
    index.add_items(rows)
    kept[space] = np.array(index.get_items([0, 1])), index.knn_query(rows[:1], k=1)[1][0, 0]
assert np.allclose(kept["cosine"][0], [[1, 0], [0.5**0.5, 0.5**0.5]])
assert np.allclose(kept["ip"][0], rows)
assert kept["ip"][1] == -8 and kept["cosine"][1] == 0
print("hnswlib 0.8.0: (3, 0) comes back as", kept["cosine"][0][0].tolist())
PY
