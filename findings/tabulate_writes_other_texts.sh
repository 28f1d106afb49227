#!/usr/bin/env bash
# tabulate 0.10.0, which pandas' to_markdown and many prompts write results with. Texts that look like numbers are written as numbers when
# their whole column does: '1e3' as 1000, '2.50' as 2.5. Numbers keep six digits: 1234567.891 is 1.23457e+06. NULL is the empty text.
# So a model that is shown a result sees another one. Guess: texts as they are, numbers as str() has them. Seen: as said; 007 does stay.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" tabulate==0.10.0
PYTHONPATH="$folder" python3 - <<"PY"
from tabulate import tabulate


def cells(column):
    return [line.strip("| ") for line in tabulate([[cell] for cell in column], tablefmt="github").split("\n")[1:]]


assert cells(["1e3", "2.50"]) == ["1000", "2.5"]
assert cells(["1.50", "2.25"]) == ["1.5", "2.25"]
assert cells([1234567.891, 0.5]) == ["1.23457e+06", "0.5"]
assert cells([None, "x"]) == cells(["", "x"]) == ["", "x"]
assert cells(["007", "010"]) == ["007", "010"]
print("tabulate 0.10.0:", cells(["1e3", "2.50"]), cells([1234567.891, 0.5]))
PY
