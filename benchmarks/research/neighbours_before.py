"""Neighbours of today beside those of commit 3b77e12: what building them costs, and which of its near misses they tell.

    git worktree add /tmp/before 3b77e12
    python -m benchmarks.research.neighbours_before /tmp/before [DATA] [--write]

Both build for the same golds, in turn, each in a process of its own; CPU is that of the process and of its workers.
The near misses are those that the old commit made. A near miss is killed when it fails or gives another result than
the gold on some neighbour. Of those not killed, live are the ones that differ from their gold on one of 32 further
instances. `--write` puts the table into results/neighbours_before.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.neighbours import SETS, _proved
from finer_rewards import compare
from finer_rewards._neighbours import Suite, build_neighbours
from finer_rewards._neighbours.suite_store import GENERATOR
from finer_rewards._statement_files import read_statements
from finer_rewards.types import Row

RESULTS = Path(__file__).parents[1] / "results" / "neighbours_before.md"
_CPU = """
import json, resource, sys
def cpu():
    both = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, both))
path, folder, golds = sys.argv[1], sys.argv[2], json.load(sys.stdin)
"""
_TODAY = f"""{_CPU}
from finer_rewards._neighbours import build_neighbours
start = cpu()
build_neighbours(path, golds, folder=folder)
print(json.dumps({{"cpu": cpu() - start}}))
"""
# The near misses are nowhere in what that commit writes, so they are taken from its own reading of the golds.
_BEFORE = f"""{_CPU}
import finer_rewards.testsuite.building as building
read = building._look_at
def kept(*arguments):
    global known
    known = read(*arguments)
    return known
building._look_at = kept
start = cpu()
suite = building.build_neighbours(path, golds, folder=folder)
used = cpu() - start
found = [
    {{
        "gold": gold.sql,
        "mutants": [one.sql for number, one in enumerate(gold.mutants) if number not in gold.equivalent],
        "living": [text.split(": ", 1)[1] for text in report.survivors],
    }}
    for gold, report in zip(known, suite.golds)
]
print(json.dumps({{"cpu": used, "golds": found}}))
"""
_MOST_STEPS = 2_000  # thousands of steps of SQLite that a statement may take


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, help="a checkout of commit 3b77e12")
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    data = arguments.data.resolve()
    load = os.getloadavg()[0]
    lines = [
        "# Neighbours of today beside those of commit 3b77e12",
        "",
        f"`python -m benchmarks.research.neighbours_before CHECKOUT --write`, {date.today()}. {platform.machine()}, "
        f"{os.cpu_count()} cores (load {load:.0f} at the start), Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}; generator {GENERATOR}.",
        "",
        "Both build for the same golds, in turn; CPU is that of the process and of its workers. The near misses are "
        "those of the old commit. Live are those not killed that differ from their gold on one of 32 further "
        "instances, which keep what neighbours promise today.",
        "",
        "| golds of | CPU s before | today | ratio | near misses | killed before | killed today |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for title in ("Spider dev", "BIRD superhero"):
        questions, folder, _ = SETS[title]
        golds: dict[str, list[str]] = defaultdict(list)
        for entry in read_statements(data / questions, side="gold"):
            golds[str(entry.db)].append(entry.sql)
        total: Counter[str] = Counter()
        seconds = {"before": 0.0, "today": 0.0}
        for name, statements in golds.items():
            path = data / folder / name / f"{name}.sqlite"
            if path.is_file():
                _compare(path, statements, arguments.before, seconds, total)
        shares = [
            f"{total[side]:,}, {total[side] / (total[side] + total[f'{side} live']):.4f} ({total[f'{side} live']} live)"
            for side in ("before", "today")
        ]
        lines.append(
            f"| {title} | {seconds['before']:.2f} | {seconds['today']:.2f} | {seconds['today'] / seconds['before']:.3f}"
            f" | {total['near misses']:,} | {shares[0]} | {shares[1]} |"
        )
    print("\n".join(lines))
    if arguments.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def _compare(
    path: Path, golds: Sequence[str], before: Path, seconds: dict[str, float], total: Counter[str]
) -> None:
    """Add up what one database costs and tells."""
    with tempfile.TemporaryDirectory() as scratch:
        old = _run(_BEFORE, before, path, f"{scratch}/before", golds)
        seconds["before"] += old["cpu"]
        seconds["today"] += _run(_TODAY, Path.cwd(), path, f"{scratch}/today", golds)["cpu"]
        suite = build_neighbours(path, golds, folder=f"{scratch}/today")
        for gold in old["golds"]:
            report = next((one for one in suite.golds if one.sql == gold["gold"]), None)
            if report is None:
                continue
            paths = suite.paths_for(gold["gold"])
            here = [sql for sql in gold["mutants"] if not _killed(gold["gold"], sql, paths)]
            for side, living in (("before", gold["living"]), ("today", here)):
                total[side] += len(gold["mutants"]) - len(living)
                total[f"{side} live"] += _live(path, suite, report, living)
            total["near misses"] += len(gold["mutants"])


def _run(code: str, home: Path, path: Path, folder: str, golds: Sequence[str]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(
        subprocess.run(
            [sys.executable, "-c", code, str(path), folder],
            input=json.dumps(list(golds)),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=home,
            env={**os.environ, "PYTHONPATH": str(home)},
        ).stdout
    )
    return found


def _killed(gold: str, mutant: str, paths: Sequence[str]) -> bool:
    for path in paths:
        wanted, rows = _rows(path, gold), _rows(path, mutant)
        if rows is None:
            return True
        order = "select a from t order by a" if "order by" in gold.lower() else "select a from t"
        if (
            wanted is not None
            and not compare(wanted, rows, "strict", gold_sql=order, predicted_sql=order).match
        ):
            return True
    return False


def _rows(path: str, sql: str) -> list[Row] | None:
    with closing(sqlite3.connect(path)) as connection:
        steps = iter(range(_MOST_STEPS))
        connection.text_factory = lambda text: text.decode("utf-8", "ignore")
        connection.set_progress_handler(lambda: next(steps, None) is None, 1000)
        try:
            return [tuple(row) for row in connection.execute(sql).fetchmany(3000)]
        except sqlite3.Error:
            return None


def _live(path: Path, suite: Suite, report: Any, living: Sequence[str]) -> int:
    """Return how many differ from the gold on an instance made for that gold alone."""
    return _proved(
        path, replace(suite, golds=(replace(report, survivors=tuple(f"- : {sql}" for sql in living)),))
    )


if __name__ == "__main__":
    sys.exit(main())
