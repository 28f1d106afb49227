#!/usr/bin/env bash
# cozo-embedded 0.7.6 (Datalog over relations). sum() of whole numbers is a float, so that beyond 2^53 the last digit is lost, while + of whole numbers
# wraps around; the mean of nothing is NaN beside a count of 0 and a minimum of null. ISO/IEC 9075-2, 10.9: SUM of exact numbers is exact,
# and AVG of nothing is NULL. Its manual says no more than "sum". Guess: 9007199254740993; null. Seen: ...992.0; nan; -9223372036854775808.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" cozo-embedded==0.7.6 pycozo==0.7.6
PYTHONPATH="$folder" python3 - <<"PY"
import math

from pycozo import Client

client = Client(dataframe=False)


def row(query):
    return client.run(query)["rows"][0]


[total] = row("?[sum(x)] := x in [9007199254740992, 1]")
assert isinstance(total, float) and total == 9007199254740992.0, total
assert row("?[x] := x = 9007199254740992 + 1") == [9007199254740993]
assert row("?[x] := x = 9223372036854775807 + 1") == [-9223372036854775808]
count, mean, least = row("?[count(x), mean(x), min(x)] := x in []")
assert (count, least) == (0, None) and math.isnan(mean), (count, mean, least)
print("cozo-embedded 0.7.6: the sum of 9007199254740992 and 1 is", total, "and the mean of nothing", mean)
PY
