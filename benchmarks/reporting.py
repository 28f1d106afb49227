"""What a score log costs to write, and a report of a million lines to make.

    python benchmarks/reporting.py [--lines 1000000]

Real scores of a small database are written through a `ScoreLog`; for the report their lines are repeated over
4,000 steps with values of their own. Prints a table, and writes it to benchmarks/results/reporting.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import tempfile
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import finer_rewards as fr
from finer_rewards.reporting.log_figures import read_run
from finer_rewards.reporting.page import render_page

RESULTS = Path(__file__).parent / "results" / "reporting.md"
FERRIES = Path(__file__).parents[1] / "examples" / "ferries"
STEPS = 4000
CHANGES = (
    "SELECT name FROM ferry WHERE seats > {0}", "SELECT COUNT(*) FROM trip WHERE passengers > {0}",
    "SELECT f.name, COUNT(*) FROM ferry AS f JOIN trip AS t ON t.ferry_id = f.id WHERE t.id > {0} GROUP BY f.id",
    "SELECT nam FROM ferry WHERE id = {0}", "SELECT MAX(seats) - {0} FROM ferry", "DROP TABLE ferry_{0}",
)  # fmt: skip


def samples(count: int, rng: random.Random) -> list[fr.Sample]:
    """Completions with reasoning of some length, a sixth of them right."""
    found = []
    for number in range(count):
        gold = CHANGES[number % 3].format(number % 40)
        sql = gold if rng.random() < 0.17 else rng.choice(CHANGES).format(rng.randrange(200))
        words = " ".join(
            rng.choice(("join", "table", "ferry", "count", "filter", "seats")) for _ in range(60)
        )
        completion = f"<think>\n{words}\n</think>\n```sql\n{sql}\n```"
        found.append(fr.Sample(completion, gold, "ferries", f"Question {number % 500}?"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=1_000_000)
    lines = parser.parse_args().lines
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        seed = Path(folder) / "seed.jsonl"
        batch = samples(4096, rng)
        with fr.Scorer(fr.presets.finer(memory=False), fr.SQLite(FERRIES), log=seed) as scorer:
            evidence = scorer.observe(batch)
            scorer.log, log = None, scorer.log
            began = time.process_time()
            scores = scorer.grade(evidence)
            graded = time.process_time()
            assert log is not None
            log.write(scorer.reward, evidence, scores, signature=scorer.signature, step=0)
            written = time.process_time()
        head, *body = seed.read_text().splitlines()
        records = [json.loads(line) for line in body]
        path = Path(folder) / "scores.jsonl"
        with path.open("w") as file:
            file.write(head + "\n")
            for number in range(lines):
                record = records[number % len(records)]
                record["step"] = number * STEPS // lines
                record["value"] = record["value"] and round(record["value"] + rng.random() / 100, 4)
                file.write(json.dumps(record) + "\n")
        size = path.stat().st_size
        began_wall, began_cpu = time.monotonic(), time.process_time()
        page = render_page([read_run([str(path)])], ["scores.jsonl"])
        seconds, cpu = time.monotonic() - began_wall, time.process_time() - began_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    table = [
        "| what | figure |",
        "|---|--:|",
        f"| scoring what was observed, µs of CPU a sample | {1e6 * (graded - began) / len(batch):.0f} |",
        f"| writing its line, µs of CPU a sample | {1e6 * (written - graded) / len(batch):.0f} |",
        f"| lines in the log | {lines:,} |",
        f"| size of the log, MB | {size / 1e6:,.0f} |",
        f"| reading it and making the page, s | {seconds:.1f} |",
        f"| the same, CPU, s | {cpu:.1f} |",
        f"| size of the page, MB | {len(page.encode()) / 1e6:.1f} |",
        f"| most memory used, MB | {peak:,.0f} |",
    ]
    machine = (
        f"{date.today()}. {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"DuckDB {version('duckdb')}, plotly {version('plotly')}; load average before {os.getloadavg()[0]:.1f}."
    )
    text = "\n".join(
        ["# Score logs and reports", "", f"`python benchmarks/reporting.py`, {machine}", "", *table]
    )
    print(text)
    if lines >= 1_000_000:
        RESULTS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
