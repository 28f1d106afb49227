#!/usr/bin/env bash
# rbql 0.30.2 (SQL with Python's expressions over CSV). ORDER BY compares texts, MIN and MAX numbers: of 10, 9, 100 the order is 10, 100, 9, the least is 9
# and the greatest 100, so that TOP 1 with ORDER BY is not MAX. COUNT(*) where nothing is left is no row. Its manual says that cells are texts,
# and that aggregates are as SQL's. Guess: one order for both; 0. Seen: 9 last and least; no row.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" rbql==0.30.2
PYTHONPATH="$folder" python3 - <<"PY"
import rbql


def rows(query):
    found, warnings = [], []
    rbql.query_table(query, [["10"], ["9"], ["100"]], found, warnings, None, ["a"], None, [])
    assert not warnings
    return found


assert rows("select a.a order by a.a") == [["10"], ["100"], ["9"]]
assert rows("select min(a.a), max(a.a)") == [[9, 100]]
assert rows("select top 1 a.a order by a.a desc") == [["9"]]
assert rows("select count(*) where a.a == '7'") == []
print("rbql 0.30.2: max(a) is 100, the first by a desc is 9")
PY
