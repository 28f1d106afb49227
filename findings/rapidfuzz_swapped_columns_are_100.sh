#!/usr/bin/env bash
# rapidfuzz 3.14.6. token_sort_ratio of a query and of one with its columns swapped is 100, token_set_ratio of a query and of one with a WHERE more too;
# so both are useless as rewards for SQL. Two empty texts are 100 for ratio and 0 for QRatio, WRatio and token_set_ratio.
# Guess: 100 for equal texts alone, at least nearly; one rule for empty texts. Seen: 100 for others, and both rules.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" rapidfuzz==3.14.6
PYTHONPATH="$folder" python3 - <<"PY"
from rapidfuzz import fuzz

gold = "select name from singer where age > 20"
assert fuzz.token_sort_ratio(gold, "select age from singer where name > 20") == 100
assert fuzz.token_set_ratio(gold, "select name from singer") == 100
empty = {ratio.__name__: ratio("", "") for ratio in (fuzz.ratio, fuzz.partial_ratio, fuzz.QRatio, fuzz.WRatio, fuzz.token_set_ratio)}
assert empty == {"ratio": 100, "partial_ratio": 100, "QRatio": 0, "WRatio": 0, "token_set_ratio": 0}, empty
print("rapidfuzz 3.14.6: name where age > 20 and age where name > 20:", fuzz.token_sort_ratio(gold, "select age from singer where name > 20"))
PY
