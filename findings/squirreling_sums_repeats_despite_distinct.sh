#!/usr/bin/env bash
# squirreling 0.12.11 (npm, SQL over Parquet in the browser). SUM(DISTINCT b) and AVG(DISTINCT b) read the DISTINCT and leave
# it out; COUNT(DISTINCT b) keeps it.
# Guess: 8, the sum of 7 and 1. Seen: 15.
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
assert.deepStrictEqual(await rows("SELECT COUNT(DISTINCT b) AS n FROM t"), [{ n: 2 }]);
assert.deepStrictEqual(await rows("SELECT SUM(DISTINCT b) AS n FROM t"), [{ n: 15 }]);
assert.deepStrictEqual(await rows("SELECT AVG(DISTINCT b) AS n FROM t"), [{ n: 5 }]);
console.log("squirreling 0.12.11: of 7, 7 and 1 SUM(DISTINCT b) is 15");
JS
node "$folder/run.mjs"
