"""What the default tier of the tests takes: CPU time, its own and that of the processes it waits for, and wall time.

    python -m benchmarks.suite [--times N] [--busy N] [--write] [-- PYTEST ARGUMENTS]

`--busy N` runs N other processes beside it that never rest. The server that the tests of PostgreSQL start is nobody's
child, and is not counted. The exit status is 1 when a run failed.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from benchmarks.measuring import table, versions

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "suite.md"
WORDS = ("passed", "skipped", "failed", "error")
HEAD = [
    "date",
    "commit",
    "busy processes",
    "passed",
    "skipped",
    "failed",
    "errors",
    "CPU s",
    "wall s",
    "load average",
]


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Keep so many processes computing."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def run(others: int, arguments: list[str]) -> list[str]:
    """Run the tests once, and return the row that says what it took."""
    used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None
        said = ""
        for line in tests.stdout:
            print(line, end="", flush=True)
            said = line if " in " in line and any(word in line for word in WORDS) else said
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    counts = [(re.search(rf"(\d+) {word}", said) or ["", "0"])[1] for word in WORDS]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    wall, load = time.monotonic() - began, os.getloadavg()[2]
    place = [date.today().isoformat(), commit.stdout.strip() or "?", str(others)]
    return [*place, *counts, f"{cpu:.0f}", f"{wall:.0f}", f"{load:.1f}"]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suite",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--times", type=int, default=1, metavar="N", help="runs, one after the other (1)")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="other processes that compute (0)")
    parser.add_argument("--write", action="store_true", help=f"add the rows to {RESULTS.name}")
    parser.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="passed on to pytest")
    options = parser.parse_args()
    rows = []
    for _ in range(options.times):
        # Each with its own: the CPU time of a busy process counts once it has ended, outside the measurement.
        with busy(options.busy):
            rows.append(run(options.busy, options.arguments))
    shown = table(HEAD, rows)
    print(*shown, versions(), sep="\n")
    if options.write:
        text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "\n".join(shown[:2]) + "\n"
        RESULTS.write_text(text + "\n".join(shown[2:]) + "\n", encoding="utf-8")
    return int(any(int(row[HEAD.index(what)]) for row in rows for what in ("failed", "errors")))


if __name__ == "__main__":
    sys.exit(main())
