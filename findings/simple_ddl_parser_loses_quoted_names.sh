#!/usr/bin/env bash
# simple-ddl-parser 1.13.0, which schema prompts are made with. Of names in SQLite's quotes "a b" and `c` are read, [d e] is a column
# called [d of the type `e] INT`, and a column named in single quotes, 'f', is left out in silence. A primary key written in another
# case, as Spider's files have it, marks no column: all stay nullable.
# Guess: four columns, or an error; the key not nullable. Seen: three, one of them wrong, and nullable.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" simple-ddl-parser==1.13.0
PYTHONPATH="$folder" python3 - <<"PY"
import sqlite3

from simple_ddl_parser import DDLParser

quoted = """CREATE TABLE t ("a b" INT, `c` TEXT, [d e] INT, 'f' TEXT)"""
keyed = "CREATE TABLE t (singer_id int, name text, PRIMARY KEY (Singer_ID))"


def read(ddl):
    base = sqlite3.connect(":memory:")
    base.execute(ddl)
    real = [row[1] for row in base.execute("PRAGMA table_info(t)")]
    [table] = DDLParser(ddl, normalize_names=True).run()
    return real, [(one["name"], one["type"], one["nullable"]) for one in table["columns"]], table["primary_key"]


real, columns, _ = read(quoted)
assert real == ["a b", "c", "d e", "f"]
assert [one[:2] for one in columns] == [("a b", "INT"), ("c", "TEXT"), ("[d", "e] INT")], columns
_, columns, key = read(keyed)
assert key == ["Singer_ID"] and all(nullable for _, _, nullable in columns), (key, columns)
print("simple-ddl-parser 1.13.0: of", real, "it reads a b, c and [d")
PY
