"""`finer-rewards report`: writes a report on score logs as a web page, Markdown or JSON."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finer_rewards.cli.options import add_parser, number
from finer_rewards.cli.output import json_text, open_output
from finer_rewards.errors import ConfigError

EXAMPLES = """\
  finer-rewards report scores.jsonl -o report.html
  finer-rewards report run2/ --against run1/ -o report.html
  finer-rewards report scores.jsonl --format md

A log is what `Scorer(..., log="scores.jsonl")`, an adapter with `log=` or `finer-rewards score --log FILE` writes;
files that were rotated (scores.jsonl.1, ...) are read with it. The page needs no network.
"""
ENDINGS = {".html": "html", ".htm": "html", ".md": "md", ".json": "json"}


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = add_parser(subparsers, "report", "Turn score logs into a page with curves and tables.", EXAMPLES)
    parser.add_argument("logs", nargs="+", metavar="LOG", help="score logs of one run, or folders of them")
    parser.add_argument(
        "--against", nargs="+", metavar="LOG", help="logs of another run, to compare the first with"
    )
    parser.add_argument(
        "--samples",
        type=number("--samples", int, "a positive whole number"),
        default=400,
        metavar="N",
        help="rows of the completions table (400)",
    )
    parser.add_argument(
        "--format", choices=("html", "md", "json"), help="what the name given with -o ends in; else md"
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write here instead of standard output")


def run(arguments: argparse.Namespace) -> int:
    """Read the logs, and write the report."""
    from finer_rewards.reporting.log_figures import read_run
    from finer_rewards.reporting.markdown import render_markdown
    from finer_rewards.reporting.page import render_page
    from finer_rewards.reporting.run_comparison import compare_runs

    kind = arguments.format or ENDINGS.get(Path(arguments.output or "").suffix.lower(), "md")
    if kind == "html" and arguments.output is None and sys.stdout.isatty():
        raise ConfigError("`--format html` should go to a file, but got no -o. Add -o report.html.")
    given = [arguments.logs, *([arguments.against] if arguments.against else [])]
    with open_output(arguments.output) as file:
        runs = [read_run(logs, samples=arguments.samples) for logs in given]
        if len({one.axis for one in runs}) > 1:
            # One run has training steps and the other has none: both are then shown over their places in the log.
            runs = [read_run(logs, samples=arguments.samples, by_position=True) for logs in given]
        labels = _labels([logs[0] for logs in given])
        if kind == "html":
            file.write(render_page(runs, labels))
        elif kind == "md":
            file.write(render_markdown(runs, labels))
        else:
            plain: dict[str, Any] = {"runs": [asdict(one) for one in runs]}
            if len(runs) > 1:
                plain["compared"] = compare_runs(*runs)
            file.write(f"{json_text(plain)}\n")
    for one, label in zip(runs, labels, strict=True):
        left_out = one.totals["unreadable"]
        also = f", {left_out} unreadable lines left out" if left_out else ""
        print(f"finer-rewards: {label}: {one.totals['samples']:,} samples{also}", file=sys.stderr)
    if arguments.output not in (None, "-"):
        print(f"finer-rewards: wrote {arguments.output}", file=sys.stderr)
    return 0


def _labels(paths: list[str]) -> list[str]:
    """Return the label of each run: the file's name, with as many of its folders as tell the runs apart."""
    parts = [Path(path).absolute().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(part[-length:]) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{label} ({number})" for number, label in enumerate(labels, 1)]
