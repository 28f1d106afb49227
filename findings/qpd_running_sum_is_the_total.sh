#!/usr/bin/env bash
# qpd 0.4.4 (SQL on pandas). A window with ORDER BY and no frame covers the whole partition, so that a running total is the
# same number in every row. With the frame that SQL implies written out it is right.
# Guess: 1, 3, 6, 10, the default frame ends at the current row. Seen: 10 four times.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action ignore --disable-pip-version-check --target "$folder" qpd==0.4.4 pandas==3.1.1 numpy==2.4.6 pyarrow==26.0.1 setuptools==80.9.0
PYTHONPATH="$folder" python3 - <<"PY"
import logging
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
import pandas as pd
from qpd_pandas import run_sql_on_pandas

t = pd.DataFrame({"a": [1, 2, 3, 4]})


def sums(frame):
    found = run_sql_on_pandas(f"SELECT a, SUM(a) OVER (ORDER BY a{frame}) AS s FROM t", {"t": t})
    return [int(value) for value in found["s"]]


assert sums("") == [10, 10, 10, 10]
assert sums(" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW") == [1, 3, 6, 10]
print("qpd 0.4.4: SUM(a) OVER (ORDER BY a) of 1 to 4 is", sums(""))
PY
