#!/usr/bin/env bash
# js-sql-parser 1.6.0, a parser of MySQL's SELECT. WITH ROLLUP is read and not written back, so that the totals are gone; a doubled quote and the
# number .5 are refused. MySQL's manual, GROUP BY Modifiers and String Literals, has them all.
# Guess: written back as read. Seen: GROUP BY a, a parse error, a parse error.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts js-sql-parser@1.6.0 >"$folder/log" 2>&1
node - <<"JS"
const assert = require("assert");
const sql = require("js-sql-parser");
const again = (query) => sql.stringify(sql.parse(query)).trim();
assert.strictEqual(again("SELECT a, COUNT(b) FROM t GROUP BY a WITH ROLLUP"), "SELECT a, COUNT(b) FROM t GROUP BY a");
assert.throws(() => sql.parse("SELECT a FROM t WHERE a = 'it''s'"), /Parse error/);
assert.throws(() => sql.parse("SELECT .5 FROM t"), /Parse error/);
console.log("js-sql-parser 1.6.0: GROUP BY a WITH ROLLUP is written GROUP BY a");
JS
