#!/usr/bin/env bash
# @electric-sql/pglite 0.5.17, PostgreSQL in WebAssembly. Of two columns of one name query() gives the last alone; a bigint is a number or a BigInt by
# its value; and SUM over counts is a text where COUNT is a number, so that `total === 4` fails. rowMode "array" keeps the columns. Its documentation
# promises objects by name and says nothing of columns that share one.
# Guess: an error or names made unique; one type for a column. Seen: { a: 2 }; number, then bigint; '4'.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts @electric-sql/pglite@0.5.17 >"$folder/log" 2>&1
cat >"$folder/run.mjs" <<"JS"
import assert from "assert";
import { PGlite } from "@electric-sql/pglite";

const database = await PGlite.create();
const rows = async (query, options) => (await database.query(query, [], options)).rows;
assert.deepStrictEqual(await rows("SELECT 1 AS a, 2 AS a"), [{ a: 2 }]);
assert.deepStrictEqual(await rows("SELECT 1 AS a, 2 AS a", { rowMode: "array" }), [[1, 2]]);
const large = await rows("SELECT * FROM (VALUES (1::bigint), (9007199254740993)) AS v(x)");
assert.deepStrictEqual(large.map((row) => typeof row.x), ["number", "bigint"]);
assert.deepStrictEqual(await rows("SELECT COUNT(*) AS n, SUM(COUNT(*)) OVER () AS total FROM generate_series(1, 4)"), [
  { n: 4, total: "4" },
]);
console.log("pglite 0.5.17: SELECT 1 AS a, 2 AS a gives", await rows("SELECT 1 AS a, 2 AS a"));
process.exit(0);
JS
node "$folder/run.mjs"
