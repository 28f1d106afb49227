#!/usr/bin/env bash
# duckdb 2.0.1, read_json without options. JSON texts become dates where they can: '1-2-2003' the first of February, '20-01-01' the year
# 2020; a text of ones and f's in five groups a UUID. Where another line holds a number, texts keep their quotes: '"5"'.
# Guess: texts stay texts but for ISO dates, and 5 is 5. Seen: datetime.date(2003, 2, 1), and '"5"'.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" duckdb==2.0.1
PYTHONPATH="$folder" python3 - <<"PY"
import tempfile
from datetime import date
from pathlib import Path

import duckdb

folder = tempfile.TemporaryDirectory()


def read(text):
    Path(folder.name, "x.json").write_text(text)
    return [row[0] for row in duckdb.sql(f"SELECT * FROM read_json('{folder.name}/x.json')").fetchall()]


assert read('{"score": "1-2-2003"}') == [date(2003, 2, 1)]
assert read('{"score": "20-01-01"}') == [date(2020, 1, 1)]
assert read('{"score": "5"}\n{"score": 6}') == ['"5"', "6"]
assert read('{"score": "5"}') == ["5"]
print("duckdb 2.0.1: the text 1-2-2003 in JSON is", read('{"score": "1-2-2003"}')[0])
PY
