#!/usr/bin/env bash
# glaredb 25.6.3. AND binds no tighter than OR: `a OR b AND c` is read as `(a OR b) AND c`.
# Guess: AND first, as in every SQL. Seen: TRUE OR FALSE AND FALSE does not hold; with brackets around the AND it does.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" glaredb==25.6.3
PYTHONPATH="$folder" python3 - <<"PY"
import glaredb

engine = glaredb.connect()


def holds(condition):
    return "yes" in str(engine.sql(f"SELECT CASE WHEN {condition} THEN 'yes' ELSE 'no' END AS v"))


assert holds("TRUE OR (FALSE AND FALSE)")
assert not holds("TRUE OR FALSE AND FALSE")
assert holds("FALSE AND FALSE OR TRUE")
print("glaredb 25.6.3: TRUE OR FALSE AND FALSE does not hold")
PY
