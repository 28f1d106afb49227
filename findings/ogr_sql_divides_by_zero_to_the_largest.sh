#!/usr/bin/env bash
# pyogrio 0.13.0 with GDAL 3.12.4, whose OGR SQL reads CSV, GeoJSON and databases. 1 / 0 is 2147483647, and ORDER BY and LIMIT behind UNION ALL
# are left out or the last part's: LIMIT 1 gives all rows. ISO/IEC 9075-2, 6.29: division by zero is an error; 7.17: ORDER BY orders the union.
# Guess: an error or NULL; the least of all rows. Seen: 2147483647, and 3, 1, 2.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" pyogrio==0.13.0 numpy==2.2.6
PYTHONPATH="$folder" python3 - <<"PY"
import json
import os
import tempfile

from pyogrio.raw import read

folder = tempfile.mkdtemp(dir=os.environ["PYTHONPATH"])
for name, values in (("t", [3, 1]), ("u", [4, 2])):
    features = [{"type": "Feature", "geometry": None, "properties": {"a": a}} for a in values]
    with open(f"{folder}/{name}.geojson", "w") as file:
        json.dump({"type": "FeatureCollection", "name": name, "features": features}, file)


def rows(query, name="t"):
    _, _, _, columns = read(f"{folder}/{name}.geojson", sql=query, sql_dialect="OGRSQL", read_geometry=False)
    return [*zip(*(column.tolist() for column in columns))]


assert rows("SELECT 1 / 0 AS x FROM t WHERE a = 1") == [(2147483647,)]
both = f"SELECT a FROM t UNION ALL SELECT a FROM '{folder}/u.geojson'.u ORDER BY a LIMIT 1"
assert rows(both) == [(3,), (1,), (2,)], rows(both)
print("OGR SQL of GDAL 3.12.4: 1 / 0 = 2147483647; LIMIT 1 of a union gives", rows(both))
PY
