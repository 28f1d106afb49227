#!/usr/bin/env bash
# node-sql-parser 5.4.0. For MySQL, its default, the number 1e3 comes back as a column: SELECT 1e3 is written SELECT `1e3`. For
# SQLite and PostgreSQL it stays a number.
# Guess: the round trip keeps a number. Seen: a quoted name.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps node-sql-parser@5.4.0 >"$folder/log" 2>&1
node - <<"JS"
const assert = require("assert");
const { Parser } = require("node-sql-parser");
const parser = new Parser();
const again = (sql, database) => parser.sqlify(parser.astify(sql, { database }), { database });
assert.strictEqual(again("SELECT 1e3", "mysql"), "SELECT `1e3`");
assert.strictEqual(again("SELECT 1e3", "sqlite"), "SELECT 1e3");
assert.strictEqual(again("SELECT 1e3", "postgresql"), "SELECT 1e3");
console.log("node-sql-parser 5.4.0: mysql reads 1e3 as a column");
JS
