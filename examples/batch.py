"""A batch, as a trainer scores it: groups of completions, some golds that cannot be used, and a memory of reasoning.

pip install "finer-rewards[memory]"
python examples/batch.py
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import finer_rewards as fr

ROOT = Path(__file__).parent / "ferries"
THINK = "<think>\nEach ferry is a row of ferry, its trips are rows of trip that name it, so I {}.\n</think>\n"
GROUPS = {
    "Which ferry has the most seats?": (
        "SELECT name FROM ferry ORDER BY seats DESC LIMIT 1",
        {
            "sort the ferries by seats, the most first, and keep the first one of them": (
                "SELECT name FROM ferry ORDER BY seats DESC LIMIT 1"
            ),
            "sort the ferries by their seats and keep the first one of them, as was asked": (
                "SELECT name FROM ferry ORDER BY seats LIMIT 1"
            ),
            "look up the seats of the ferries, and take the largest number there is": (
                "SELECT MAX(seat) FROM ferry"
            ),
        },
    ),
    "What is the name of the captain?": (
        "SELECT captain FROM ferry",  # this gold does not run: the whole group has no value
        {"look for the captains of the ferries, and list the names that are there": "SELECT name FROM ferry"},
    ),
}


def samples() -> list[fr.Sample]:
    return [
        fr.Sample(THINK.format(plan) + sql, gold, "ferries", question)
        for question, (gold, tries) in GROUPS.items()
        for plan, sql in tries.items()
    ]


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        fr.TraceMemory.open(Path(folder) / "traces", embedder="hashing") as memory,
        fr.Scorer(fr.presets.finer(), fr.SQLite(ROOT), memory=memory) as scorer,
    ):
        evidence = scorer.observe(samples())  # all I/O, once for the batch
        scores = scorer.grade(evidence)  # pure
        for score in scores:
            print(score.explain())
        print(Counter(f"{score.status.name}, fault of {score.status.blame}" for score in scores))
        # Only now may the memory learn; the next batch sees it.
        print(memory.remember(list(zip(evidence, scores, strict=True)), step=1))


if __name__ == "__main__":
    main()
