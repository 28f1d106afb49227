#!/usr/bin/env bash
# gluesql 0.14.3 (npm). An aggregate without GROUP BY over no row gives no row: SELECT COUNT(*) of nothing is empty, not 0.
# Guess: one row, COUNT(*) 0 and SUM(a) NULL. Seen: no row from either.
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
  await db.query("CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2)");
  const rows = async (sql) => (await db.query(sql))[0].rows;
  assert.deepStrictEqual(await rows("SELECT COUNT(*) AS n FROM t WHERE a > 1"), [{ n: 1 }]);
  assert.deepStrictEqual(await rows("SELECT COUNT(*) AS n FROM t WHERE a > 9"), []);
  assert.deepStrictEqual(await rows("SELECT SUM(a) AS n FROM t WHERE a > 9"), []);
  console.log("gluesql 0.14.3: SELECT COUNT(*) of nothing gives no row");
})();
JS
