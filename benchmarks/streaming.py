"""How much memory `finer-rewards score` takes of files of different lengths.

    python -m benchmarks.streaming [--lines 5000 40000 135600] [--form .jsonl]

Rollouts with reasoning of a small database, a tenth of the completions alike, are scored from a file, to a file. The
memory is the most that the process held at once (its workers not counted). Prints a table, and writes it to
benchmarks/results/streaming.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import random
import sys
import tempfile
from datetime import date
from pathlib import Path

from benchmarks.reporting import FERRIES, samples

RESULTS = Path(__file__).parent / "results" / "streaming.md"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, nargs="+", default=[5000, 40_000, 135_600])
    parser.add_argument("--form", choices=(".jsonl", ".jsonl.gz"), default=".jsonl")
    arguments = parser.parse_args()
    rows = ["| rollouts | file, MB | most memory, MB | CPU, s |", "|---|---|---|---|"]
    for lines in arguments.lines:
        rng = random.Random(0)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"rollouts{arguments.form}")
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "wt") as file:
                for _ in range(0, lines, 1000):
                    for one in samples(1000, rng):
                        row = {"completion": one.completion, "gold_sql": one.gold, "db_id": one.db}
                        file.write(f"{json.dumps(row)}\n")
            command = [
                sys.executable,
                "-m",
                "finer_rewards",
                "score",
                str(path),
                str(path),
                "--db",
                str(FERRIES),
            ]
            command += ["-o", f"{folder}/scores.jsonl"]
            process = os.posix_spawn(
                sys.executable,
                command,
                os.environ,
                file_actions=[(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)],
            )
            _, status, used = os.wait4(process, 0)
            if status:
                raise SystemExit(f"scoring {lines} rollouts ended with {status}")
            megabytes = path.stat().st_size / 1e6
            cpu = used.ru_utime + used.ru_stime
            rows.append(f"| {lines:,} | {megabytes:.0f} | {used.ru_maxrss / 1024:.0f} | {cpu:.1f} |")
            print(rows[-1], flush=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    RESULTS.write_text(
        f"# Memory of `finer-rewards score`\n\n`python -m benchmarks.streaming`, {date.today()}, {machine}. The file "
        "is PRED and GOLD at once.\n\n" + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    main()
