"""`finer-rewards demo`: scores and explains a small example that comes with the package, offline."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

from finer_rewards.cli.differences import side_by_side
from finer_rewards.cli.options import add_output, add_parser
from finer_rewards.cli.output import format_of, open_output, write_records
from finer_rewards.cli.terminal import one_line, paint, wrap
from finer_rewards.errors import ConfigError

EXAMPLES = """\
  finer-rewards demo
  finer-rewards demo --keep example/      # and leaves the files there, to try `score` on
"""
COLUMNS = ("number", "value", "status", "reason", "bird", "question", "predicted", "gold", "lesson")
TIMEOUT = 0.5


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = add_parser(
        subparsers, "demo", "Score a small packaged example and explain it. Needs no network.", EXAMPLES
    )
    add_output(parser)
    parser.add_argument(
        "--keep", metavar="FOLDER", help="write ferries.sqlite, pred.sql and gold.sql into this new folder"
    )


def run(arguments: argparse.Namespace) -> int:
    """Build the database, score the cases and write one record each."""
    kind = format_of(arguments.format, arguments.output)
    with (
        tempfile.TemporaryDirectory(prefix="finer-rewards-") as temporary,
        open_output(arguments.output) as file,
    ):
        folder = Path(temporary)
        if arguments.keep:
            folder = Path(arguments.keep)
            if folder.exists():
                raise ConfigError(
                    f"`--keep` should be a new folder, but {folder} is there. Pass another name."
                )
            folder.mkdir(parents=True)
        cases = json.loads(_packaged("cases.json"))
        _write(folder, cases)
        head = (
            f"{len(cases)} predictions over a small database of ferries, scored by execution_match() "
            f"within {TIMEOUT:g} s each.",
        )
        write_records(_records(folder, cases), kind, file, COLUMNS, _lines, head)
    if arguments.keep:
        command = f"finer-rewards score {folder}/pred.sql {folder}/gold.sql --db {folder}/ferries.sqlite"
        print(f"The same on the command line: {command} --timeout {TIMEOUT:g}", file=sys.stderr)
    elif kind == "text":
        print("Now yours: finer-rewards score pred.sql gold.sql --db x.sqlite", file=sys.stderr)
    return 0


def _packaged(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def _write(folder: Path, cases: list[dict[str, str]]) -> None:
    with closing(sqlite3.connect(folder / "ferries.sqlite")) as connection:
        connection.executescript(_packaged("ferries.sql"))
    for name, side in (("pred.sql", "predicted"), ("gold.sql", "gold")):
        (folder / name).write_text("".join(f"{case[side]};\n" for case in cases), encoding="utf-8")


def _records(folder: Path, cases: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    from finer_rewards.engines.sqlite import SQLite
    from finer_rewards.rewards import execution_match
    from finer_rewards.scoring import Scorer
    from finer_rewards.types import Sample

    bird = execution_match(mode="bird")
    samples = [Sample(case["predicted"], case["gold"], "ferries", case["question"]) for case in cases]
    # The scores are those of the `score` command that is printed at the end, which uses no neighbours unless
    # it is given the option.
    with Scorer(execution_match(), SQLite(folder, timeout=TIMEOUT, workers=2), neighbours=0) as scorer:
        for number, (case, evidence) in enumerate(zip(cases, scorer.observe(samples), strict=True), 1):
            score = scorer.reward(evidence)
            rows: list[str] = []
            if score.value == 0 and evidence.predicted is not None and evidence.gold is not None:
                rows = list(side_by_side(evidence.predicted, evidence.gold))
            yield {
                "number": number,
                "value": score.value,
                "status": score.status.name,
                "reason": score.reason,
                "bird": bird(evidence).value,
                **case,
                "rows": rows,
            }


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    value = record["value"]
    colour = "cyan" if value is None else "green" if value else "red"
    yield ""
    yield paint(f"{record['number']}. {record['question']}", "bold")
    yield from wrap(f"predicted  {record['predicted']}", indent=3, hang=14)
    yield from wrap(f"gold       {record['gold']}", indent=3, hang=14)
    shown = "none " if value is None else f"{value:.3f}"
    fault = "" if record["status"] == "ok" else f"{record['status']}: "
    yield f"   {paint(shown, colour)}  {fault}{one_line(record['reason'])}"
    yield from (f"          {line}" for line in record["rows"])
    if value is not None and record["bird"] != value:
        yield "   " + paint(f"{record['bird']:.3f}", "yellow") + "  in mode bird"
    yield from (paint(line, "dim") for line in wrap(f"→ {record['lesson']}", indent=3, hang=5))
