#!/usr/bin/env bash
# spyql 0.9.0 (SQL with Python's expressions over CSV and JSON). COUNT over no rows is no row; a column beside an aggregate is the last row's; and NOT
# of a comparison with NULL is true, so that not b == 7 keeps a row that b != 7 drops. Its documentation says that NULL propagates as in SQL.
# Guess: 0, refused, the same rows. Seen: nothing, 3, another row.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" spyql==0.9.0
PYTHONPATH="$folder" python3 - <<"PY"
import os
import subprocess
import sys

program = os.environ["PYTHONPATH"] + "/bin/spyql"


def rows(query):
    text = "a,b\n1,\n2,7\n3,8\n"
    ran = subprocess.run([sys.executable, program, query + " TO csv"], input=text, capture_output=True, text=True, check=True)
    return ran.stdout.split()[1:]


assert rows("SELECT count_agg(*) AS n FROM csv WHERE a > 2") == ["1"]
assert rows("SELECT count_agg(*) AS n FROM csv WHERE a > 9") == []
assert rows("SELECT a, sum_agg(b) AS total FROM csv") == ["3,15"]
assert (rows("SELECT a FROM csv WHERE b != 7"), rows("SELECT a FROM csv WHERE not b == 7")) == (["3"], ["1", "3"])
print("spyql 0.9.0: b != 7 keeps 3, not b == 7 keeps 1 and 3; COUNT of nothing is no row")
PY
