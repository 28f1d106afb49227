#!/usr/bin/env bash
# gluesql 0.14.3 (npm). SUM and AVG are NULL as soon as one value is; COUNT leaves NULL out, so that SUM / COUNT is no AVG
# either. MAX and MIN are NULL if the first row is NULL, and right if another one is.
# Guess: aggregates leave NULL out. Seen: SUM NULL; MAX NULL of NULL, 7, 1 and 7 of 7, NULL, 1.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps gluesql@0.14.3 >"$folder/log" 2>&1
node - <<"JS" | grep -v hello
const assert = require("assert");
const { gluesql } = require("gluesql");

(async () => {
  const db = gluesql();
  await db.query("CREATE TABLE t (b INTEGER NULL); INSERT INTO t VALUES (NULL), (7), (1)");
  await db.query("CREATE TABLE u (b INTEGER NULL); INSERT INTO u VALUES (7), (NULL), (1)");
  const one = async (what, table) => (await db.query(`SELECT ${what} AS n FROM ${table}`))[0].rows[0].n;
  assert.strictEqual(await one("COUNT(b)", "u"), 2);
  assert.strictEqual(await one("SUM(b)", "u"), null);
  assert.strictEqual(await one("AVG(b)", "u"), null);
  assert.strictEqual(await one("MAX(b)", "t"), null);
  assert.strictEqual(await one("MAX(b)", "u"), 7);
  console.log("gluesql 0.14.3: SUM of 7, NULL, 1 is NULL; MAX is NULL if the first row is");
})();
JS
