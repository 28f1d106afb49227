"""Answers without SQL on WikiTableQuestions: does gold score 1, and the hack of returning everything 0?

For every question whose table is there, the answer is scored against: itself, written as a query over the
table; the whole table; each single column, whole; and a query that guesses without reading the table. What
the published partial credit (recall) would pay the whole table stands beside.

    python benchmarks/research/wtq.py ../shared/data --write
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from statistics import fmean

from finer_rewards import Sample, Scorer
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.rewards import answer_coverage, answer_match

RESULTS = Path(__file__).parents[1] / "results" / "wtq.md"
BATCH = 512


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--questions", type=int, help="only so many questions, spread evenly")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    started = time.perf_counter()
    tables = arguments.data / "other" / "squall" / "tables" / "db"
    path = arguments.data / "questions" / "wtq.tsv"
    if not path.is_file() or not tables.is_dir():
        sys.exit(f"`data` should be the data folder, but {path} or {tables} is not there. Pass its path.")
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[1:] if line]
    known = [(row, table) for row in rows if (tables / f"{(table := _table(row[2]))}.db").is_file()]
    asked = known[:: max(1, len(known) // arguments.questions)] if arguments.questions else known
    rewards = (answer_match(), answer_coverage(), answer_coverage(hedging=True))
    values: dict[str, list[list[float]]] = defaultdict(list)
    faults: dict[str, int] = defaultdict(int)
    distinct = sorted({table for _, table in asked})
    with (
        SQLite(tables, timeout=30) as executor,
        Scorer(rewards[0] + rewards[1] + rewards[2], executor) as scorer,
    ):
        loaded = sum(bool(executor.schema(table).tables) for table in distinct)
        columns = {
            table: [column.name for column in executor.schema(table).tables[0].columns] for table in distinct
        }
        for start in range(0, len(asked), BATCH):
            kinds, samples = [], []
            for row, table in asked[start : start + BATCH]:
                answer = tuple((_unescaped(item),) for item in row[3].split("|"))
                for kind, sql in _queries(answer, columns[table]):
                    kinds.append(kind)
                    samples.append(Sample(sql, gold=(), db=table, question=row[1], answer=answer))
            for kind, evidence in zip(kinds, scorer.observe(samples), strict=True):
                scores = [reward(evidence).value for reward in rewards]
                if None in scores:
                    faults[kind] += 1
                values[kind].append([0.0 if score is None else score for score in scores])
            if sys.stderr.isatty():
                print(f"\r{min(start + BATCH, len(asked)):,}/{len(asked):,}", end="", file=sys.stderr)
    report = "\n".join(
        [
            "# Answers without SQL: WikiTableQuestions",
            "",
            f"`python benchmarks/research/wtq.py`, {date.today().isoformat()}. {platform.machine()}, "
            f"{os.cpu_count()} cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
            f"{time.perf_counter() - started:.0f} s in all.",
            "",
            f"{len(rows):,} questions, {len(known):,} with their table, {len(asked):,} asked; "
            f"{loaded:,} of {len(distinct):,} tables load; {sum(faults.values())} queries could not be scored.",
            "",
            "| query | number | `answer_match` 1 | `answer_coverage`, mean | above 0 | mean, `hedging` (published) |",
            "|---|--:|--:|--:|--:|--:|",
            *(_line(kind, found) for kind, found in values.items()),
            "",
        ]
    )
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(report, encoding="utf-8")
    print(report)
    return 0


def _table(context: str) -> str:
    """Return the name of a table's database: csv/203-csv/515.csv -> 203_515."""
    _, batch, file = context.split("/")
    return f"{batch.removesuffix('-csv')}_{file.removesuffix('.csv')}"


def _unescaped(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\p", "|").replace("\\\\", "\\")


def _queries(answer: Sequence[tuple[str]], columns: Sequence[str]) -> Iterator[tuple[str, str]]:
    values = ", ".join("('" + value.replace("'", "''") + "')" for (value,) in answer)
    yield "the answer itself", f"SELECT column1 FROM (VALUES {values}) WHERE (SELECT count(*) FROM w) >= 0"
    yield "the answer, no table read", f"SELECT column1 FROM (VALUES {values})"
    yield "the whole table", "SELECT * FROM w"
    for column in columns:
        yield "one whole column", f'SELECT "{column}" FROM w'
    yield "no rows", "SELECT * FROM w LIMIT 0"
    yield "an error", "SELECT nothing FROM nowhere"


def _line(kind: str, found: Sequence[Sequence[float]]) -> str:
    match, coverage, published = zip(*found, strict=True)
    return (
        f"| {kind} | {len(found):,} | {sum(value == 1 for value in match):,} | {fmean(coverage):.4f} | "
        f"{sum(value > 0 for value in coverage):,} | {fmean(published):.4f} |"
    )


if __name__ == "__main__":
    raise SystemExit(main())
