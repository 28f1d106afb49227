#!/usr/bin/env bash
# sqlite-parser 1.0.1. LIMIT 5, 10 is read as 5 rows from the tenth on; SQLite gives 10 rows from the fifth on.
# Guess: offset 5. Seen: offset 10, the same tree as of LIMIT 5 OFFSET 10.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund sqlite-parser@1.0.1 > /dev/null
node - <<'JS'
const parse = require("sqlite-parser");
const assert = require("assert");
const limit = (text) => parse("SELECT a FROM t " + text).statement[0].limit;
assert.strictEqual(limit("LIMIT 5, 10").offset.value, "10");
assert.deepStrictEqual(limit("LIMIT 5, 10"), limit("LIMIT 5 OFFSET 10"));
console.log("sqlite-parser 1.0.1: LIMIT 5, 10 has offset", limit("LIMIT 5, 10").offset.value);
JS
