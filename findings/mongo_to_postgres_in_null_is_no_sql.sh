#!/usr/bin/env bash
# mongo-query-to-postgres-jsonb 0.2.19. {a: {$in: [1, null]}} becomes "... IN (1) a OR IS NULL", which PostgreSQL does not read; $nin leaves out
# documents without the field, which MongoDB's manual counts in; and $all is looked for as a key of that name. pglast says which text is SQL.
# Guess: (a IN (1) OR a IS NULL); NOT IN ... OR IS NULL; each element contained. Seen: words out of order; NOT IN; {"$all": [1, 2]}.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts mongo-query-to-postgres-jsonb@0.2.19 >"$folder/log" 2>&1
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder/python" pglast==8.8
node - <<"JS" >"$folder/conditions"
const translate = require("mongo-query-to-postgres-jsonb");
for (const wanted of [{ $in: [1, null] }, { $nin: [1] }, { $all: [1, 2] }]) console.log(translate("data", { a: wanted }));
JS
PYTHONPATH="$folder/python" python3 - "$folder/conditions" <<"PY"
import sys
from pathlib import Path

from pglast import parse_sql
from pglast.parser import ParseError

among, not_among, whole = Path(sys.argv[1]).read_text().splitlines()
assert not_among == "data->'a' NOT IN ('1'::jsonb)", not_among
assert whole == """data @> '{ "a": { "$all": [1,2] } }'""", whole
parse_sql(f"SELECT * FROM t WHERE {not_among}")
try:
    parse_sql(f"SELECT * FROM t WHERE {among}")
except ParseError:
    print("mongo-query-to-postgres-jsonb 0.2.19: $in: [1, null] is", among)
else:
    raise AssertionError(among)
PY
