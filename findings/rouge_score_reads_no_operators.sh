#!/usr/bin/env bash
# rouge-score 0.1.2. Its tokens are Latin letters and digits alone: ROUGE-L of `b > 5` and `b < 5`, of 5 and -5 and of `a * b` and
# `a / b` is 1, and a text in Chinese scores 0 against itself.
# Guess: below 1 for another operator, 1 for equal texts. Seen: 1 and 0.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" rouge-score==0.1.2
PYTHONPATH="$folder" python3 - <<"PY"
from rouge_score.rouge_scorer import RougeScorer

scorer = RougeScorer(["rougeL"])


def rouge(gold, predicted):
    return scorer.score(gold, predicted)["rougeL"].fmeasure


assert rouge("SELECT a FROM t WHERE b > 5", "SELECT a FROM t WHERE b < 5") == 1
assert rouge("SELECT a FROM t WHERE b = -5", "SELECT a FROM t WHERE b = 5") == 1
assert rouge("SELECT a * b FROM t", "SELECT a / b FROM t") == 1
assert rouge("名字", "名字") == 0
print("rouge-score 0.1.2: b > 5 equals b < 5; Chinese text is unlike itself")
PY
