#!/usr/bin/env bash
# sacrebleu 2.6.0. corpus_bleu of one query of three words or fewer with itself is 0, as it has no four words in a row; sentence_bleu of
# the same is 100. TER does not heed case by default, where BLEU and chrF do: select a from t is 0 edits from SELECT A FROM T and BLEU 5 or so.
# Guess: 100 for equal texts, and one rule for case. Seen: 0 and 100, and both rules.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" sacrebleu==2.6.0
PYTHONPATH="$folder" python3 - <<"PY"
import sacrebleu

query = "SELECT a"
found = sacrebleu.corpus_bleu([query], [[query]]).score, sacrebleu.sentence_bleu(query, [query]).score
assert found[0] == 0.0 and abs(found[1] - 100) < 1e-6, found
lower, upper = "select a from t", "SELECT A FROM T"
ter, bleu = sacrebleu.sentence_ter(lower, [upper]).score, sacrebleu.sentence_bleu(lower, [upper]).score
assert ter == 0.0 and bleu < 20, (ter, bleu)
print("sacrebleu 2.6.0: corpus_bleu of SELECT a with itself is", found[0])
PY
