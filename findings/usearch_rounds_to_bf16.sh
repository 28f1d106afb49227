#!/usr/bin/env bash
# usearch 2.26.6. An index made with ndim and metric alone keeps float32 vectors as bf16: the inner product of a unit vector with
# itself is off by 1e-4 and more, and what get() returns as float32 is rounded. dtype='f32' keeps them.
# Guess: kept as given, off by less than 1e-6. Seen: BF16.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" usearch==2.26.6
PYTHONPATH="$folder" python3 - <<"PY"
import numpy as np
from usearch.index import Index

rows = np.random.default_rng(0).normal(size=(1000, 64)).astype(np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)


def off(**options):
    index = Index(ndim=64, metric="ip", **options)
    index.add(np.arange(1000), rows)
    read = np.stack([index.get(key) for key in range(1000)]).reshape(1000, 64)
    found = [index.search(row, 1) for row in rows[:50]]
    return max(abs(float(one.distances[0])) for one in found), float(np.abs(read - rows).max())


assert min(off()) > 1e-4
assert max(off(dtype="f32")) < 1e-5
print("usearch 2.26.6: float32 vectors are kept as bf16 unless dtype says f32")
PY
