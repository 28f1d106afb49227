#!/usr/bin/env bash
# gluesql 0.14.3 (npm). OVER (...) is read and left out: a window function becomes an aggregate, and all rows one.
# Guess: an error, as for ROW_NUMBER; or a running sum a row. Seen: one row, the first `a` and the sum of all.
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
  await db.query("CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2), (3), (4)");
  const found = (await db.query("SELECT a, SUM(a) OVER (ORDER BY a) AS s FROM t"))[0].rows;
  assert.deepStrictEqual(found, [{ a: 1, s: 10 }]);
  await assert.rejects(async () => db.query("SELECT a, ROW_NUMBER() OVER (ORDER BY a) AS s FROM t"));
  console.log("gluesql 0.14.3: SUM(a) OVER (ORDER BY a) of four rows is", JSON.stringify(found));
})();
JS
