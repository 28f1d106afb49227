"""Does voting help? Groups drawn from real systems, one candidate a system, voted on by each strategy.

For each set of questions and each group size, groups of systems are drawn (with a fixed seed). Each question
then has as many candidates as the group has systems, in the order drawn. A vote is right when the recorded
verdict of the chosen candidate is (Spider: the official test-suite evaluator; BIRD: its set rule).

    python benchmarks/research/voting.py ../shared/data --write
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import sqlite3
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

from finer_rewards.engines.sqlite import SQLite
from finer_rewards.executing import Query
from finer_rewards.types import Execution
from finer_rewards.voting import STRATEGIES, recall_at_n, vote

RESULTS = Path(__file__).parents[1] / "results" / "voting.md"
SETS = {
    "spider_dev_dev": ("spider_dev/database", "official"),
    "bird_dev_dev": ("bird/databases", "set_ex"),
    "bird_mini_dev_dev": ("bird/databases", "set_ex"),
}
SIZES = (5, 10, 30)
SEED = 20260

Runs = Mapping[tuple[str, str], Execution]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--groups", type=int, default=5, help="groups drawn for each size")
    parser.add_argument("--pool", type=int, default=40, help="systems groups are drawn from")
    parser.add_argument("--questions", type=int, help="only so many questions of each set, spread evenly")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    started = time.perf_counter()
    head = ["questions", "n", "groups", "one system", "best system", *STRATEGIES, "recall@n"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * 1}{'--:|' * (len(head) - 1)}"]
    for name, (folder, verdict) in SETS.items():
        path = arguments.data / "candidates" / f"{name}.jsonl.gz"
        if not path.is_file():
            sys.exit(f"`data` should be the data folder, but there is no {path}. Pass its path.")
        questions = _questions(path, arguments.questions)
        systems = sorted(set.intersection(*(set(one["candidates"]) for one in questions)))
        pool = random.Random(SEED).sample(systems, min(arguments.pool, len(systems)))
        runs = _run(questions, pool, arguments.data / folder)
        for size in [size for size in SIZES if size <= len(pool)]:
            draw = random.Random(f"{SEED} {name} {size}")
            groups = [draw.sample(pool, size) for _ in range(arguments.groups)]
            row = [
                fmean(column)
                for column in zip(*(_measure(questions, g, runs, verdict) for g in groups), strict=True)
            ]
            cells = " | ".join(f"{100 * value:.2f}" for value in row)
            lines.append(f"| {name}, {len(questions)} | {size} | {len(groups)} | {cells} |")
            print(lines[-1], flush=True)
    report = "\n".join(
        [
            "# Voting",
            "",
            f"`python benchmarks/research/voting.py`, {date.today().isoformat()}. {platform.machine()}, "
            f"{os.cpu_count()} cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
            f"{time.perf_counter() - started:.0f} s in all.",
            "",
            "Per cent of questions answered rightly, mean over the groups. *One system* is the mean of a group's "
            "systems, *best system* its best on these very questions (known only afterwards), *recall@n* the "
            "share of questions that at least one of them answers: no vote can reach more.",
            "",
            *lines,
            "",
        ]
    )
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(report, encoding="utf-8")
    print(report)
    return 0


def _questions(path: Path, limit: int | None) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        questions = [json.loads(line) for line in lines]
    return questions[:: max(1, len(questions) // limit)] if limit else questions


def _run(questions: Sequence[dict[str, Any]], pool: Sequence[str], databases: Path) -> Runs:
    """Run every distinct candidate once."""
    keys = list(
        dict.fromkeys(
            (one["candidates"][system]["sql"], one["db_id"]) for one in questions for system in pool
        )
    )
    found: dict[tuple[str, str], Execution] = {}
    with SQLite(databases, timeout=30) as executor:
        for start in range(0, len(keys), 512):
            part = keys[start : start + 512]
            results = executor.execute_many([Query(sql, db) for sql, db in part])
            found.update(zip(part, results, strict=True))
    return found


def _measure(
    questions: Sequence[dict[str, Any]], group: Sequence[str], runs: Runs, verdict: str
) -> list[float]:
    """Return one system, best system, each strategy and recall, as shares of the questions."""
    verdicts: list[list[float]] = []
    chosen: dict[str, list[float]] = {strategy: [] for strategy in STRATEGIES}
    for one in questions:
        candidates = [one["candidates"][system] for system in group]
        right = [float(candidate[verdict] == 1) for candidate in candidates]
        sqls = [candidate["sql"] for candidate in candidates]
        executions = [runs[sql, one["db_id"]] for sql in sqls]
        verdicts.append(right)
        for strategy in STRATEGIES:
            index = vote(executions, strategy, sqls=sqls)
            chosen[strategy].append(0.0 if index is None else right[index])
    systems = [fmean(column) for column in zip(*verdicts, strict=True)]
    recall = recall_at_n(verdicts, len(group))
    return [fmean(systems), max(systems), *(fmean(chosen[name]) for name in STRATEGIES), recall or 0.0]


if __name__ == "__main__":
    raise SystemExit(main())
