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
import platform
import re
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from functools import reduce
from hashlib import sha256
from operator import add
from pathlib import Path
from typing import Any

from finer_rewards import Reward, Sample, Score, Scorer, SQLite
from finer_rewards.comparing import compare, find_mode
from finer_rewards.rewards import execution_match
from finer_rewards.types import Evidence

RESULTS = Path(__file__).parent / "results" / "verdicts.md"
MODES = ("answer", "answer_distinct", "strict", "lenient", "bird_train", "spider_train", "bird", "test_suite")
SETS = {
    "BIRD": (("bird_dev_dev", "bird_mini_dev_dev"), "bird/databases", "set_ex"),
    "Spider": (("spider_dev_dev",), "spider_dev/database", "official"),
}
BATCH = 1024
RULE = (
    "The rule of choice, written before the table was filled: `answer` is the default unless another mode that accepts "
    "no extra columns refuses fewer right answers of both benchmarks, pays no more of the wrong ones, and agrees at "
    "least as well with experts."
)
# Everything that any of the modes asks to be observed.
OBSERVED = reduce(add, (execution_match(mode=name) for name in MODES))


@dataclass(frozen=True)
class Item:
    """One distinct answer to a question, and whether the official evaluator calls it right."""

    sample: Sample
    right: bool


def questions(data: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield every question of a set."""
    for source in SETS[name][0]:
        with gzip.open(data / "candidates" / f"{source}.jsonl.gz", "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def items(data: Path, name: str) -> list[Item]:
    """Return the distinct answers of a set of candidates. Those whose evaluator raised are wrong answers."""
    field = SETS[name][2]
    found: dict[tuple[str, str, str], Item] = {}
    for row in questions(data, name):
        for one in row["candidates"].values():
            sample = Sample(one["sql"], row["gold"], row["db_id"], row["question"])
            key = (row["question"], row["gold"], one["sql"])
            found.setdefault(key, Item(sample, one[field] == 1))
    return list(found.values())


def golds(data: Path, name: str) -> list[Sample]:
    """Return every question with its own gold as the answer."""
    rows = questions(data, name)
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


@dataclass
class Found:
    """What a set of candidates came to, by mode: alone, and with neighbours."""

    name: str
    answers: int
    questions: int
    alone: dict[str, Counts]
    beside: dict[str, Counts]
    unscored: dict[str, tuple[int, int]]
    left: list[Left]


def measure(data: Path, name: str, limit: int | None, neighbours: int) -> Found:
    """Return what the answers of a set and its golds come to."""
    some, own = items(data, name)[:limit], golds(data, name)[:limit]
    found = Found(
        name, len(some), len(own), {m: Counts() for m in MODES}, {m: Counts() for m in MODES}, {}, []
    )
    executor = SQLite(data / SETS[name][1], timeout=10)
    with Scorer(OBSERVED, executor, parse=as_it_is, neighbours=neighbours) as scorer:
        for item, evidence in zip(some, observed(scorer, [one.sample for one in some]), strict=True):
            alone = replace(evidence, neighbours=None)
            for mode, reward in rewards().items():
                score = reward(alone)
                found.alone[mode].add(item.right, score.value)
                found.beside[mode].add(item.right, reward(evidence).value)
                if score.value is not None and (score.value == 1) != item.right:
                    found.left.append(Left(name, mode, item, score))
        without = dict.fromkeys(MODES, 0)
        with_them = dict.fromkeys(MODES, 0)
        for evidence in observed(scorer, own):
            alone = replace(evidence, neighbours=None)
            for mode, reward in rewards().items():
                without[mode] += reward(alone).value is None
                with_them[mode] += reward(evidence).value is None
        found.unscored = {mode: (without[mode], with_them[mode]) for mode in MODES}
    return found


def as_it_is(text: str) -> Any:
    """Read a completion that is SQL and nothing else."""
    from finer_rewards.types import Answer

    return Answer(None, text)


def kappa(pairs: Sequence[tuple[bool, bool]]) -> float:
    """Return Cohen's kappa: agreement beyond chance."""
    agree = sum(a == b for a, b in pairs) / len(pairs)
    ours, theirs = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
    chance = ours * theirs + (1 - ours) * (1 - theirs)
    return float((agree - chance) / (1 - chance))


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
            ) and compare(sides[0], sides[1], how, gold_sql=row["gold"], predicted_sql=row["predicted"]).match
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
    with Scorer(
        OBSERVED, SQLite(data / "bird/databases", timeout=10), parse=as_it_is, neighbours=0
    ) as scorer:
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
    with (
        tempfile.TemporaryDirectory() as folder,
        Scorer(OBSERVED, SQLite(timeout=2, workers=2), neighbours=0) as scorer,
    ):
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


