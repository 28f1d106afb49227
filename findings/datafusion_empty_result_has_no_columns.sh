#!/usr/bin/env bash
# datafusion 55.0.0. What `collect()` returns for a query without rows has no batches, so no column names either: a scorer that
# compares columns sees none. `SELECT a ... LIMIT 0` and a WHERE that keeps nothing alike. The schema is only on the frame.
# Guess: one empty batch with its schema, as a query over an empty Arrow table gives. Seen: an empty list.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" datafusion==55.0.0 pyarrow==22.0.0
PYTHONPATH="$folder" python3 - <<"PY"
import datafusion
import pyarrow

context = datafusion.SessionContext()
context.register_record_batches("t", [[pyarrow.record_batch({"a": [1, 2]})]])
frame = context.sql("SELECT a FROM t LIMIT 0")
assert frame.collect() == [] and frame.schema().names == ["a"]
assert context.sql("SELECT a FROM t WHERE a > 5 GROUP BY a").collect() == []
assert [batch.schema.names for batch in context.sql("SELECT COUNT(*) AS n FROM t WHERE a > 5").collect()] == [["n"]]
print("datafusion 55.0.0: collect() of an empty result is [], without columns")
PY
