"""`finer-rewards modes`: lists the ways in which two results can be compared."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from finer_rewards.cli.options import add_output, add_parser
from finer_rewards.cli.output import format_of, open_output, write_records
from finer_rewards.cli.terminal import paint, wrap

EXAMPLES = """\
  finer-rewards modes
  finer-rewards modes --format jsonl
  finer-rewards score pred.sql gold.sql --db x.sqlite --mode bird
"""
COLUMNS = ("name", "description", "source", "definition")


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    add_output(add_parser(subparsers, "modes", "List the ways two results can be compared.", EXAMPLES))


def run(arguments: argparse.Namespace) -> int:
    """Write a record for each mode."""
    from finer_rewards.comparing import modes

    records = (
        {"name": name, "description": mode.description, "source": mode.source, "definition": repr(mode)}
        for name, mode in modes().items()
    )
    kind = format_of(arguments.format, arguments.output)
    with open_output(arguments.output) as file:
        write_records(records, kind, file, COLUMNS, _lines)
    return 0


def _lines(record: Mapping[str, str]) -> Iterator[str]:
    yield paint(record["name"], "bold")
    yield from wrap(record["description"])
    if record["source"]:
        yield from wrap(f"Source: {record['source']}")
