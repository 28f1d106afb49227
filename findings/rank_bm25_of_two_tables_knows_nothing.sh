#!/usr/bin/env bash
# rank_bm25 0.2.2, BM25Okapi. A word that half of the documents hold counts nothing, so between two tables every question is a tie;
# a word that three of four hold counts more than one that two of four hold.
# Guess: what holds the word comes first, and the rarer word counts more. Seen: all 0, and the other way round.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" rank-bm25==0.2.2
PYTHONPATH="$folder" python3 - <<"PY"
from rank_bm25 import BM25Okapi


def scores(documents, word):
    return BM25Okapi([text.split() for text in documents]).get_scores([word]).tolist()


assert scores(["singer name", "concert year"], "singer") == [0.0, 0.0]
assert scores(["singer a", "singer b", "c", "d"], "singer") == [0.0] * 4
assert min(scores(["id a", "id b", "id c", "d"], "id")[:3]) > 0.1
print("rank_bm25 0.2.2: a word of one of two documents scores 0 in both")
PY
