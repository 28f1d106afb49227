#!/usr/bin/env bash
# @polyglot-sql/sdk 0.12.1 (npm). From SQLite to SQLite group_concat(c, '; ') comes back as GROUP_CONCAT(c || '; '): the
# separator goes behind each value, and SQLite's own comma stands between them.
# Guess: the text as it was. Seen: 'x; ,y; ' where there was 'x; y'.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps @polyglot-sql/sdk@0.12.1 >"$folder/log" 2>&1
cat >"$folder/run.mjs" <<"JS"
import { Dialect, transpile } from "@polyglot-sql/sdk";

const dialect = { sqlite: Dialect.SQLite, duckdb: Dialect.DuckDB }[process.argv[2]];
console.log(transpile(process.argv[3], Dialect.SQLite, dialect).sql[0]);
JS
again="$(node run.mjs sqlite "SELECT group_concat(c, '; ') FROM t")"
test "$again" = "SELECT GROUP_CONCAT(c || '; ') FROM t"
python3 - "$again" <<"PY"
import sqlite3
import sys

run = sqlite3.connect(":memory:").execute
run("CREATE TABLE t (c TEXT)")
run("INSERT INTO t VALUES ('x'), ('y')")
assert run("SELECT group_concat(c, '; ') FROM t").fetchone() == ("x; y",)
assert run(sys.argv[1]).fetchone() == ("x; ,y; ",)
print("polyglot 0.12.1: group_concat(c, '; ') of x and y comes back as", run(sys.argv[1]).fetchone()[0])
PY
