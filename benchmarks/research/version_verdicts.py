"""Which verdicts hang on the version of SQLite: every gold and candidate on several, held against the newest.

    python -m benchmarks.research.version_verdicts ../shared/data [--write]

Each version comes as an apsw package into a temporary folder and runs all distinct statements in a process of its
own, each for at most `LIMIT` seconds. A verdict can only flip where a result differs, so only those pairs are
compared, in each mode.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import pickle
import platform
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from finer_rewards import Execution, compare
from finer_rewards.comparing import modes
from finer_rewards.types import Status

RESULTS = Path(__file__).parents[1] / "results" / "version_verdicts.md"
VERSIONS = {
    "3.40.1": "apsw==3.40.1.0",
    "3.44.2": "apsw==3.44.2.0",
    "3.51.1": "apsw==3.51.1.0",
    "3.54.1": "apsw==3.54.1.0",
}
NEWEST = "3.54.1"
LIMIT = 2.0
SETS = {
    "spider_dev_dev": "spider_dev/database",
    "bird_dev_dev": "bird/databases",
    "bird_mini_dev_dev": "bird/databases",
}
MODES = ("strict", "answer", "bird", "test_suite")
# Kinds by what the text does: a query counts in the first that fits.
KINDS = {
    "AVG or SUM": r"\b(avg|sum|total)\s*\(",
    "ROUND or printf": r"\b(round|printf|format)\s*\(",
    "dates": r"\b(date|datetime|julianday|strftime)\s*\(",
    "JSON": r"->|\bjson_",
    "GROUP BY": r"\bgroup\s+by\b",
    "ORDER BY": r"\border\s+by\b",
}

_RUN = r"""
import pickle, sys, time
import apsw
limit = float(sys.argv[1])
answers = []
connections = {}
for path, sql in pickle.load(sys.stdin.buffer):
    if path not in connections:
        connections = {path: apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)}
    connection = connections[path]
    end = time.monotonic() + limit
    setter = getattr(connection, "set_progress_handler", None) or connection.setprogresshandler
    setter(lambda: time.monotonic() > end, 10_000)
    try:
        rows = connection.cursor().execute(sql).fetchmany(10_001) if hasattr(apsw.Cursor, "fetchmany") else None
        if rows is None:
            cursor = connection.cursor().execute(sql)
            rows = [row for _, row in zip(range(10_001), cursor)]
        answers.append((True, rows))
    except apsw.InterruptError:
        answers.append((None, "late"))
    except apsw.Error as error:
        answers.append((False, str(error)))
pickle.dump(answers, sys.stdout.buffer)
"""


class Pair(NamedTuple):
    """A gold and a candidate of it."""

    path: str
    gold: str
    predicted: str


def main() -> int:
    """Run, compare, print or write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    pairs = list(dict.fromkeys(_pairs(arguments.data)))
    golds = {(pair.path, pair.gold) for pair in pairs}
    statements = sorted({*golds, *((pair.path, pair.predicted) for pair in pairs)})
    results = {
        version: dict(zip(statements, _run(package, statements), strict=True))
        for version, package in VERSIONS.items()
    }
    text = _report(pairs, golds, statements, results)
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")
    return 0


