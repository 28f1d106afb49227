"""What each mode says of real predictions, beside the official evaluators and beside experts.

    python -m benchmarks.verdicts ../shared/data --write

Candidates are predictions of real systems, each distinct one of a question once. FN: right by the official
evaluator (BIRD's set of rows; Spider's test suite on one database), but 0 under the mode, in per cent of the right
ones that have a value. FP: wrong there, but 1 here. Unscored: questions whose own gold has no value as an answer.

Experts: FLEX prints both results, at most 20 rows of each; prints that are cut are compared as printed, and a side
without rows is wrong. An answer is right by the experts when at least half of their votes say so. ROSE has
statements, run here. Kappa is Cohen's, over answers.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from finer_rewards import Reward, Sample, Score, Scorer, SQLite
from finer_rewards.comparing import compare, find_mode
from finer_rewards.rewards import execution_match
from finer_rewards.types import Evidence

RESULTS = Path(__file__).parent / "results" / "verdicts.md"
MODES = ("answer", "answer_distinct", "strict", "lenient", "bird_train", "spider_train", "bird", "test_suite")
SETS = {
    "BIRD": ("bird_dev_dev", "bird/databases", "set_ex"),
    "Spider": ("spider_dev_dev", "spider_dev/database", "official"),
}
BATCH = 1024
# Everything that any of the modes asks to be observed.
OBSERVED = execution_match(mode="spider_train") + execution_match()


@dataclass(frozen=True)
class Item:
    """One distinct answer to a question, and whether the official evaluator calls it right."""

    sample: Sample
    right: bool


def items(data: Path, name: str) -> list[Item]:
    """Return the distinct answers of a set of candidates. Those whose evaluator raised are wrong answers."""
    source, _, field = SETS[name]
    found: dict[tuple[int, str], Item] = {}
    with gzip.open(data / "candidates" / f"{source}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            row = json.loads(line)
            for one in row["candidates"].values():
                sample = Sample(one["sql"], row["gold"], row["db_id"], row["question"])
                found.setdefault((number, one["sql"]), Item(sample, one[field] == 1))
    return list(found.values())


def golds(data: Path, name: str) -> list[Sample]:
    """Return every question with its own gold as the answer."""
    with gzip.open(data / "candidates" / f"{SETS[name][0]}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = list(map(json.loads, lines))
    return [Sample(row["gold"], row["gold"], row["db_id"], row["question"]) for row in rows]


def observed(scorer: Scorer, samples: Sequence[Sample]) -> Iterator[Evidence]:
    """Run samples, some at a time."""
    for start in range(0, len(samples), BATCH):
        yield from scorer.observe(samples[start : start + BATCH])
        print(f"\r{min(start + BATCH, len(samples)):,} of {len(samples):,}", end="", file=sys.stderr)
    print(file=sys.stderr)


def rewards() -> dict[str, Reward]:
    """Return execution match under every mode in the table."""
    return {name: execution_match(mode=name) for name in MODES}


@dataclass
class Counts:
    """What became of the answers under one mode."""

    right: int = 0
    wrong: int = 0
    refused: int = 0
    paid: int = 0
    unscored: int = 0

    def add(self, right: bool, value: float | None) -> None:
        """Count one answer."""
        if value is None:
            self.unscored += 1
        elif right:
            self.right += 1
            self.refused += value == 0
        else:
            self.wrong += 1
            self.paid += value == 1

    def __str__(self) -> str:
        return f"{100 * self.refused / max(1, self.right):.2f} / {100 * self.paid / max(1, self.wrong):.2f}"


@dataclass(frozen=True)
class Left:
    """An answer that a mode judges otherwise than the official evaluator, and what the mode says."""

    set: str
    mode: str
    item: Item
    score: Score


def measure(data: Path, name: str, limit: int | None) -> tuple[dict[str, Counts], dict[str, int], list[Left]]:
    """Return the counts and the unscored golds by mode, and what is left."""
    counts = {mode: Counts() for mode in MODES}
    unscored = dict.fromkeys(MODES, 0)
    left = []
    some, own = items(data, name)[:limit], golds(data, name)
    with Scorer(OBSERVED, SQLite(data / SETS[name][1], timeout=10), parse=as_it_is) as scorer:
        for item, evidence in zip(some, observed(scorer, [one.sample for one in some]), strict=True):
            for mode, reward in rewards().items():
                score = reward(evidence)
                counts[mode].add(item.right, score.value)
                if score.value is not None and (score.value == 1) != item.right:
                    left.append(Left(name, mode, item, score))
        for evidence in observed(scorer, own):
            for mode, reward in rewards().items():
                unscored[mode] += reward(evidence).value is None
    return counts, unscored, left


def as_it_is(text: str) -> Any:
    """Read a completion that is SQL and nothing else."""
    from finer_rewards.types import Answer

    return Answer(None, text)


def kappa(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Return Cohen's kappa: agreement beyond chance."""
    agree = sum(a == b for a, b in pairs) / len(pairs)
    ours, theirs = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
    chance = ours * theirs + (1 - ours) * (1 - theirs)
    return (agree - chance) / (1 - chance)


