#!/usr/bin/env bash
# pyarrow 26.0.1, pyarrow.json. A field whose texts all look like dates becomes a timestamp, in lists of rows too; one other text in the
# file keeps them all texts. So golds read from JSON lines change their type with their neighbours. And a whole number from 2^63 on is
# a float. Guess: JSON texts stay texts, as its numbers stay numbers, and an error. Seen: datetime(2020, 1, 1), and 9.22e18.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" pyarrow==26.0.1
PYTHONPATH="$folder" python3 - <<"PY"
import io
from datetime import datetime

import pyarrow.json


def read(*lines):
    return pyarrow.json.read_json(io.BytesIO("\n".join(lines).encode())).to_pylist()


assert read('{"gold": "2020-01-01"}') == [{"gold": datetime(2020, 1, 1)}]
assert read('{"gold": [["2020-01-01"]]}') == [{"gold": [[datetime(2020, 1, 1)]]}]
assert read('{"gold": "2020-01-01"}', '{"gold": "Ann"}')[0] == {"gold": "2020-01-01"}
assert read('{"gold": 9223372036854775808}') == [{"gold": 2.0**63}]
print("pyarrow 26.0.1: a gold of 2020-01-01 is read as", read('{"gold": "2020-01-01"}')[0]["gold"])
PY
