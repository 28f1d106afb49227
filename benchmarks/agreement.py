"""Do our `bird` and `test_suite` give the verdicts that the published evaluators gave?

Runs every candidate of the data folder (predictions of real systems, each with the verdict of BIRD's rule
and, for Spider, of the official test-suite evaluator) through the executor and `compare`, and lists each
verdict that is not the recorded one, with its cause. A recorded error ("E") has to be an error here too.

    python benchmarks/agreement.py ../shared/data --write
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from finer_rewards.comparing import compare, modes
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.executing import Query
from finer_rewards.types import Execution

RESULTS = Path(__file__).parent / "results" / "agreement.md"
BATCH = 512
SETS = {
    "spider_dev_dev": "spider_dev/database",
    "bird_dev_dev": "bird/databases",
    "bird_mini_dev_dev": "bird/databases",
}
# The recorded runs of BIRD's rule seem to have fetched no more; only differing verdicts are tried against it.
RECORDED_ROWS = 5_000
MODES = {"set_ex": "bird", "official": "test_suite"}


@dataclass(frozen=True)
class Item:
    """A gold and a predicted statement, the recorded verdict, and how many candidates share them."""

    source: str
    question: int
    db: str
    gold: str
    predicted: str
    verdict: Any
    count: int


@dataclass(frozen=True)
class Difference:
    """A verdict that is not the recorded one."""

    item: Item
    verdict: Any
    cause: str
    reason: str


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--questions", type=int, help="only so many questions of each set, spread evenly")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds a query may take")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    started = time.perf_counter()
    lines = [
        "| candidates | recorded as | our mode | agree | of | differ |",
        "|---|---|---|--:|--:|--:|",
    ]
    differences: list[tuple[str, Difference]] = []
    queries = 0
    for source, folder in SETS.items():
        path = arguments.data / "candidates" / f"{source}.jsonl.gz"
        if not path.is_file():
            sys.exit(f"`data` should be the data folder, but there is no {path}. Pass its path.")
        questions = _questions(path, arguments.questions)
        # Wide limits: the recorded verdicts were given on whole results.
        with SQLite(
            arguments.data / folder,
            timeout=arguments.timeout, max_rows=2_000_000, max_bytes="512MiB", memory_limit="4GiB",
        ) as executor:  # fmt: skip
            for field, mode in MODES.items():
                items = list(_items(source, questions, field))
                if not items:
                    continue
                found, ran = _differences(items, mode, executor, f"{source} {mode}")
                queries += ran
                total = sum(item.count for item in items)
                wrong = sum(difference.item.count for difference in found)
                share = 100 * (total - wrong) / total
                lines.append(f"| {source} | `{field}` | `{mode}` | {total - wrong:,} | {total:,} | {wrong} |")
                print(f"{source}: {mode} = {field} on {total - wrong:,} of {total:,} ({share:.3f} %)")
                differences += [(mode, difference) for difference in found]
    seconds = time.perf_counter() - started
    report = _report(lines, differences, queries, seconds, arguments)
    print(report)
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(report, encoding="utf-8")
    return 0


def _questions(path: Path, limit: int | None) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        questions = [json.loads(line) for line in lines]
    return questions[:: max(1, len(questions) // limit)] if limit else questions


def _items(source: str, questions: Sequence[dict[str, Any]], field: str) -> Iterator[Item]:
    for question in questions:
        counts: Counter[tuple[str, Any]] = Counter(
            (candidate["sql"], candidate[field])
            for candidate in question["candidates"].values()
            if field in candidate
        )
        for (sql, verdict), count in counts.items():
            yield Item(source, question["idx"], question["db_id"], question["gold"], sql, verdict, count)


def _differences(
    items: Sequence[Item], mode: str, executor: SQLite, title: str
) -> tuple[list[Difference], int]:
    prepare = modes()[mode].prepare
    differences = []
    ran: set[tuple[str, str]] = set()
    golds: dict[tuple[str, str], Execution] = {}
    for start in range(0, len(items), BATCH):
        _progress(title, start, len(items))
        batch = items[start : start + BATCH]
        new = list(dict.fromkeys((i.gold, i.db) for i in batch if (i.gold, i.db) not in golds))
        queries = [Query(prepare(sql), db) for sql, db in new]
        queries += [Query(prepare(item.predicted), item.db) for item in batch]
        ran.update((query.sql, query.db) for query in queries)
        executions = executor.execute_many(queries)
        golds.update(zip(new, executions, strict=False))
        for item, predicted in zip(batch, executions[len(new) :], strict=True):
            gold = golds[item.gold, item.db]
            found = compare(gold, predicted, mode, gold_sql=item.gold, predicted_sql=item.predicted)
            ran_both = gold.ok and predicted.ok
            verdict = "E" if mode == "bird" and not ran_both else int(found.match)
            if verdict != item.verdict:
                cause = _cause(item, gold, predicted, mode)
                differences.append(Difference(item, verdict, cause, found.reason))
    _progress(title, len(items), len(items))
    return differences, len(ran)


def _cause(item: Item, gold: Execution, predicted: Execution, mode: str) -> str:
    """Say why a verdict may differ from the recorded one, from what the executions show."""
    for name, execution in (("gold", gold), ("predicted", predicted)):
        if execution.truncated:
            return f"the {name} result was cut by the row limit here"
        if not execution.ok and item.verdict != "E":
            return f"the {name} statement does not run here ({execution.status.name})"
        if execution.volatile:
            return f"the {name} result is not reproducible ({execution.volatile})"
    if len(predicted.rows) > RECORDED_ROWS:
        rows = f"the predicted result has {len(predicted.rows):,} rows, and the recorded run"
        if item.verdict == "E":
            return f"{rows} seems to have given it up"
        cut = compare(gold, replace(predicted, rows=predicted.rows[:RECORDED_ROWS]), mode, gold_sql=item.gold)
        if int(cut.match) == item.verdict:
            return f"{rows} seems to have looked at {RECORDED_ROWS:,}: over those we agree"
    if item.verdict == "E":
        return "recorded as an error, but both statements run here"
    return "unexplained"


def _progress(title: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        filled = 30 * done // total
        end = "\n" if done == total else ""
        bar = "#" * filled + "." * (30 - filled)
        print(f"\r{title:<36} [{bar}] {done:,}/{total:,}", end=end, file=sys.stderr, flush=True)


def _report(
    lines: Sequence[str],
    differences: Sequence[tuple[str, Difference]],
    queries: int,
    seconds: float,
    arguments: argparse.Namespace,
) -> str:
    sample = f", {arguments.questions} questions of each set" if arguments.questions else ""
    text = [
        "# Agreement with published evaluators",
        "",
        f"`python benchmarks/agreement.py`{sample}, {date.today().isoformat()}. "
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}; {queries:,} distinct statements run, {seconds:.0f} s in all, "
        f"{arguments.timeout:g} s a query at most.",
        "",
        *lines,
        "",
    ]
    if not differences:
        return "\n".join([*text, "No verdict differs.", ""])
    text += ["## Every verdict that differs", ""]
    for mode, difference in differences:
        item = difference.item
        text += [
            f"- **{item.source} {item.question}**, `{item.db}`, {item.count} candidates: recorded "
            f"{item.verdict!r}, `{mode}` says {difference.verdict!r}. "
            f"Cause: {difference.cause}; {difference.reason}.",
        ]
        if not arguments.write:  # other people's SQL is shown, not kept
            text += [
                f"  - {side} `{' '.join(sql.split())}`"
                for side, sql in (("gold", item.gold), ("predicted", item.predicted))
            ]
    return "\n".join([*text, ""])


if __name__ == "__main__":
    raise SystemExit(main())
