#!/usr/bin/env bash
# pgsql-ast-parser 12.0.2. ANY and ALL are written back as functions in double quotes, which PostgreSQL does not have.
# Guess: written back as read. Seen: a = ("any" (...)), which names a function called any.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund pgsql-ast-parser@12.0.2 > /dev/null
node - <<'JS'
const { parse, toSql } = require("pgsql-ast-parser");
const assert = require("assert");
const written = toSql.statement(parse("SELECT a FROM t WHERE a > ALL (SELECT b FROM u) AND a = ANY (ARRAY[1, 2])")[0]);
assert.match(written, /"all"/);
assert.match(written, /"any"/);
console.log("pgsql-ast-parser 12.0.2:", written.replace(/\s+/g, " "));
JS