def _pairs(data: Path) -> Iterator[Pair]:
    for name, folder in SETS.items():
        with gzip.open(data / "candidates" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                db = record["db_id"]
                path = str(data / folder / db / f"{db}.sqlite")
                for candidate in record["candidates"].values():
                    yield Pair(path, record["gold"], candidate["sql"])


def _run(package: str, statements: list[tuple[str, str]]) -> list[tuple[bool | None, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--root-user-action", "ignore", "--no-deps"]
        subprocess.run([*pip, "--target", folder, package], check=True, stderr=subprocess.DEVNULL)
        run = subprocess.run(
            [sys.executable, "-c", _RUN, str(LIMIT)],
            input=pickle.dumps(statements),
            stdout=subprocess.PIPE,
            check=True,
            env={**os.environ, "PYTHONPATH": folder},
        )
        answers: list[tuple[bool | None, Any]] = pickle.loads(run.stdout)
        return answers


def _report(
    pairs: list[Pair],
    golds: set[tuple[str, str]],
    statements: list[tuple[str, str]],
    results: dict[str, dict[tuple[str, str], tuple[bool | None, Any]]],
) -> str:
    newest = results[NEWEST]
    known = [mode for mode in MODES if mode in modes()]
    lines = [
        "# Verdicts by version of SQLite",
        "",
        f"`python -m benchmarks.research.version_verdicts ../shared/data --write`, {date.today()}. "
        f"{platform.machine()}, Python {platform.python_version()}; {len(statements):,} distinct statements, "
        f"{len(golds):,} golds, {len(pairs):,} pairs; at most {LIMIT:g} s each. "
        f"Everything is held against SQLite {NEWEST}; a query that was late on either is left out.",
        "",
        f"| SQLite | statements with another result | fail here only | fail there only | golds | "
        f"{' | '.join(f'verdicts that flip, `{mode}`' for mode in known)} |",
        f"|---|--:|--:|--:|--:|{'--:|' * len(known)}",
    ]
    kinds: Counter[str] = Counter()
    flipped: list[str] = []
    for version, result in results.items():
        if version == NEWEST:
            continue
        changed = {key for key in statements if _differ(result[key], newest[key])}
        rows = [key for key in changed if result[key][0] and newest[key][0]]
        here = sum(result[key][0] is False for key in changed)
        there = sum(newest[key][0] is False for key in changed)
        if version == next(iter(VERSIONS)):
            kinds.update(_kind(key[1]) for key in rows)
        touched = [
            pair
            for pair in pairs
            if (pair.path, pair.gold) in changed or (pair.path, pair.predicted) in changed
        ]
        flips = []
        for mode in known:
            flip = [pair for pair in touched if _verdict(pair, result, mode) != _verdict(pair, newest, mode)]
            flips.append(str(len(flip)))
            flipped += [
                f"- {version}, `{mode}`: gold `{_line(pair.gold)}`, predicted `{_line(pair.predicted)}`"
                for pair in flip
            ]
        lines.append(
            f"| {version} | {len(rows)} | {here} | {there} | {len(golds & changed)} | {' | '.join(flips)} |"
        )
    lines += [
        "",
        f"What the statements are whose rows differ between {next(iter(VERSIONS))} and {NEWEST}:",
        "",
    ]
    lines += [
        "| kind | statements |",
        "|---|--:|",
        *(f"| {kind} | {count} |" for kind, count in kinds.most_common()),
    ]
    lines += ["", "Verdicts that flip (the first 30):", "", *flipped[:30]]
    return "\n".join(lines) + "\n"


def _differ(one: tuple[bool | None, Any], other: tuple[bool | None, Any]) -> bool:
    if one[0] is None or other[0] is None:
        return False
    return one[0] != other[0] or (bool(one[0]) and repr(one[1]) != repr(other[1]))


def _verdict(pair: Pair, result: dict[tuple[str, str], tuple[bool | None, Any]], mode: str) -> bool | None:
    gold, predicted = result[pair.path, pair.gold], result[pair.path, pair.predicted]
    if not gold[0]:
        return None
    if not predicted[0]:
        return False
    ran_gold, ran = (Execution(Status.ok, rows=tuple(map(tuple, side[1]))) for side in (gold, predicted))
    return compare(ran_gold, ran, mode, gold_sql=pair.gold, predicted_sql=pair.predicted).match


def _kind(sql: str) -> str:
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, sql, re.IGNORECASE)), "other")


def _line(sql: str) -> str:
    return " ".join(sql.split())[:150].replace("`", "'")


if __name__ == "__main__":
    sys.exit(main())
