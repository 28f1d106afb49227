"""How many golds written for SQLite mean the same on another engine, once translated.

    python -m benchmarks.transpiled_golds ../shared/data [--write]

Spider's and BIRD's golds are translated as `finer-rewards prepare --engine duckdb` does and run there on copies of the
same data; the result is held against SQLite's as `strict` compares. The guesses were written down before the first
run, which had sqlglot's translation alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

import finer_rewards as fr
from finer_rewards.datasets.translating import Translation, translate_golds

RESULTS = Path(__file__).parent / "results" / "transpiled_golds.md"
# Shares of all golds that were guessed to be kept, to fail and to mean something else.
GUESSES = {"Spider dev": (75, 22, 3), "Spider train": (80, 17, 3), "BIRD": (85, 10, 5)}
CAUSES = {
    "a column that is neither grouped nor aggregated": r"must appear in the GROUP BY|GROUP BY clause",
    "text and number compared or joined": r"Cannot compare|Could not convert|Conversion Error|cast|No function matches",
    "a name that is not there": r"not found|does not exist|Referenced",
    "another": r"",
}


def main() -> int:
    """Translate, run, count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    lines = [
        "# Golds translated from SQLite to DuckDB",
        "",
        f"`python -m benchmarks.transpiled_golds ../shared/data --write`, {date.today()}. {platform.machine()}, Python "
        f"{platform.python_version()}, sqlglot {version('sqlglot')}, DuckDB {version('duckdb')}.",
        "",
        "| golds | of | kept | do not run | mean something else | guess: kept, not run, else |",
        "|---|--:|--:|--:|--:|---|",
    ]
    details: list[str] = []
    for name, root, golds in _sets(arguments.data):
        with fr.SQLite(root) as source, fr.DuckDB(root) as target:
            found = translate_golds(golds, source, target)
        counts = Counter(one.problem for one in found)
        share = {
            kind: f"{counts[kind]} ({100 * counts[kind] / len(found):.1f} %)"
            for kind in ("", "untranslated", "means_else")
        }
        guess = " / ".join(f"{part} %" for part in GUESSES[name])
        lines.append(
            f"| {name} | {len(found)} | {share['']} | {share['untranslated']} | {share['means_else']} | {guess} |"
        )
        details += _details(name, found)
    text = (
        "\n".join([*lines, "", "Why they do not run, and each one that means something else:", "", *details])
        + "\n"
    )
    print(text)
    if arguments.write:
        RESULTS.write_text(text, encoding="utf-8")
    return 0


def _sets(data: Path) -> Iterator[tuple[str, Path, list[tuple[str, str]]]]:
    questions = data / "questions"
    for name, file, folder in (
        ("Spider dev", "spider_dev.json", "spider_dev/database"),
        ("BIRD", "bird_dev.json", "bird/databases"),
    ):
        records = json.loads((questions / file).read_text(encoding="utf-8"))
        golds = [(one.get("query") or one.get("SQL") or one["gold"], one["db_id"]) for one in records]
        yield name, data / folder, _there(golds, data / folder)
    pairs = [
        line.split("\t")
        for line in (questions / "spider_train_gold.sql").read_text(encoding="utf-8").splitlines()
    ]
    root = data / "spider_train/database"
    yield "Spider train", root, _there([(pair[0], pair[1].strip()) for pair in pairs if len(pair) == 2], root)


def _there(golds: list[tuple[str, str]], root: Path) -> list[tuple[str, str]]:
    """Return the distinct golds whose database is in the folder."""
    return [(sql, db) for sql, db in dict.fromkeys(golds) if (root / db / f"{db}.sqlite").exists()]


def _details(name: str, found: list[Translation]) -> list[str]:
    causes: Counter[str] = Counter()
    for one in found:
        if one.problem == "untranslated":
            causes[next(cause for cause, pattern in CAUSES.items() if re.search(pattern, one.reason))] += 1
    lines = [f"- {name}: " + "; ".join(f"{count} {cause}" for cause, count in causes.most_common())]
    lines += [
        f"    - `{' '.join(one.sql.split())[:160]}`: {one.reason[:160]}"
        for one in found
        if one.problem == "means_else"
    ]
    return lines


if __name__ == "__main__":
    sys.exit(main())
