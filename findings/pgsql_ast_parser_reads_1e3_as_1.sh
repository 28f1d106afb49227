#!/usr/bin/env bash
# pgsql-ast-parser 12.0.2. SELECT 1e3 is read as 1 with the alias e3, and a bigint beyond 2^53 loses its last digits. PostgreSQL
# gives 1000, and the number as written.
# Guess: both kept, or refused. Seen: (1) AS e3 and 12345678901234567000.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps pgsql-ast-parser@12.0.2 >"$folder/log" 2>&1
node - <<"JS"
const assert = require("assert");
const { parseFirst, toSql } = require("pgsql-ast-parser");
const again = (sql) => toSql.statement(parseFirst(sql)).trim().split(/\s+/).join(" ");
assert.match(again("SELECT 1e3"), /\(1\) AS e3/);
assert.match(again("SELECT 12345678901234567890"), /12345678901234567000/);
console.log("pgsql-ast-parser 12.0.2: 1e3 is 1 AS e3; 12345678901234567890 ends in 000");
JS