def flex(data: Path, mode: str) -> list[tuple[bool, bool]]:
    """Return for each answer of FLEX the verdict of a mode over the printed results, and that of the experts."""
    how = find_mode(mode)
    pairs = []
    with (data / "human" / "flex.jsonl").open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            sides = [[tuple(map(printed, cells)) for cells in row[side] or ()] for side in SIDES]
            match = (
                (all(sides) and row["gold_shape"] == row["predicted_shape"])
                or one_of_best(row, how.one_of_best)
            ) and compare(*sides, how, gold_sql=row["gold"], predicted_sql=row["predicted"]).match
            pairs.append((bool(match), row["experts"] >= 0.5))
    return pairs


SIDES = ("gold_rows", "predicted_rows")


def one_of_best(row: dict[str, Any], most: int) -> bool:
    """True where both results are printed whole, so that their numbers of rows may differ."""
    return all(
        row[side] and row[shape] and row[shape][0] == len(row[side])
        for side, shape in zip(SIDES, SHAPES, strict=True)
    )


SHAPES = ("gold_shape", "predicted_shape")


def printed(cell: str) -> str | float | None:
    """Return what a printed cell stands for."""
    if cell == "None":
        return None
    try:
        return float(cell) if "." in cell else cell
    except ValueError:
        return cell


def rose(data: Path) -> dict[str, list[tuple[bool, bool]]]:
    """Return for each answer of ROSE on superhero the verdicts of every mode, and that of the experts."""
    with (data / "human" / "rose_superhero.jsonl").open(encoding="utf-8") as lines:
        rows = list(map(json.loads, lines))
    samples = [Sample(row["predicted"], row["gold"], row["db"]) for row in rows]
    pairs: dict[str, list[tuple[bool, bool]]] = {mode: [] for mode in MODES}
    with Scorer(OBSERVED, SQLite(data / "bird/databases", timeout=10), parse=as_it_is) as scorer:
        for row, evidence in zip(rows, scorer.observe(samples), strict=True):
            for mode, reward in rewards().items():
                value = reward(evidence).value
                if value is not None:
                    pairs[mode].append((value == 1, sum(row["votes"]) * 2 >= len(row["votes"])))
    return pairs


def hacks(data: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Return by mode the attacks that are paid: on the database given, and on that and its other instance."""
    rows = []
    for name in ("hacks.jsonl", "hacks_2026-11-30.jsonl"):
        with (data / "hacks" / name).open(encoding="utf-8") as lines:
            rows += [json.loads(line) for line in lines]
    rows = [row for row in rows if "execution_must_be_0" in (row["expect"], *row.get("also", ()))]
    paid: dict[str, tuple[list[str], list[str]]] = {mode: ([], []) for mode in MODES}
    with tempfile.TemporaryDirectory() as folder, Scorer(OBSERVED, SQLite(timeout=2, workers=2)) as scorer:
        for row in rows:
            dbs = tuple(
                built(Path(folder), row[script])
                for script in ("schema_sql", "alt_schema_sql")
                if row.get(script)
            )
            sample = Sample(row["completion"], row["gold_sql"] or "", dbs[0], row["question"])
            for place, one in enumerate((sample, replace(sample, db=dbs))):
                (evidence,) = scorer.observe([one])
                for mode, reward in rewards().items():
                    if reward(evidence).value == 1:
                        paid[mode][place].append(row["id"])
    return paid


def built(folder: Path, script: str) -> str:
    """Return the database that a script makes."""
    path = folder / f"{sha256(script.encode()).hexdigest()[:12]}.sqlite"
    if not path.exists():
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript("PRAGMA synchronous = OFF;" + script)
    return str(path)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/verdicts.md")
    parser.add_argument("--limit", type=int, help="look at so many answers of each set only")
    parser.add_argument("--show", metavar="MODE", help="print every answer that this mode judges otherwise")
    arguments = parser.parse_args(argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
