"""How well the operations tell equivalent from different queries, and right from wrong candidates.

    python benchmarks/operations.py [--sample N] [--write] [--data DIR]

Prints one table, and with `--write` keeps it in `benchmarks/results/operations.md`. The data are those of
`../shared/data` (or FINER_REWARDS_DATA, or `--data`); nothing of them is kept.

The published algorithm (FINER-SQL, `atomic_ops`) is `finer_rewards.operations.published`, faults included.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import sqlglot

import finer_rewards.operations as package
from finer_rewards._util.sqlglot_log import quiet_sqlglot
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.errors import ConfigError
from finer_rewards.operations import Operations, OperationsError, operation_f1, published, sql_operations
from finer_rewards.schema import Schema, schema_from_ddl

RESULTS = Path(__file__).parent / "results" / "operations.md"
Scorer = Callable[[str, str, Schema | None, str], float]


def schema_of(path: Path) -> Schema:
    """Return the schema of a SQLite file."""
    with SQLite() as executor:
        return executor.schema(str(path))


# The published algorithm --------------------------------------------------------------------------


def published_score(predicted: str, gold: str, schema: Schema | None, dialect: str) -> float:
    """Return the published Jaccard similarity; 0 where neither can be read."""
    return published.published_score(predicted, (gold,), dialect)


# Ours ---------------------------------------------------------------------------------------------


def operations(sql: str, schema: Schema | None, dialect: str) -> Operations | None:
    """Return the operations, or `None` for what cannot be read."""
    try:
        return sql_operations(sql, schema=schema, dialect=dialect)
    except (OperationsError, ConfigError):
        return None


def our_score(predicted: str, gold: str, schema: Schema | None, dialect: str) -> float:
    """Return the F1 of the operations; 0 for what cannot be read."""
    ours, theirs = operations(predicted, schema, dialect), operations(gold, schema, dialect)
    return operation_f1(ours, theirs) if ours is not None and theirs is not None else 0.0


SCORERS: dict[str, Scorer] = {"published": published_score, "ours": our_score}


# Measures -----------------------------------------------------------------------------------------


def auc(right: list[float], wrong: list[float]) -> float:
    """Return the chance that a right one scores above a wrong one, ties half."""
    if not right or not wrong:
        return float("nan")
    ordered = sorted(wrong)
    total = sum(bisect_left(ordered, one) + bisect_right(ordered, one) for one in right)
    return total / (2 * len(right) * len(ordered))


def share(scores: list[float]) -> float:
    """Return the share that is exactly 1."""
    return sum(one == 1.0 for one in scores) / len(scores) if scores else float("nan")


class Report:
    """Lines of the table, printed as they come."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def row(self, *cells: object) -> None:
        """Add a row."""
        text = "| " + " | ".join(f"{one:.4f}" if isinstance(one, float) else str(one) for one in cells) + " |"
        self.lines.append(text)
        print(text, flush=True)


def load_schema(ddl: str, dialect: str, known: dict[tuple[str, str], Schema | None]) -> Schema | None:
    """Return the schema a pair comes with; `None` where its DDL cannot be read."""
    key = ddl, dialect
    if key not in known:
        try:
            known[key] = schema_from_ddl(ddl, dialect) if ddl else None
        except ConfigError:
            known[key] = None
    return known[key]


def pairs(data: Path, family: str, sample: int, report: Report) -> dict[str, dict[bool, list[float]]]:
    """Score one family of labelled pairs."""
    rows = [json.loads(line) for line in (data / "equivalence" / f"{family}.jsonl").read_text().splitlines()]
    if sample and len(rows) > sample:
        rows = random.Random(0).sample(rows, sample)
    known: dict[tuple[str, str], Schema | None] = {}
    scores: dict[str, dict[bool, list[float]]] = {}
    for name, scorer in SCORERS.items():
        found: dict[bool, list[float]] = {True: [], False: []}
        for row in rows:
            dialect = row["dialect"].split(",")[0]
            schema = load_schema(row["schema"], dialect, known)
            with quiet_sqlglot():
                value = scorer(row["sql_a"], row["sql_b"], schema, dialect)
            found[row["label"] == "equivalent"].append(value)
        scores[name] = found
    for what, labels in (
        ("equivalent scored exactly 1", (True,)),
        ("not equivalent scored exactly 1", (False,)),
        ("AUC equivalent vs not", (True, False)),
    ):
        if not all(scores["ours"][label] for label in labels):
            continue
        count = f"{len(scores['ours'][True])} / {len(scores['ours'][False])}"
        values = [
            share(found[labels[0]]) if len(labels) == 1 else auc(found[True], found[False])
            for found in (scores["published"], scores["ours"])
        ]
        report.row(f"{family}: {what}", count, *values)
    return scores


