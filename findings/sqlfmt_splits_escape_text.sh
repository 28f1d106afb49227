#!/usr/bin/env bash
# shandy-sqlfmt 0.32.0. E'a\n', a text of PostgreSQL, is taken apart into e 'a\n', which PostgreSQL refuses, and what follows # (its
# exclusive or) is a comment. X'61' stays whole. Guess: left whole, as in x'61'. Seen: e, a blank, a text.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" shandy-sqlfmt==0.32.0
PYTHONPATH="$folder" python3 - <<"PY"
from sqlfmt.api import format_string
from sqlfmt.mode import Mode


def written(sql):
    return format_string(sql, Mode(dialect_name="polyglot")).strip()


assert written(r"SELECT X'61', E'a\n'") == r"select X'61', e 'a\n'"
assert written("SELECT a # b FROM t") == "select a  # b FROM t"
print("shandy-sqlfmt 0.32.0:", written(r"SELECT E'a\n'"))
PY
