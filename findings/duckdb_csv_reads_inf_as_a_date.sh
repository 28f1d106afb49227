#!/usr/bin/env bash
# duckdb 2.0.1, read_csv without options. A column that holds `inf` is a DATE, 9999-12-31; T and F, yes and no are true and false;
# a first row that begins with # is left out as a comment; and 03/04/2021 is the third of April.
# Guess: a double, texts, a row, the fourth of March. Seen: as said, without a warning. Codes such as 007 do stay texts.
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
    Path(folder.name, "x.csv").write_text(text)
    return duckdb.sql(f"SELECT * FROM read_csv('{folder.name}/x.csv')").fetchall()


assert read("a,b\ninf,x\n") == [(date(9999, 12, 31), "x")]
assert read("a,b\nT,x\nF,y\n") == [(True, "x"), (False, "y")]
assert read("a,b\n# 1,x\n2,y\n") == [(2, "y")]
assert read("a,b\n03/04/2021,x\n") == [(date(2021, 4, 3), "x")]
assert read("a,b\n007,x\n") == [("007", "x")]
print("duckdb 2.0.1: inf in a CSV file is", read("a,b\ninf,x\n")[0][0])
PY
