"""What do neighbours cost a step? Scoring with them and without, side by side, in CPU.

    python -m benchmarks.neighbours_cost [DATA] [--rounds N] [--write]

Groups of real completions are scored by the default mode alone, and by the default reward without memory; the golds and
their neighbours known as in the middle of a training, no prediction seen before; in turn with neighbours and with
`neighbours=0`. CPU is that of this process and of its workers. `--write` puts the table into
`results/neighbours_cost.md`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import statistics
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import partial
from pathlib import Path

from benchmarks.measuring import MACHINE, TIMEOUT, forget, pids, show, table
from benchmarks.throughput import SETS, Workload, real
from finer_rewards import Reward, Scorer, SQLite
from finer_rewards.presets import finer
from finer_rewards.rewards import execution_match

RESULTS = Path(__file__).parent / "results" / "neighbours_cost.md"
SEEDS = (0, 1)
# By name: a reward, and what it gives a match.
REWARDS = {"execution_match()": (execution_match(), 1), "finer(memory=False)": (finer(memory=False), 4)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"))
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    arguments = parser.parse_args()
    rows = []
    for reward in REWARDS:
        for name in SETS:
            for seed in SEEDS:
                work = real(arguments.data, name, seed)
                if work is None:
                    sys.exit(
                        f"`data` should be the data folder, but {arguments.data} has no {name}. Pass its path."
                    )
                rows.append(_row(work, seed, reward, arguments.rounds))
    head = [
        "reward",
        "completions",
        "seed",
        "CPU ms without",
        "with",
        "ratio (range)",
        "match without",
        "with",
    ]
    lines = [
        "# What neighbours cost a step",
        "",
        f"`python -m benchmarks.neighbours_cost`, {date.today()}. {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; load {os.getloadavg()[0]:.0f}; "
        f"{arguments.rounds} rounds a row, medians; golds and neighbours known, predictions new.",
        "",
        *table(head, rows),
    ]
    print("\n".join(lines))
    if arguments.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def _row(work: Workload, seed: int, name_of_reward: str, rounds: int) -> list[str]:
    reward, full = REWARDS[name_of_reward]
    used: dict[str, list[float]] = {"without": [], "with": []}
    matches = {}
    with ExitStack() as stack:
        scorers = {
            "without": stack.enter_context(_warm(work, reward, neighbours=0)),
            "with": stack.enter_context(_warm(work, reward, neighbours=None)),
        }
        for number in range(rounds):
            show(f"{work.name}, seed {seed}: round {number + 1} of {rounds}")
            for name, scorer in scorers.items():
                forget(scorer, work)
                used[name].append(MACHINE.measure(partial(scorer.score, work.samples), *pids(scorer))[1])
        for name, scorer in scorers.items():
            matches[name] = sum(score.value == full for score in scorer.score(work.samples))
    ratios = [beside / alone for alone, beside in zip(used["without"], used["with"], strict=True)]
    milliseconds = [f"{1000 * statistics.median(used[name]):.0f}" for name in scorers]
    ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return [
        f"`{name_of_reward}`",
        f"{work.name}, {len(work.samples):,}",
        str(seed),
        *milliseconds,
        ratio,
        *map(str, matches.values()),
    ]


@contextmanager
def _warm(work: Workload, reward: Reward, neighbours: int | None) -> Iterator[Scorer]:
    with Scorer(reward, SQLite(work.root, timeout=TIMEOUT, workers=2), neighbours=neighbours) as scorer:
        scorer.build_neighbours(work.samples)
        scorer.score(work.samples)
        yield scorer


if __name__ == "__main__":
    sys.exit(main())
