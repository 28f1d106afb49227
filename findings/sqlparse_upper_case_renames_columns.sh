#!/usr/bin/env bash
# sqlparse 0.6.1. keyword_case='upper' also changes bare columns that are called type, year, level, owner or result, but not name,
# date or value, and none behind a table; identifier_case changes just the others. What is quoted stays.
# Guess: keyword_case touches keywords, identifier_case all names. Seen: by the words on its list, wherever they stand.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlparse==0.6.1
PYTHONPATH="$folder" python3 - <<"PY"
import sqlparse

text = "select name, type, year, date, level, owner, result, t.type from t"
upper = sqlparse.format(text, keyword_case="upper")
assert upper == "SELECT name, TYPE, YEAR, date, LEVEL, OWNER, RESULT, t.type FROM t", upper
names = sqlparse.format(text, identifier_case="upper")
assert names == "select NAME, type, year, date, level, owner, result, T.TYPE from T", names
print("sqlparse 0.6.1: keyword_case='upper' writes the column type as TYPE, and t.type as it is")
PY
