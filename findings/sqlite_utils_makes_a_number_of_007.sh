#!/usr/bin/env bash
# sqlite-utils 4.2.1. `insert --csv` finds the types by Python's int(): the column of 007 is INTEGER and holds 7; 1_000 makes a column
# INTEGER too, in which it stays the text 1_000, as SQLite does not read it.
# Guess: TEXT, as 3.x did without --detect-types. Seen: 7, and a text in a column of integers, after 2 in the order.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlite-utils==4.2.1
PYTHONPATH="$folder" python3 - <<"PY"
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    source, base = Path(folder, "x.csv"), Path(folder, "x.db")
    source.write_text("code,count\n007,1_000\n010,2\n")
    subprocess.run([sys.executable, "-m", "sqlite_utils", "insert", base, "t", source, "--csv"], check=True)
    rows = sqlite3.connect(base).execute("SELECT code, count, typeof(count) FROM t ORDER BY count").fetchall()
assert rows == [(10, 2, "integer"), (7, "1_000", "text")], rows
print("sqlite-utils 4.2.1:", rows)
PY
