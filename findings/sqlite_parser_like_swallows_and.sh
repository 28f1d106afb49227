#!/usr/bin/env bash
# sqlite-parser 1.0.1. In a LIKE b AND c the pattern is b AND c; NOT a = b is (NOT a) = b.
# Guess: LIKE binds closer than AND, and = closer than NOT, as in SQLite. Seen: the other way round for both.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund sqlite-parser@1.0.1 > /dev/null
node - <<'JS'
const parse = require("sqlite-parser");
const assert = require("assert");
const root = (text) => parse("SELECT " + text).statement[0].result[0];
const like = root("a LIKE b AND c");
assert.strictEqual(like.operation, "like");
assert.strictEqual(like.right.operation, "and");
const not = root("NOT a = b");
assert.strictEqual(not.operation, "=");
assert.strictEqual(not.left.operator, "not");
console.log("sqlite-parser 1.0.1: a LIKE (b AND c); (NOT a) = b");
JS
