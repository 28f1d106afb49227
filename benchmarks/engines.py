"""Do the engines agree? Spider's candidates on SQLite, and on copies of the same databases in DuckDB.

Every distinct statement is written for the other engine by sqlglot, run there on a copy of the same rows, and
judged against its gold (written the same way) by the mode `strict`. Counted are the statements that run, and
among the pairs that both engines can judge, those with the same verdict; the others are listed by cause.

    python benchmarks/engines.py ../shared/data --questions 150 --write
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import re
import sqlite3
from collections import Counter
from datetime import date
from importlib.metadata import version
from pathlib import Path

import sqlglot

import finer_rewards as fr
from finer_rewards import rewards as r

RESULTS = Path(__file__).parent / "results" / "engines.md"
#: The first that fits names the cause; of DuckDB's own messages and the results, not of cases.
CAUSES = (
    (
        "types do not mix: a number and a text",
        r"Cannot compare values of type|Could not convert string|Cannot mix",
    ),
    ("a column neither grouped nor aggregated", r"must appear in the GROUP BY"),
    ("no such function, or not for these types", r"No function matches|does not exist!|Function"),
    ("a name is unknown or ambiguous", r"not found|Ambiguous|does not have"),
    ("syntax", r"Parser Error|syntax"),
)


def read(data: Path, most: int) -> list[tuple[str, str, str]]:
    """Return (database, gold, predicted), each once, of every n-th question."""
    with gzip.open(data / "candidates" / "spider_dev_dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    folder = data / "spider_dev" / "database"
    records = [record for record in records if (folder / record["db_id"]).is_dir()]
    chosen = records[:: max(1, len(records) // most)][:most]
    return list(
        dict.fromkeys(
            (record["db_id"], record["gold"], candidate["sql"])
            for record in chosen
            for candidate in record["candidates"].values()
        )
    )


def translated(sql: str) -> str:
    """Return the statement in DuckDB's words; itself when it cannot be read."""
    try:
        return sqlglot.transpile(sql, read="sqlite", write="duckdb")[0]
    except (sqlglot.errors.SqlglotError, IndexError):
        return sql


def cause(run: fr.Execution) -> str:
    return next((name for name, words in CAUSES if re.search(words, run.error)), run.status.sentence)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--questions", type=int, default=150)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    pairs = read(arguments.data, arguments.questions)
    root = arguments.data / "spider_dev" / "database"
    words = {sql: translated(sql) for pair in pairs for sql in pair[1:]}
    with fr.Scorer(r.execution_match(), fr.SQLite(root, timeout=10)) as sqlite:
        ours = sqlite.observe([fr.Sample(one, gold=gold, db=db) for db, gold, one in pairs])
    with fr.Scorer(r.execution_match(), fr.DuckDB(root, timeout=10)) as duckdb:
        theirs = duckdb.observe([fr.Sample(words[one], gold=words[gold], db=db) for db, gold, one in pairs])
    ran, failed, verdicts, differing = 0, Counter[str](), Counter[str](), []
    for pair, one, other in zip(pairs, ours, theirs, strict=True):
        assert one.predicted and other.predicted and one.gold and other.gold
        if one.predicted.ok:
            ran += other.predicted.ok
            if not other.predicted.ok:
                failed[cause(other.predicted)] += 1
        if not (one.predicted.ok and other.predicted.ok and one.gold.ok and other.gold.ok):
            continue
        values = sqlite.reward(one).value, duckdb.reward(other).value
        verdicts["masked" if None in values else "same" if values[0] == values[1] else "other"] += 1
        if None not in values and values[0] != values[1]:
            differing.append((pair, values))
    runs = sum(one.predicted is not None and one.predicted.ok for one in ours)
    judged = verdicts["same"] + verdicts["other"]
    agree = f"{verdicts['same']} ({verdicts['same'] / max(judged, 1):.2%})"
    lines = [
        f"# SQLite and DuckDB, {date.today().isoformat()}",
        "",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, sqlglot {version('sqlglot')}, "
        f"DuckDB {duckdb.executor.describe()['version'] if duckdb.executor else ''}; {arguments.questions} questions "
        f"of Spider's dev split, {len(pairs)} distinct pairs of gold and candidate.",
        "",
        f"- candidates that run on SQLite: {runs}; of these on DuckDB too: {ran} ({ran / max(runs, 1):.1%})",
        f"- pairs that both judge: {judged}; same verdict: {agree}",
        f"- pairs with a gold that one of them leaves unscored: {verdicts['masked']}",
        "",
        "| why DuckDB does not run what SQLite runs | candidates |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in failed.most_common()),
        "",
        f"Other verdicts: {len(differing)}, on {len({pair[:2] for pair, _ in differing})} golds.",
    ]
    print("\n".join(lines))
    for (db, gold, text), values in differing:
        print(f"  {db} SQLite {values[0]:g} DuckDB {values[1]:g}\n    {gold}\n    {text}")
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
