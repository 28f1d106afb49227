#!/usr/bin/env bash
# kuzu 0.11.3. NULL = NULL is NULL, but [NULL] = [NULL] is true, and CASE NULL WHEN NULL takes the branch. A text is compared with a number as
# a number: '1' = 1 is true. openCypher's reference: lists with NULL compare as NULL, a simple CASE compares by =, and a text
# is never equal to a number. Guess: NULL, ELSE, false. Seen: true, the branch, true.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" kuzu==0.11.3
PYTHONPATH="$folder" python3 - <<"PY"
import os
import tempfile

import kuzu

connection = kuzu.Connection(kuzu.Database(tempfile.mkdtemp(dir=os.environ["PYTHONPATH"]) + "/x"))
query = "RETURN NULL = NULL, [NULL] = [NULL], CASE NULL WHEN NULL THEN 'branch' ELSE 'else' END, '1' = 1"
found = connection.execute(query).get_all()[0]
assert found == [None, True, "branch", True], found
print("kuzu 0.11.3: NULL = NULL, [NULL] = [NULL], CASE NULL WHEN NULL, '1' = 1:", *found)
PY
