#!/usr/bin/env bash
# mongomock 4.3.0, a MongoDB in memory for tests. $group with _id None over no documents gives one document with 0; MongoDB's manual has $group give one
# for each group that there is, so none. $expr with $eq on a field that is missing is a KeyError, where it is not equal to null.
# Guess: []; the documents where it is null. Seen: [{'n': 0, '_id': None}]; KeyError.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" mongomock==4.3.0
PYTHONPATH="$folder" python3 - <<"PY"
import mongomock

collection = mongomock.MongoClient().d.t
collection.insert_many([{"_id": 1, "b": None}, {"_id": 2, "b": 7}, {"_id": 3}])
total = {"$group": {"_id": None, "n": {"$sum": "$b"}}}
nothing = [*collection.aggregate([{"$match": {"_id": 99}}, total])]
assert nothing == [{"n": 0, "_id": None}], nothing
assert [*collection.aggregate([{"$match": {"_id": 99}}, {"$group": {"_id": "$b", "n": {"$sum": 1}}}])] == []
try:
    collection.aggregate([{"$match": {"$expr": {"$eq": ["$b", None]}}}])
except KeyError as error:
    print("mongomock 4.3.0: $group over nothing gives", nothing, "and $expr on a missing field KeyError", error)
else:
    raise AssertionError("$expr on a missing field")
PY
