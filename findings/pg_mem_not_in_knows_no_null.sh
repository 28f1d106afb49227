#!/usr/bin/env bash
# pg-mem 3.0.14, a PostgreSQL in memory for tests. NOT IN over a list or a subquery that holds NULL keeps rows, where PostgreSQL keeps none;
# NULL AND FALSE is NULL, where it is false; COUNT(*) FILTER (...) counts all.
# Guess: as PostgreSQL, or not supported. Seen: three rows each, NULL, and 4 of 4.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" pg-mem@3.0.14
cat > "$folder/run.js" <<'JS'
const assert = require('assert');
const { newDb } = require('pg-mem');
const db = newDb().public;
db.none("CREATE TABLE t (a INTEGER, b INTEGER); INSERT INTO t VALUES (1, NULL), (2, 7), (3, 7), (4, 1)");
const rows = (sql) => db.many(sql).map((row) => Object.values(row));

assert.deepStrictEqual(rows('SELECT a FROM t WHERE b NOT IN (1, NULL) ORDER BY a'), [[1], [2], [3]]);
assert.deepStrictEqual(rows('SELECT a FROM t WHERE a NOT IN (SELECT b FROM t) ORDER BY a'), [[2], [3], [4]]);
assert.deepStrictEqual(rows('SELECT NULL AND FALSE'), [[null]]);
assert.deepStrictEqual(rows('SELECT COUNT(*) FILTER (WHERE b = 7) FROM t'), [[4]]);
console.log('pg-mem 3.0.14: NOT IN (1, NULL) keeps 3 of 4 rows');
JS
node "$folder/run.js"
