#!/usr/bin/env bash
# squirreling 0.12.11 (npm, SQL over Parquet in the browser). Comparisons with NULL are false, not NULL: NOT (b = 7) holds for
# a row without b, though b <> 7 does not; and CASE b WHEN NULL takes it.
# Guess: three values, so that neither `b <> 7` nor NOT (b = 7) holds. Seen: the row without b is in the second only.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps squirreling@0.12.11 >"$folder/log" 2>&1
cat >"$folder/run.mjs" <<"JS"
import assert from "assert";
import { collect, executeSql } from "squirreling";

const t = [{ a: 1, b: null }, { a: 2, b: 7 }, { a: 3, b: 7 }, { a: 4, b: 1 }];
const rows = (query) => collect(executeSql({ tables: { t }, query }));
assert.deepStrictEqual(await rows("SELECT a FROM t WHERE b <> 7"), [{ a: 4 }]);
assert.deepStrictEqual(await rows("SELECT a FROM t WHERE NOT (b = 7)"), [{ a: 1 }, { a: 4 }]);
assert.deepStrictEqual(await rows("SELECT CASE b WHEN NULL THEN 1 ELSE 0 END AS k FROM t WHERE a = 1"), [{ k: 1 }]);
console.log("squirreling 0.12.11: NOT (b = 7) holds where b is NULL, b <> 7 does not");
JS
node "$folder/run.mjs"
