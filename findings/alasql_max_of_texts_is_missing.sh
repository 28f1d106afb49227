#!/usr/bin/env bash
# alasql 4.19.1. MAX of a column of texts is no value at all, while ORDER BY ... DESC LIMIT 1 finds it. And `b IS NULL` does not
# find a NULL of INSERT ... VALUES, which NOT b = 7 keeps.
# Guess: 'bob', and one row. Seen: a row without the column, and no row.
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

assert.strictEqual(alasql("SELECT MAX(s) AS m FROM t")[0].m, undefined);
assert.strictEqual(alasql("SELECT s FROM t ORDER BY s DESC LIMIT 1")[0].s, "bob");
assert.deepStrictEqual(alasql("SELECT a FROM t WHERE b IS NULL"), []);
assert.deepStrictEqual(alasql("SELECT a FROM t WHERE NOT b = 7").map((row) => row.a), [1, 4]);
console.log("alasql 4.19.1: MAX of texts is undefined; b IS NULL finds no NULL");
JS
