#!/usr/bin/env bash
# bm25s 0.3.16, tokenize with its own settings. Words of one letter or digit and the words no, not, and, or are left out, and nothing is
# stemmed: "singers not older than 5" and "singers older than 7" are one question, and "singers" finds no table called singer. Where nothing is
# known the tables come back from the last to the first with 0.
# Guess: all words but the, a and of. Seen: singers, older, than.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" bm25s==0.3.16 numpy==2.2.6
PYTHONPATH="$folder" python3 - <<"PY"
import bm25s


def words(text):
    return sorted(bm25s.tokenize([text], show_progress=False).vocab)


assert words("singers not older than 5") == words("singers older than 7") == ["older", "singers", "than"]
search = bm25s.BM25()
search.index(bm25s.tokenize(["singer name", "pet age", "car year"], show_progress=False), show_progress=False)
places, scores = search.retrieve(bm25s.tokenize("singers", show_progress=False), k=3, show_progress=False)
assert (places.tolist(), scores.tolist()) == ([[2, 1, 0]], [[0, 0, 0]]), (places, scores)
print("bm25s 0.3.16:", words("singers not older than 5"))
PY
