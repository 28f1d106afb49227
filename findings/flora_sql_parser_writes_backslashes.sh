#!/usr/bin/env bash
# flora-sql-parser 1.0.0. What it writes has names in double quotes, as the standard has them, and a quote within a text behind a backslash, as MySQL
# has it: "a" = 'it\'s', which SQLite and PostgreSQL do not read and MySQL takes for two texts. A number beyond 2^53 loses its last digit.
# ISO/IEC 9075-2, 5.3: a quote is doubled. Guess: 'it''s', and the number as it was. Seen: 'it\'s' and ...992.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts flora-sql-parser@1.0.0 >"$folder/log" 2>&1
node - <<"JS"
const assert = require("assert");
const { Parser, util } = require("flora-sql-parser");
const again = (query) => util.astToSQL(new Parser().parse(query));
assert.strictEqual(again("SELECT a FROM t WHERE a = 'it''s'"), `SELECT "a" FROM "t" WHERE "a" = 'it\\'s'`);
assert.strictEqual(again("SELECT 9007199254740993 FROM t"), 'SELECT 9007199254740992 FROM "t"');
console.log("flora-sql-parser 1.0.0:", again("SELECT a FROM t WHERE a = 'it''s'"));
JS
