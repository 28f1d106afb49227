#!/usr/bin/env bash
# node-sql-parser 5.4.0. NATURAL JOIN, for SQLite and for PostgreSQL, is read as a table called NATURAL and an inner join.
# Guess: a natural join, or an error. Seen: written back, the statement is t AS NATURAL INNER JOIN u, without a condition: every
# pair of rows in SQLite. CROSS JOIN goes the same way.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund node-sql-parser@5.4.0 > /dev/null
node - <<'JS'
const { Parser } = require("node-sql-parser");
const assert = require("assert");
const parser = new Parser();
for (const database of ["sqlite", "postgresql"]) {
    const written = parser.sqlify(parser.astify("SELECT a FROM t NATURAL JOIN u", { database }), { database });
    assert.match(written, /"t" AS "NATURAL" INNER JOIN "u"$/);
    console.log("node-sql-parser 5.4.0,", database + ":", written);
}
JS
