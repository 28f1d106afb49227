#!/usr/bin/env bash
# @polyglot-sql/sdk 0.12.1 (npm). From SQLite to SQLite, which should change nothing, `a / 2` comes back as CAST(a AS REAL) / 2.
# Guess: the text as it was. Seen: SELECT 7 / 2 was 3, and the text that comes back gives 3.5.
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
again="$(node run.mjs sqlite "SELECT 7 / 2")"
test "$again" = "SELECT CAST(7 AS REAL) / 2"
python3 - "$again" <<"PY"
import sqlite3
import sys

run = sqlite3.connect(":memory:").execute
assert run("SELECT 7 / 2").fetchone() == (3,)
assert run(sys.argv[1]).fetchone() == (3.5,)
print("polyglot 0.12.1: SELECT 7 / 2 comes back as", sys.argv[1])
PY
