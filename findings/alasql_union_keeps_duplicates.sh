#!/usr/bin/env bash
# alasql 4.19.1. UNION leaves rows in twice that are twice in its first part: 7, 7 UNION 7, 7 is 7, 7. DISTINCT does remove them.
# Guess: no duplicates after UNION, so one 7. Seen: two.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps alasql@4.19.1 >"$folder/log" 2>&1
node - <<"JS"
const assert = require("assert");
const alasql = require("alasql");
alasql("CREATE TABLE t (a INT, b INT, s STRING)");
alasql("INSERT INTO t VALUES (1, NULL, 'Ann'), (2, 7, 'bob'), (3, 7, 'Cid'), (4, 1, 'a')");

const cells = (sql) => alasql(sql).map((row) => row.b);
assert.deepStrictEqual(cells("SELECT b FROM t WHERE b > 1 UNION SELECT b FROM t WHERE b > 1"), [7, 7]);
assert.deepStrictEqual(cells("SELECT DISTINCT b FROM t WHERE b > 1"), [7]);
console.log("alasql 4.19.1: 7, 7 UNION 7, 7 is 7, 7");
JS
