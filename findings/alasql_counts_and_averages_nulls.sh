#!/usr/bin/env bash
# alasql 4.19.1. Aggregates take the NULLs of rows along: COUNT(column) counts them and AVG divides by them too.
# Guess: NULLs are left out, as the standard has it. Seen: of 10, NULL, 7 and 7 the count is 4 and the average 6; SUM of no
# row is 0, not NULL; and IS NULL does not find the NULL of a column of numbers.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
npm install --prefix "$folder" --silent --no-audit --no-fund alasql@4.19.1 > /dev/null
cd "$folder"
node - <<'JS'
const alasql = require("alasql");
const assert = require("assert");
alasql("CREATE TABLE t (a INT, x INT); CREATE TABLE e (x INT)");
alasql("INSERT INTO t VALUES (1, 10), (2, NULL), (3, 7), (4, 7)");
const found = alasql("SELECT COUNT(x) AS n, AVG(x) AS m FROM t");
assert.deepStrictEqual(JSON.parse(JSON.stringify(found)), [{ n: 4, m: 6 }]);
assert.deepStrictEqual(alasql("SELECT a FROM t WHERE x IS NULL"), []);
assert.strictEqual(alasql("SELECT SUM(x) AS s FROM e")[0].s, 0);
console.log("alasql 4.19.1: COUNT(x), AVG(x) of 10, NULL, 7, 7:", JSON.stringify(found[0]));
JS
