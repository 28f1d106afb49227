#!/usr/bin/env bash
# sql-query-identifier 3.2.0. Of FROM t JOIN u ON ..., v the tables are t and u, and of FROM t, u they are both; the columns of a subquery are
# left out though its tables are there; a name in square brackets ends at its semicolon for SQLite.
# Guess: t, u and v; all columns; one statement. Seen: t and u; a without b; invalid.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
npm install --silent --no-audit --no-fund --prefix "$folder" sql-query-identifier@3.2.0
cat > "$folder/run.js" <<'JS'
const assert = require('assert');
const { identify } = require('sql-query-identifier');

const read = (sql) => identify(sql, { dialect: 'sqlite', identifyTables: true, identifyColumns: true })[0];
const names = (list) => list.map((one) => one.name);
assert.deepStrictEqual(names(read('SELECT a FROM t, u').tables), ['t', 'u']);
assert.deepStrictEqual(names(read('SELECT a FROM t JOIN u ON t.a = u.a, v').tables), ['t', 'u']);
const nested = read('SELECT a FROM t WHERE a IN (SELECT b FROM u)');
assert.deepStrictEqual([names(nested.tables), names(nested.columns)], [['t', 'u'], ['a']]);
assert.throws(() => identify('SELECT [a;b] FROM t', { dialect: 'sqlite' }), /Invalid statement/);
console.log('sql-query-identifier 3.2.0: FROM t JOIN u ON ..., v has the tables t and u');
JS
node "$folder/run.js"
