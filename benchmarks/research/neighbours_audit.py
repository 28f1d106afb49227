"""Would a reader of the question accept what neighbours refuse? 200 refused candidates, drawn by chance and read.

    python -m benchmarks.research.neighbours_audit draw [DATA] -o FILE    what there is to read, a paragraph each
    python -m benchmarks.research.neighbours_audit count [DATA] [--write] the estimate
    python -m benchmarks.research.neighbours_audit wrong [DATA]           how many called wrong match, before and after

Drawn are distinct candidates that the official evaluator (BIRD: set equality) calls right, that match on the database
itself, and that neighbours refuse; in the order of a digest of seed 1201 and their id, at most 5 a question. The
verdicts are lines of results/neighbours_audit.tsv: id, `accept` or `refuse`, why, and the neighbour whose rows refuse
it, as the digests of the database's content and of its own. An id is the set, the question's number and a digest of the
candidate, so that the file holds nothing of other people's. An item stands for as many as there are refused of its
question for each one drawn of it; the interval is the bootstrap's over questions. `--write` notes the neighbours, and
writes the estimate into results/neighbours_audit.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import re
import sqlite3
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

from finer_rewards import Sample, Score, Scorer, SQLite
from finer_rewards._neighbours.suite_store import GENERATOR
from finer_rewards.rewards import execution_match

VERDICTS = Path(__file__).parents[1] / "results" / "neighbours_audit.tsv"
SETS = {"spider": ("spider_dev_dev", "spider_dev/database"), "bird": ("bird_dev_dev", "bird/databases")}
RESULTS = VERDICTS.with_suffix(".md")
DRAWN, A_QUESTION, SEED = 200, 5, 1201
_NEIGHBOUR = re.compile("#neighbour-([0-9a-f]{16}-[0-9a-f]{16})")


@dataclass
class Refused:
    """A candidate called right that neighbours refuse."""

    id: str
    question: str
    text: str
    neighbour: str


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("draw", "count", "wrong"))
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("-o", "--output", type=Path, default=Path("audit.txt"))
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} and the neighbours")
    arguments = parser.parse_args()
    wanted = "wrong" if arguments.what == "wrong" else "right"
    tables, refused = [], []
    for name, (candidates, folder) in SETS.items():
        counts, some = _judged(arguments.data, name, candidates, arguments.data / folder, wanted)
        refused += some
        tables.append((name, counts))
    drawn = _drawn(refused)
    if arguments.what == "draw":
        arguments.output.write_text("\n".join(one.text for one in drawn), encoding="utf-8")
    elif arguments.what == "count":
        lines = _count(drawn, refused, tables, arguments.write)
        print("\n".join(lines))
        if arguments.write:
            RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, counts in tables:
        print(name, dict(counts))
    return 0


def _judged(
    data: Path, name: str, candidates: str, root: Path, wanted: str
) -> tuple[Counter[str], list[Refused]]:
    """Score the candidates of a set with neighbours; return counts, and what they refuse."""
    samples: list[Sample] = []
    notes: list[tuple[dict[str, Any], str]] = []
    with gzip.open(data / "candidates" / f"{candidates}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            question = json.loads(line)
            for sql, one in {one["sql"]: one for one in question["candidates"].values()}.items():
                verdict = "right" if one.get("official", one["set_ex"]) == 1 else "wrong"
                if verdict == wanted:
                    samples.append(Sample(sql, question["gold"], question["db_id"]))
                    notes.append((question, verdict))
    counts = Counter(verdict for _, verdict in notes)
    found: list[Refused] = []
    beside = _scored(samples, root, None)
    # What neighbours refuse, or judge alone because the gold is empty on the database, did not all match there.
    some = [place for place, score in enumerate(beside) if score.value == 1.0 or score.metrics.get("lucky")]
    alone = _scored([samples[place] for place in some], root, 0)
    for place, before in zip(some, alone, strict=True):
        (question, verdict), sample, score = notes[place], samples[place], beside[place]
        counts[f"{verdict}, a match on one database"] += before.value == 1.0
        counts[f"{verdict}, a match there and on neighbours"] += before.value == score.value == 1.0
        counts[f"{verdict}, gold empty, a match on neighbours"] += before.value is None and score.value == 1.0
        if verdict == "right" and before.value == 1.0 != score.value:
            number = question["idx"]
            own = f"{name}-{number}-{sha256(sample.completion.encode()).hexdigest()[:8]}"
            text = (
                f"{own}  {question['db_id']}: {question['question']} {question.get('evidence', '')}\n"
                f"  gold      {question['gold']}\n  predicted {sample.completion}\n  {score.reason}\n"
            )
            where = _NEIGHBOUR.search(score.reason)
            found.append(Refused(own, f"{name}-{number}", text, where[1] if where else ""))
    return counts, found


def _scored(samples: Sequence[Sample], root: Path, neighbours: int | None) -> list[Score]:
    with Scorer(execution_match(), SQLite(root, timeout=5.0, clock="cpu"), neighbours=neighbours) as scorer:
        return [
            score
            for start in range(0, len(samples), 2000)
            for score in scorer.score(samples[start : start + 2000])
        ]


def _drawn(refused: Sequence[Refused]) -> list[Refused]:
    # By a digest and not shuffled: most that were drawn are drawn again when a few more or less are refused.
    rest = sorted(refused, key=lambda one: sha256(f"{SEED}:{one.id}".encode()).digest())
    taken: Counter[str] = Counter()
    found: list[Refused] = []
    for one in rest:
        if taken[one.question] < A_QUESTION and len(found) < DRAWN:
            taken[one.question] += 1
            found.append(one)
    return found


def _count(
    drawn: Sequence[Refused],
    refused: Sequence[Refused],
    tables: Sequence[tuple[str, Counter[str]]],
    write: bool,
) -> list[str]:
    """Return the estimate as a page; also note the neighbours beside the verdicts, if asked to `write`."""
    head, *lines = [line.split("\t") for line in VERDICTS.read_text(encoding="utf-8").splitlines()]
    verdicts = {line[0]: line[1:3] for line in lines}
    missing = [one.id for one in drawn if one.id not in verdicts]
    if missing:
        sys.exit(
            f"{len(missing)} of {len(drawn)} drawn have no verdict in {VERDICTS}, the first is {missing[0]}."
        )
    if write:
        noted = [[*head[:3], "neighbour"], *([one.id, *verdicts[one.id], one.neighbour] for one in drawn)]
        VERDICTS.write_text("".join("\t".join(line) + "\n" for line in noted), encoding="utf-8")
    of = Counter(one.question for one in refused)
    held: dict[str, list[bool]] = defaultdict(list)
    for one in drawn:
        held[one.question].append(verdicts[one.id][0] == "accept")

    def share(questions: Sequence[str]) -> float:
        total = sum(of[name] for name in questions)
        return sum(of[name] * sum(held[name]) / len(held[name]) for name in questions) / total

    names = sorted(held)
    rng = random.Random(SEED)
    several = sorted(share(rng.choices(names, k=len(names))) for _ in range(10_000))
    right = sum(counts["right"] for _, counts in tables)
    of_all = len(refused) / right
    accepted = sum(sum(one) for one in held.values())
    return [
        "# What neighbours refuse, read",
        "",
        f"`python -m benchmarks.research.neighbours_audit count --write`, {date.today()}. {platform.machine()}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; "
        f"generator {GENERATOR}.",
        "",
        f"Of {right:,} distinct candidates that the official evaluators call right, neighbours refuse {len(refused):,} "
        f"that match on the database itself. Of these, {len(drawn)} were drawn (seed {SEED}, at most {A_QUESTION} a "
        f"question) and read. A reader of the question would accept {accepted}: weighted by question "
        f"{share(names):.3f} of those refused, or **{share(names) * of_all:.4f}** of all called right "
        f"(95 %: {several[250] * of_all:.4f} to {several[9749] * of_all:.4f}). The aim is 0.02 at most, better 0.01.",
        "",
        "| candidates | called right | match on one database | match there and on neighbours |",
        "|---|--:|--:|--:|",
        *(f"| {name} | {_row(counts)} |" for name, counts in tables),
        "",
        "Why a reader would accept them:",
        "",
        *_reasons(drawn, verdicts),
        "",
        "How far to trust this: one reader, who knew the aim. The generator was changed after earlier draws for what "
        "had been read in them, so this draw is not independent of the changes.",
    ]


def _row(counts: Counter[str]) -> str:
    names = ("right", "right, a match on one database", "right, a match there and on neighbours")
    return " | ".join(f"{counts[name]:,}" for name in names)


def _reasons(drawn: Sequence[Refused], verdicts: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the reasons of those accepted as a list, the most frequent first."""
    found = Counter(verdicts[one.id][1] for one in drawn if verdicts[one.id][0] == "accept")
    return [f"- {count}: {reason}" for reason, count in found.most_common()]


if __name__ == "__main__":
    sys.exit(main())
