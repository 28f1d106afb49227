#!/usr/bin/env bash
# @polyglot-sql/sdk 0.12.1 (npm). From SQLite to DuckDB the modifier of date() is taken for a format: '+1 month' becomes the
# format '+1 %bth' of STRPTIME, since `mon` is a name of the month somewhere. No error is given.
# Guess: d + INTERVAL 1 MONTH, or an error. Seen: CAST(STRPTIME(d, '+1 %bth') AS DATE).
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
test "$(node run.mjs duckdb "SELECT date(d, '+1 month') FROM t")" = "SELECT CAST(STRPTIME(d, '+1 %bth') AS DATE) FROM t"
test "$(node run.mjs duckdb "SELECT date(d, '-7 days') FROM t")" = "SELECT CAST(STRPTIME(d, '-7 days') AS DATE) FROM t"
echo "polyglot 0.12.1: date(d, '+1 month') becomes STRPTIME(d, '+1 %bth') in DuckDB"
