#!/usr/bin/env bash
# pg-mem 3.0.14. ORDER BY and LIMIT behind UNION ALL are dropped in silence, and ORDER BY 1 orders by the constant 1.
# Guess: the lowest two, and the highest first. Seen: all rows as they come, and the first row.
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

const union = rows('SELECT a FROM t UNION ALL SELECT b FROM t WHERE b = 1 ORDER BY a LIMIT 2');
assert.deepStrictEqual(union, [[1], [2], [3], [4], [1]]);
assert.deepStrictEqual(rows('SELECT a FROM t ORDER BY 1 DESC LIMIT 1'), [[1]]);
assert.deepStrictEqual(rows('SELECT a FROM t ORDER BY a DESC LIMIT 1'), [[4]]);
console.log('pg-mem 3.0.14: UNION ALL ... ORDER BY a LIMIT 2 gives', union.length, 'rows');
JS
node "$folder/run.js"
