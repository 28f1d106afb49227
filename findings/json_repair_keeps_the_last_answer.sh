#!/usr/bin/env bash
# json-repair 0.64.6, which agents read what models write with. Of two objects in a text the last alone is kept, unless a comma
# stands between them: then both are. SQL without quotes ends before its first quoted word; NaN is the text 'NaN', while None and True
# are null and true. Guess: the first or both, the whole statement, a float. Seen: SELECT 2 or both, `... WHERE a =`, and a text.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" json-repair==0.64.6
PYTHONPATH="$folder" python3 - <<"PY"
from json_repair import loads

last = loads('{"sql": "SELECT 1"} or else {"sql": "SELECT 2"}')
both = loads('{"sql": "SELECT 1"}, or else {"sql": "SELECT 2"}')
assert (last, both) == ({"sql": "SELECT 2"}, [{"sql": "SELECT 1"}, {"sql": "SELECT 2"}]), (last, both)
cut = loads('{"sql": SELECT * FROM t WHERE a = "x"}')
assert cut == {"sql": "SELECT * FROM t WHERE a ="}, cut
odd = loads('{"a": NaN, "b": None, "c": True}')
assert odd == {"a": "NaN", "b": None, "c": True}, odd
print("json-repair 0.64.6:", last, cut)
PY
