#!/usr/bin/env bash
# jinq 1.6.1 (SQL's words over arrays). min() of a column with a null is 0 and avg() divides by its row too, as null is added and compared as 0.
# Its documentation gives them as SQL's aggregates, and ISO/IEC 9075-2, 10.9 leaves NULL out. count() without a name is one empty
# object for each row. Guess: 1, 5 and one number. Seen: 0, 3.75 and four objects.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts jinq@1.6.1 >"$folder/log" 2>&1
node - <<"JS"
const assert = require("assert");
const Jinq = require("jinq");
const rows = [{ b: null }, { b: 7 }, { b: 7 }, { b: 1 }];
const found = ["min", "avg", "sum"].map((name) => new Jinq().from(rows)[name]("b").select()[0]);
assert.deepStrictEqual(found, [0, 3.75, 15]);
assert.deepStrictEqual(new Jinq().from(rows).count().select(), [{}, {}, {}, {}]);
console.log("jinq 1.6.1: MIN, AVG and SUM of NULL, 7, 7, 1:", ...found);
JS