def plain(sql: str) -> str:
    """Return a text by which copies of the gold are left out."""
    return " ".join(sql.lower().replace(";", " ").split())


def candidates(data: Path, name: str, databases: Path, sample: int, report: Report) -> None:
    """Rank the candidates of each question; and look at the variance of groups."""
    with gzip.open(data / "candidates" / f"{name}.jsonl.gz", mode="rt") as lines:
        questions = [json.loads(line) for line in lines]
    if sample and len(questions) > sample:
        questions = random.Random(0).sample(questions, sample)
    schemas: dict[str, Schema] = {}
    failed = 0
    scores: dict[str, dict[tuple[int, str], float]] = {scorer: {} for scorer in SCORERS}
    for place, question in enumerate(questions):
        schema = schemas.get(question["db_id"]) or schemas.setdefault(
            question["db_id"], schema_of(next((databases / question["db_id"]).glob("*.sqlite")))
        )
        verdicts = {one["sql"]: one["set_ex"] for one in question["candidates"].values()}
        failed += operations(question["gold"], schema, "sqlite") is None
        for sql, verdict in verdicts.items():
            failed += verdict != "E" and operations(sql, schema, "sqlite") is None
            for scorer, score in SCORERS.items():
                scores[scorer][place, sql] = score(sql, question["gold"], schema, "sqlite")
    distinct = len(scores["ours"])
    for verdict in ("official", "set_ex"):
        if not all(verdict in one for question in questions for one in question["candidates"].values()):
            continue
        areas: dict[str, list[float]] = {scorer: [] for scorer in SCORERS}
        for place, question in enumerate(questions):
            judged = [
                (one["sql"], one[verdict] == 1)
                for one in question["candidates"].values()
                if plain(one["sql"]) != plain(question["gold"])
            ]
            for scorer in SCORERS:
                right = [scores[scorer][place, sql] for sql, good in judged if good]
                wrong = [scores[scorer][place, sql] for sql, good in judged if not good]
                if right and wrong:
                    areas[scorer].append(auc(right, wrong))
        mean = {scorer: sum(found) / len(found) for scorer, found in areas.items()}
        report.row(
            f"{name}: within-question AUC, right vs wrong ({verdict})",
            f"{len(areas['ours'])} questions",
            mean["published"],
            mean["ours"],
        )
    report.row(f"{name}: not read although SQLite runs it", f"{distinct} texts", "", failed)
    _variance(questions, scores["ours"], name, report)


def _variance(
    questions: list[dict[str, Any]], score: dict[tuple[int, str], float], name: str, report: Report
) -> None:
    """Count GRPO groups whose rewards are all equal: execution match alone, and with the operations.

    Groups of one text, and groups where every candidate is right, have nothing to tell apart and are left out.
    """
    rng = random.Random(1)
    total = flat = still = 0
    for place, question in enumerate(questions):
        pool = list(question["candidates"].values())
        for size in (8, 16, 32):
            group = [rng.choice(pool) for _ in range(size)]
            if len({plain(one["sql"]) for one in group}) == 1 or all(one["set_ex"] == 1 for one in group):
                continue
            total += 1
            flat += len({one["set_ex"] == 1 for one in group}) == 1
            still += len({(one["set_ex"] == 1, score[place, one["sql"]]) for one in group}) == 1
    report.row(f"{name}: groups of zero variance, execution alone", f"{total} groups", "", flat / total)
    report.row(f"{name}: groups of zero variance, with operations", f"{total} groups", "", still / total)


