#!/usr/bin/env bash
# alasql 4.19.1. MAX and MIN of texts give nothing.
# Guess: the last and the first text by their order. Seen: a row in which both are undefined.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
npm install --prefix "$folder" --silent --no-audit --no-fund alasql@4.19.1 > /dev/null
cd "$folder"
node - <<'JS'
const alasql = require("alasql");
const assert = require("assert");
alasql("CREATE TABLE t (a INT, s STRING)");
alasql("INSERT INTO t VALUES (1, \"Ann\"), (2, \"Bob\")");
const found = alasql("SELECT MAX(s) AS most, MIN(s) AS least FROM t");
assert.strictEqual(found[0].most, undefined);
assert.strictEqual(found[0].least, undefined);
console.log("alasql 4.19.1: MAX(s), MIN(s) of two names:", JSON.stringify(found));
JS
