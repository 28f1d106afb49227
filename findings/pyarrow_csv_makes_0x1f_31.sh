#!/usr/bin/env bash
# pyarrow 26.0.1, pyarrow.csv. 0x1F becomes the number 31, a column of True and 1 is all true, and a text in quotes that is empty is
# NULL where all others are. Guess: a text, a text, and the empty text. Seen: 31, True, None.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" pyarrow==26.0.1
PYTHONPATH="$folder" python3 - <<"PY"
import io

import pyarrow.csv


def read(text):
    return pyarrow.csv.read_csv(io.BytesIO(text.encode())).to_pydict()


assert read("code\n0x1F\n10\n") == {"code": [31, 10]}
assert read("flag\nTrue\n1\n") == {"flag": [True, True]}
assert read('note,b\n"",x\n') == {"note": [None], "b": ["x"]}
print("pyarrow 26.0.1: 0x1F in a CSV file is", read("code\n0x1F\n")["code"][0])
PY