def timing(data: Path, count: int, report: Report) -> None:
    """Time both algorithms on the same pairs, cold and (ours) cached."""
    with gzip.open(data / "candidates" / "spider_dev_dev.jsonl.gz", "rt") as lines:
        questions = [json.loads(line) for line in lines]
    texts = [(one["sql"], question) for question in questions for one in question["candidates"].values()]
    chosen = random.Random(2).sample(sorted({(sql, q["gold"], q["db_id"]) for sql, q in texts}), count)
    databases = data / "spider_dev" / "database"
    schemas = {db: schema_of(databases / db / f"{db}.sqlite") for db in {db for _, _, db in chosen}}

    def spend(scorer: Scorer, predicted: str, gold: str, db: str) -> float:
        start = time.process_time()
        scorer(predicted, gold, schemas[db], "sqlite")
        return (time.process_time() - start) / count * 1000

    def forget() -> None:
        package._operations.clear()

    # Every pair by both in turn, so that what else the machine does falls on both alike; of five rounds the fastest.
    rounds = []
    for turn in range(5):
        spent = [0.0] * 4
        for number, (sql, gold, db) in enumerate(chosen):
            # A comment makes a text new, but what it says may be known: so what is known is forgotten.
            mark = f" -- {turn} {number}"
            spent[0] += spend(published_score, sql + mark, gold + mark, db)
            forget()
            spent[1] += spend(our_score, sql + mark, gold + mark, db)
            forget()
            operations(gold + mark, schemas[db], "sqlite")
            spent[2] += spend(our_score, sql + mark, gold + mark, db)
            spent[3] += spend(our_score, sql + mark, gold + mark, db)
        rounds.append(spent)
    published, cold, shared, cached = min(rounds, key=sum)
    report.row("ms a pair, both texts new", f"{count} pairs", published, cold)
    report.row(
        "ms a pair, prediction new, gold seen before (as in a GRPO group)",
        f"{count} pairs",
        published,
        shared,
    )
    report.row("ms a pair, both seen before", f"{count} pairs", published, cached)


def main() -> None:
    default = os.environ.get("FINER_REWARDS_DATA") or Path(__file__).parents[1].parent / "shared" / "data"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sample", type=int, default=0, metavar="N", help="at most N pairs or questions a set; 0: all"
    )
    parser.add_argument("--write", action="store_true", help=f"keep the table in {RESULTS.name}")
    parser.add_argument("--data", type=Path, default=Path(default))
    options = parser.parse_args()
    report = Report()
    report.row("measure", "n", "published", "ours")
    report.row("---", "---", "---", "---")
    timing(options.data, 400, report)
    families = ("text_to_sql", "spider_mutants", "generator_made", "optimiser_rules", "literature")
    scores = {family: pairs(options.data, family, options.sample, report) for family in families}
    near = {name: scores["spider_mutants"][name][False] for name in SCORERS}
    made = {name: scores["generator_made"][name][True] for name in SCORERS}
    areas = {name: auc(made[name], near[name]) for name in SCORERS}
    report.row(
        "generator_made equivalent vs mutants: AUC",
        f"{len(made['ours'])} / {len(near['ours'])}",
        *areas.values(),
    )
    candidates(
        options.data, "spider_dev_dev", options.data / "spider_dev" / "database", options.sample, report
    )
    for name in ("bird_dev_dev", "bird_mini_dev_dev"):
        candidates(options.data, name, options.data / "bird" / "databases", options.sample, report)
    if options.write:
        versions = f"Python {platform.python_version()}, sqlglot {vars(sqlglot)['__version__']}"
        machine = f"{platform.machine()}, {os.cpu_count()} cores, {versions}"
        head = [
            "# Operations",
            "",
            f"{date.today().isoformat()}; {machine}; sample: {options.sample or 'all'}.",
            "Made by `benchmarks/operations.py`;",
            "`n` of pairs is equivalent / not. Column order counts: `SELECT b, a` is not `SELECT a, b`.",
            "",
        ]
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text("\n".join([*head, *report.lines]) + "\n")


if __name__ == "__main__":
    main()
