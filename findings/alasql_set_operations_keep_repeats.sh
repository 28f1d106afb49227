#!/usr/bin/env bash
# alasql 4.19.1. UNION and INTERSECT keep rows that repeat.
# Guess: each row once, since ALL is not said. Seen: two rows that hold 7 stay two under INTERSECT, and under UNION too.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
npm install --prefix "$folder" --silent --no-audit --no-fund alasql@4.19.1 > /dev/null
cd "$folder"
node - <<'JS'
const alasql = require("alasql");
const assert = require("assert");
alasql("CREATE TABLE t (x INT)");
alasql("INSERT INTO t VALUES (10), (7), (7)");
const rows = (sql) => alasql(sql).map((row) => row.x).sort((a, b) => a - b);
const both = rows("SELECT x FROM t INTERSECT SELECT x FROM t");
const either = rows("SELECT x FROM t UNION SELECT x FROM t");
assert.deepStrictEqual(both, [7, 7, 10]);
assert.deepStrictEqual(either, [7, 7, 10]);
console.log("alasql 4.19.1: INTERSECT", both, "UNION", either);
JS
