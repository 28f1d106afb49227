#!/usr/bin/env bash
# sql-formatter 15.9.0. In its default language `->>` and `?1` come apart into `- > >` and `? 1`, which no engine reads; with
# language 'sqlite' the arrow stays whole.
# Guess: left whole, or refused. Seen: broken SQL without a word.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps sql-formatter@15.9.0 >"$folder/log" 2>&1
node - <<"JS"
const assert = require("assert");
const { format } = require("sql-formatter");
const flat = (sql, options) => format(sql, options).split(/\s+/).join(" ");
assert.strictEqual(flat("SELECT a->>'x' FROM t"), "SELECT a - > > 'x' FROM t");
assert.strictEqual(flat("SELECT a FROM t WHERE b = ?1"), "SELECT a FROM t WHERE b = ? 1");
assert.strictEqual(flat("SELECT a->>'x' FROM t", { language: "sqlite" }), "SELECT a ->> 'x' FROM t");
console.log("sql-formatter 15.9.0: a->>'x' becomes a - > > 'x'");
JS
