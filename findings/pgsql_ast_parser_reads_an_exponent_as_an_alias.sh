#!/usr/bin/env bash
# pgsql-ast-parser 12.0.2. 1e3 is read as the number 1 called e3; whole numbers beyond 2^53 lose their last digit.
# Guess: 1000, or an error. Seen: SELECT (1) AS e3, and 9007199254740993 written back ends in 2.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
npm install --prefix "$folder" --silent --no-audit --no-fund pgsql-ast-parser@12.0.2 > /dev/null
cd "$folder"
node - <<'JS'
const { parse, toSql } = require("pgsql-ast-parser");
const assert = require("assert");
const again = (sql) => toSql.statement(parse(sql)[0]).trim();
assert.match(again("SELECT 1e3"), /\(1\)\s+AS\s+e3/);
assert.match(again("SELECT 9007199254740993"), /9007199254740992/);
console.log("pgsql-ast-parser 12.0.2:", again("SELECT 1e3"), "|", again("SELECT 9007199254740993"));
JS
