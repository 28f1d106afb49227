"""How many labelled pairs evaldata's comparison of syntax trees confirms, and how many ours.

    pip install evaldata==0.9.0
    python -m benchmarks.research.evaldata_pairs [--write] [--data DIR]

Both only confirm: a pair that they do not confirm is left open. The pairs are those of `../shared/data/equivalence`
(or FINER_REWARDS_DATA, or `--data`); evaldata reads no schema.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections import Counter
from datetime import date
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from evaldata.scorers.semantic_equivalence import AstEquivalence
from evaldata.types import GoldQuery

from benchmarks.operations import load_schema, our_score
from finer_rewards._util.sqlglot_log import quiet_sqlglot
from finer_rewards.schema import Schema

RESULTS = Path(__file__).parents[1] / "results" / "evaldata_pairs.md"
FAMILIES = ("optimiser_rules", "text_to_sql", "literature")


def confirmed_by_evaldata(predicted: str, gold: str, dialect: str) -> bool:
    """Return whether evaldata confirms that two texts mean the same."""
    queries = SimpleNamespace(dialect=dialect, model_sql=predicted)
    case: Any = SimpleNamespace(expected=GoldQuery(sql=gold))
    context: Any = SimpleNamespace(queries=queries)
    unused: Any = None
    verdict = AstEquivalence().judge(case, unused, unused, context=context)
    return bool(verdict.equivalence == "equivalent")


def main() -> None:
    default = os.environ.get("FINER_REWARDS_DATA") or Path(__file__).parents[2].parent / "shared" / "data"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help=f"keep the table in {RESULTS.name}")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--open", type=Path, metavar="FILE", help="keep there what evaldata alone confirms")
    options = parser.parse_args()
    lines = [
        "| pairs | label | n | confirmed by evaldata | by us | by evaldata alone | ms a pair, evaldata | ours |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    known: dict[tuple[str, str], Schema | None] = {}
    alone = []
    for family in FAMILIES:
        text = (options.data / "equivalence" / f"{family}.jsonl").read_text()
        counts: Counter[tuple[str, str]] = Counter()
        for place, row in enumerate(map(json.loads, text.splitlines())):
            label, dialect = row["label"].replace("_", " "), row["dialect"].split(",")[0]
            schema = load_schema(row["schema"], dialect, known)
            with quiet_sqlglot():
                start = time.process_time()
                theirs = confirmed_by_evaldata(row["sql_a"], row["sql_b"], dialect)
                middle = time.process_time()
                ours = our_score(row["sql_a"], row["sql_b"], schema, dialect) == 1.0
                end = time.process_time()
            counts[label, "n"] += 1
            counts[label, "theirs"] += theirs
            counts[label, "ours"] += ours
            counts[label, "alone"] += theirs and not ours
            counts[label, "their µs"] += round((middle - start) * 1e6)
            counts[label, "our µs"] += round((end - middle) * 1e6)
            if theirs and not ours:
                alone.append({"family": family, "place": place, **row})
        for label in sorted({label for label, _ in counts}):
            n = counts[label, "n"]
            numbers = [counts[label, name] for name in ("theirs", "ours", "alone")]
            spent = [f"{counts[label, name] / n / 1000:.2f}" for name in ("their µs", "our µs")]
            lines.append(" | ".join(["| " + family, label, *map(str, [n, *numbers]), *spent]) + " |")
            print(lines[-1], flush=True)
    if options.open:
        options.open.write_text("".join(json.dumps(row) + "\n" for row in alone))
    if options.write:
        head = [
            f"# evaldata {version('evaldata')} beside ours",
            "",
            f"`python -m benchmarks.research.evaldata_pairs --write`, {date.today()}. {platform.machine()}, "
            f"{os.cpu_count()} cores, Python {platform.python_version()}, sqlglot {version('sqlglot')}.",
            "",
        ]
        RESULTS.write_text("\n".join([*head, *lines]) + "\n")


if __name__ == "__main__":
    main()