def report(
    found: Sequence[Found],
    experts: dict[str, tuple[float, float]],
    paid: dict[str, tuple[list[str], list[str]]],
    neighbours: int,
) -> str:
    """Return the page."""
    sets = " | ".join(
        f"{one.name} FN / FP % | {one.name} with neighbours | {one.name} golds unscored" for one in found
    )
    lines = [
        "# Verdicts",
        "",
        *(__doc__ or "").split("\n\n", 2)[2].rstrip().splitlines(),
        "",
        f"{platform.machine()}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{date.today()}; at most {neighbours} neighbours. "
        + " ".join(f"{one.name}: {one.answers:,} answers to {one.questions} questions." for one in found),
        "",
        RULE,
        "",
        f"| mode | {sets} | FLEX kappa | ROSE kappa | attacks paid: one, two databases |",
        "|---" * (4 + 3 * len(found)) + "|",
    ]
    for mode in MODES:
        cells = []
        for one in found:
            without, with_them = one.unscored[mode]
            cells += [str(one.alone[mode]), str(one.beside[mode]), f"{without}, with neighbours {with_them}"]
        one_db, both = paid[mode]
        numbers = f"{experts[mode][0]:.3f} | {experts[mode][1]:.3f} | {len(one_db)}, {len(both)}"
        lines.append(f"| `{mode}` | {' | '.join(cells)} | {numbers} |")
    lines += ["", "## Attacks paid with two databases", ""]
    lines += [f"- `{mode}`: {', '.join(paid[mode][1]) or 'none'}" for mode in MODES]
    lines += [
        "",
        "## What is left",
        "",
        "Answers judged otherwise than by the official evaluator, alone:",
        "",
    ]
    for one in found:
        for mode in ("answer", "bird_train" if one.name == "BIRD" else "spider_train"):
            causes = Counter(
                ("refused" if left.item.right else "paid", cause(left))
                for left in one.left
                if left.mode == mode
            )
            shown = "; ".join(f"{count} {side}: {why}" for (side, why), count in causes.most_common())
            lines.append(f"- {one.name}, `{mode}`: {shown or 'nothing'}.")
    return "\n".join(lines) + "\n"


def cause(left: Left) -> str:
    """Return the cause of a verdict as a short text: its reason without numbers and names."""
    reason = re.sub(r"\(.*?\)|'.*?'", "", left.score.reason)
    return re.sub(r"\s+", " ", re.sub(r"\d[\d,]*", "N", reason)).strip()[:90]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/verdicts.md")
    parser.add_argument("--limit", type=int, help="look at so many answers of each set only")
    parser.add_argument("--neighbours", type=int, default=4, help="neighbours a gold (4)")
    parser.add_argument("--left", type=Path, help="write every answer judged otherwise here, as JSON lines")
    arguments = parser.parse_args(argv)
    data = arguments.data
    found = [measure(data, name, arguments.limit, arguments.neighbours) for name in SETS]
    voted = rose(data)
    experts = {mode: (kappa(flex(data, mode)), kappa(voted[mode])) for mode in MODES}
    page = report(found, experts, hacks(data), arguments.neighbours)
    print(page)
    if arguments.left:
        with arguments.left.open("w", encoding="utf-8") as file:
            for left in (left for one in found for left in one.left):
                sample = left.item.sample
                record = {
                    "set": left.set, "mode": left.mode, "right": left.item.right, "reason": left.score.reason,
                    "db": sample.db, "gold": sample.gold, "predicted": sample.completion,
                }  # fmt: skip
                file.write(json.dumps(record) + "\n")
    if arguments.write:
        RESULTS.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
