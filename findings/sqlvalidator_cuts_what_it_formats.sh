#!/usr/bin/env bash
# sqlvalidator 0.0.20. format_sql drops NULLS LAST and ends a text at its first doubled quote: 'it''s' is written 'it'. A comment -- x comes
# out as - - x. is_valid() is true of all three. Guess: kept, or not valid. Seen: other queries.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sqlvalidator==0.0.20
PYTHONPATH="$folder" python3 - <<"PY"
import sqlvalidator


def written(sql):
    assert sqlvalidator.parse(sql).is_valid()
    return " ".join(sqlvalidator.format_sql(sql).split())


assert written("SELECT a FROM t ORDER BY a DESC NULLS LAST") == "SELECT a FROM t ORDER BY a DESC"
assert written("SELECT 'it''s'") == "SELECT 'it'"
assert written("SELECT a FROM t -- x") == "SELECT a FROM t - - x"
print("sqlvalidator 0.0.20: 'it''s' is written", written("SELECT 'it''s'"))
PY
