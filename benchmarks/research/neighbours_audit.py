"""Would a reader of the question accept what neighbours refuse? 200 refused candidates, drawn by chance and read.

    python -m benchmarks.research.neighbours_audit draw [DATA] -o FILE    what there is to read, a paragraph each
    python -m benchmarks.research.neighbours_audit count [DATA]           the estimate
    python -m benchmarks.research.neighbours_audit wrong [DATA]           how many called wrong match, before and after

Drawn are distinct candidates that the official evaluator (BIRD: set equality) calls right, that match on the database
itself, and that neighbours refuse; in the order of a digest of seed 1201 and their id, at most 5 a question. The
verdicts are lines of results/neighbours_audit.tsv: id, `accept` or `refuse`, and why. An id is the set, the question's
number and a digest of the candidate, so that the file holds nothing of other people's. An item stands for as many as
there are refused of its question for each one drawn of it; the interval is the bootstrap's over questions.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from finer_rewards import Sample, Score, Scorer, SQLite
from finer_rewards.rewards import execution_match

VERDICTS = Path(__file__).parents[1] / "results" / "neighbours_audit.tsv"
SETS = {"spider": ("spider_dev_dev", "spider_dev/database"), "bird": ("bird_dev_dev", "bird/databases")}
DRAWN, A_QUESTION, SEED = 200, 5, 1201


@dataclass
class Refused:
    """A candidate called right that neighbours refuse."""

    id: str
    question: str
    text: str


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("draw", "count", "wrong"))
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("-o", "--output", type=Path, default=Path("audit.txt"))
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
        _count(drawn, refused, sum(counts["right"] for _, counts in tables))
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
            found.append(Refused(own, f"{name}-{number}", text))
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


def _count(drawn: Sequence[Refused], refused: Sequence[Refused], right: int) -> None:
    lines = [line.split("\t") for line in VERDICTS.read_text(encoding="utf-8").splitlines()[1:]]
    verdicts = {line[0]: line[1] for line in lines}
    missing = [one.id for one in drawn if one.id not in verdicts]
    if missing:
        sys.exit(
            f"{len(missing)} of {len(drawn)} drawn have no verdict in {VERDICTS}, the first is {missing[0]}."
        )
    of = Counter(one.question for one in refused)
    held: dict[str, list[bool]] = defaultdict(list)
    for one in drawn:
        held[one.question].append(verdicts[one.id] == "accept")

    def share(questions: Sequence[str]) -> float:
        total = sum(of[name] for name in questions)
        return sum(of[name] * sum(held[name]) / len(held[name]) for name in questions) / total

    names = sorted(held)
    rng = random.Random(SEED)
    several = sorted(share(rng.choices(names, k=len(names))) for _ in range(10_000))
    of_all = len(refused) / right
    accepted = sum(sum(one) for one in held.values())
    print(
        f"{accepted} of {len(drawn)} drawn (of {len(refused)} refused, {right} called right) would be accepted: "
        f"{share(names):.3f} of those refused, {share(names) * of_all:.4f} of all called right "
        f"(95 %: {several[250] * of_all:.4f} to {several[9749] * of_all:.4f})"
    )


if __name__ == "__main__":
    sys.exit(main())
