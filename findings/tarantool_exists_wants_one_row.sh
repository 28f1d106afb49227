#!/usr/bin/env bash
# Tarantool 2.6.0 (Debian). EXISTS over a subquery that finds two rows is an error, as if the subquery were a value; with one row it
# holds, and IN takes both. ISO/IEC 9075-2, 8.10: true if there is a row, or more.
# Guess: as SQLite, of which its SQL was made: the row that u refers to. Seen: Expression subquery returned more than 1 row.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
cd "$folder"
# The lists of the packages are renewed where the package is not in them.
apt-get download -qq tarantool=2.6.0-1.2+b1 2>log || { apt-get update -qq && apt-get download -qq tarantool=2.6.0-1.2+b1 2>log; }
for package in *.deb; do dpkg-deb -x "$package" .; done
cat >run.lua <<"LUA"
box.cfg { wal_mode = "none", log = "log.txt" }
box.execute("CREATE TABLE t (a INTEGER PRIMARY KEY)")
box.execute("CREATE TABLE u (id INTEGER PRIMARY KEY, a INTEGER)")
box.execute("INSERT INTO t VALUES (1), (2)")

local function run(query)
    local result, failure = box.execute(query)
    if failure then
        return tostring(failure)
    end
    local found = {}
    for _, row in ipairs(result.rows) do
        found[#found + 1] = tostring(row[1])
    end
    return table.concat(found, " ")
end

local query = "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.a)"
box.execute("INSERT INTO u VALUES (1, 1)")
assert(run(query) == "1", run(query))
box.execute("INSERT INTO u VALUES (2, 1)")
assert(run(query):find("Expression subquery returned more than 1 row"), run(query))
assert(run("SELECT a FROM t WHERE a IN (SELECT a FROM u)") == "1")
print("Tarantool 2.6.0: " .. run(query))
os.exit(0)
LUA
usr/bin/tarantool run.lua
