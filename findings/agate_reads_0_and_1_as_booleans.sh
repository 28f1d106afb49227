#!/usr/bin/env bash
# agate 1.14.2, which csvkit's csvsql makes tables with. A column of 0 and 1 is Boolean, `1h` a length of time, 10:30 ten minutes and
# a half, `May` the first of May of the year 1, and a person called None is NULL.
# Guess: a number, and texts for the rest. Seen: Boolean, TimeDelta, TimeDelta, Date, and no name.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" agate==1.14.2
PYTHONPATH="$folder" python3 - <<"PY"
import io
from datetime import date, timedelta

import agate

text = "flag,length,time,month,name\n1,1h,10:30,May,None\n0,2h,11:45,June,Bob\n"
table = agate.Table.from_csv(io.StringIO(text))
kinds = [type(kind).__name__ for kind in table.column_types]
assert kinds == ["Boolean", "TimeDelta", "TimeDelta", "Date", "Text"], kinds
first = list(table.rows[0])
expected = [True, timedelta(hours=1), timedelta(minutes=10, seconds=30), date(1, 5, 1), None]
assert first == expected, first
print("agate 1.14.2: 1 is True, 10:30 is", first[2], "and May is", first[3])
PY
