#!/usr/bin/env bash
# sqlite-vec 0.1.9. Of rows at the same distance the last comes first, so k = 1 gives the newest of equal texts; a row of NaN is taken
# in and comes back with the distance NULL as long as k allows; vec_normalize of zeros is null in every place.
# Guess: the lowest rowid first, refused, zeros. Seen: 4 before 1, kept, [null,null].
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlite-vec==0.1.9 apsw==3.54.1.0
PYTHONPATH="$folder" python3 - <<"PY"
import struct

import apsw
import sqlite_vec

base = apsw.Connection(":memory:")
base.enable_load_extension(True)
base.load_extension(sqlite_vec.loadable_path())
base.execute("CREATE VIRTUAL TABLE v USING vec0(e float[2])")
for text in ("[1, 0]", "[0, 1]", "[2, 0]", "[1, 0]"):
    base.execute("INSERT INTO v(e) VALUES (?)", (text,))
base.execute("INSERT INTO v(e) VALUES (?)", (struct.pack("2f", float("nan"), 1),))
near = base.execute("SELECT rowid, distance FROM v WHERE e MATCH '[1, 0]' AND k = 10").fetchall()
assert [row for row, _ in near] == [4, 1, 3, 2, 5] and near[-1][1] is None, near
assert base.execute("SELECT vec_to_json(vec_normalize('[0, 0]'))").get == "[null,null]"
print("sqlite-vec 0.1.9:", near)
PY
