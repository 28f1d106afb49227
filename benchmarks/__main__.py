"""What the README quotes, in one command: each script prints its figures, and keeps them in `benchmarks/results/`.

    python -m benchmarks [NAME ...] [--data FOLDER] [--list]

The scripts run one after the other, each in a process of its own, so that none measures what another left in memory.
The exit status is that of the first that fails; the others run all the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: Each script of the table under *Measured*, with the arguments of what is quoted; DATA stands for the data folder.
QUOTED = {
    "agreement": (("DATA", "--write"),),
    "operations": (("--data", "DATA", "--write"),),
    "memory": (("discrimination", "--data", "DATA"), ("real", "--data", "DATA")),
    "neighbours": (("DATA", "--train", "12", "--write"),),
    "gates": (("DATA", "--only", "raw", "published", "--rounds", "5", "--write"),),
    "streaming": ((),),
    "reporting": ((),),
}


def commands(names: list[str], data: str) -> list[list[str]]:
    """Return the commands of some scripts, or of all without names.

    Example:
        >>> commands(["operations"], "data")
        [['benchmarks.operations', '--data', 'data', '--write']]
    """
    return [
        [f"benchmarks.{name}", *(data if argument == "DATA" else argument for argument in arguments)]
        for name in names or QUOTED
        for arguments in QUOTED[name]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(QUOTED)}; all without")
    parser.add_argument(
        "--data", default=os.environ.get("FINER_REWARDS_DATA") or str(ROOT.parent / "shared" / "data")
    )
    parser.add_argument("--list", action="store_true", help="print the commands and run none")
    options = parser.parse_args()
    for name in options.names:
        if name not in QUOTED:
            parser.error(f"NAME should be one of {', '.join(QUOTED)}, but got {name!r}.")
    failed = 0
    for command in commands(options.names, options.data):
        print("$ python -m", *command, flush=True)
        if not options.list:
            status = subprocess.run([sys.executable, "-m", *command], cwd=ROOT).returncode
            failed = failed or status
    return failed


if __name__ == "__main__":
    sys.exit(main())
