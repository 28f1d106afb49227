#!/usr/bin/env bash
# math-verify 0.9.0, which trainers of reasoning reward with. An answer is read as far as it is a number: times, versions and powers
# of ten lose their second half, and a text is equal to nothing, not to itself either.
# Guess: 12:30 and 12:45 differ, 1e3 is 1000, Paris is Paris. Seen: equal, 1, and not equal.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" math-verify==0.9.0 \
    latex2sympy2_extended==1.11.0
PYTHONPATH="$folder" python3 - <<"PY"
from math_verify import parse, verify


def same(gold, answer):
    return verify(parse(gold), parse(answer))


found = {
    (gold, answer): same(gold, answer)
    for gold, answer in [
        ("12:30", "12:45"),
        ("2.0.1", "2.0.7"),
        ("1e3", "1"),
        ("1e3", "1000"),
        ("1990 to 1995", "1995"),
        ("Paris", "Paris"),
    ]
}
assert list(found.values()) == [True, True, True, False, True, False], found
print("math-verify 0.9.0: 12:30 = 12:45, 1e3 = 1, and Paris is not Paris")
PY
