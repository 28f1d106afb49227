"""An audit of golds and predictions by attestql beside the same by `check` and `score`.

    python -m benchmarks.research.peers ../shared/data --attestql PATH/TO/attestql

For databases of Spider dev, the questions with DAIL-SQL's predictions go through both, one after the other. Prints the
CPU of each (all its processes) and how the verdicts differ, and writes it to benchmarks/results/peers.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results" / "peers.md"
DATABASES = ("concert_singer", "pets_1", "car_1", "world_1")


def run(*command: str) -> tuple[str, float]:
    """Run a command; return what it printed, and the seconds of CPU that it and its children took."""
    before = os.times()
    printed = subprocess.run(command, capture_output=True, check=False, text=True).stdout
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return printed, spent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--attestql", required=True)
    arguments = parser.parse_args()
    questions = json.loads((arguments.data / "questions/spider_dev.json").read_text())
    predicted = (arguments.data / "predictions/spider_dev/nl2sql360__DAILSQL.sql").read_text().splitlines()
    rows = [
        "| database | questions | attestql, CPU s | ours, CPU s | right by attestql | by `typed` | alike | of |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for db in DATABASES:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            chosen = [one for one in questions if one["db_id"] == db]
            sqls = [predicted[one["idx"]].partition("\t")[0] for one in chosen]
            records = [
                {"question_id": number, "db_id": db, "question": one["question"], "evidence": "",
                 "SQL": one["query"], "difficulty": "simple"}
                for number, one in enumerate(chosen)
            ]  # fmt: skip
            (place / "questions.json").write_text(json.dumps(records))
            (place / "predicted.json").write_text(json.dumps({str(n): sql for n, sql in enumerate(sqls)}))
            file = str(arguments.data / f"spider_dev/database/{db}/{db}.sqlite")
            printed, theirs = run(
                arguments.attestql, "audit", "--engine", "sqlite", "--dsn", file,
                "--questions", f"{place}/questions.json", "--predictions", f"{place}/predicted.json",
                "--out", f"{place}/audit",
            )  # fmt: skip
            verb = (sys.executable, "-m", "finer_rewards")
            _, checked = run(*verb, "check", f"{place}/questions.json", "--db", file)
            _, scored = run(
                *verb, "score", f"{place}/predicted.json", f"{place}/questions.json",
                "--db", file, "--mode", "typed", "-o", f"{place}/scores.jsonl",
            )  # fmt: skip
            said = re.findall(r"^q(\d+)\s.*\s(NOT_EQUAL|EQUAL)\s", printed, re.MULTILINE)
            verdicts = {int(number): verdict == "EQUAL" for number, verdict in said}
            scores = [json.loads(line) for line in (place / "scores.jsonl").read_text().splitlines()]
            mine = {
                number: score["value"] for number, score in enumerate(scores) if score["value"] is not None
            }
            both = [(verdicts[key], mine[key] == 1) for key in verdicts if key in mine]
            rows.append(
                f"| {db} | {len(chosen)} | {theirs:.1f} | {checked + scored:.1f} | {sum(verdicts.values())} | "
                f"{sum(value == 1 for value in mine.values())} | {sum(a == b for a, b in both)} | {len(both)} |"
            )
            print(rows[-1], flush=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    RESULTS.write_text(
        f"# Beside attestql 0.4.0\n\n`python -m benchmarks.research.peers`, {date.today()}, {machine}. DAIL-SQL's "
        "predictions on Spider dev; `typed` is attestql's own rule among our modes. Ours is `check` and "
        "`score`, one after the other.\n\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    main()
