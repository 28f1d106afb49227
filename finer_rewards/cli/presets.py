"""`finer-rewards presets`: lists the presets and rewards, with their formulas."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from finer_rewards.cli.options import add_output, add_parser
from finer_rewards.cli.output import format_of, open_output, write_records
from finer_rewards.cli.terminal import paint, wrap

EXAMPLES = """\
  finer-rewards presets
  finer-rewards presets --format json
  finer-rewards score pred.sql gold.sql --db x.sqlite --preset execution_only
"""
COLUMNS = ("kind", "name", "summary", "formula", "wrongly", "source", "reward")


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    add_output(
        add_parser(subparsers, "presets", "List the presets and rewards, with their formulas.", EXAMPLES)
    )


def run(arguments: argparse.Namespace) -> int:
    """Write a record for each preset and each reward."""
    with open_output(arguments.output) as file:
        head = (
            "A preset is a composition of rewards. Formulas: M execution match, X executable, F well formed.",
            "Write your own: --reward 'execution_match() + 0.1 * executable()'.",
        )
        kind = format_of(arguments.format, arguments.output)
        write_records(describe(), kind, file, COLUMNS, _lines, head)
    return 0


def describe() -> Iterator[dict[str, str]]:
    """Yield a record of every preset and reward: its kind, name, summary, formula, known faults, source and text."""
    from finer_rewards.presets import PRESETS
    from finer_rewards.reward import known_rewards

    for name, factory in sorted(PRESETS.items()):
        yield _record("preset", name, factory, repr(factory()))
    for name, factory in sorted(known_rewards().items()):
        if factory.__module__.startswith("finer_rewards.") and name not in PRESETS:
            yield _record("reward", name, factory, f"{name}({_parameters(factory)})")


def _parameters(factory: Callable[..., object]) -> str:
    parameters = inspect.signature(factory).parameters.values()
    return ", ".join(
        each.name if each.default is inspect.Parameter.empty else f"{each.name}={each.default!r}"
        for each in parameters
    )


def _record(kind: str, name: str, factory: Callable[..., object], reward: str) -> dict[str, str]:
    text = inspect.getdoc(factory) or ""
    summary = " ".join(text.partition("\n\n")[0].split())
    formula = re.search(r"^Formula: (.+?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    found = " ".join(formula.group(1).split()) if formula else ""
    wrongly = re.search(
        r"^Known to (?:reward|judge|pay).*?(?:: | for: )(.+?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL
    )
    source = re.search(r"^References:\n(.+?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return {
        "kind": kind,
        "name": name,
        "summary": summary,
        "formula": found,
        "wrongly": " ".join(wrongly.group(1).split()) if wrongly else "",
        "source": " ".join(source.group(1).split()) if source else "",
        "reward": reward,
        "text": text,
    }


def _lines(record: Mapping[str, str]) -> Iterator[str]:
    yield ""
    if record["kind"] == "preset":
        yield f"preset  {paint(record['name'], 'bold')}"
    else:
        yield from (paint(line, "bold") for line in wrap(f"reward  {record['reward']}", indent=0, hang=8))
    yield from wrap(record["summary"])
    if record["formula"]:
        yield from wrap(f"Formula: {record['formula']}")
    if record["wrongly"]:
        yield from wrap(f"Known to reward wrongly: {record['wrongly']}")
    if record["kind"] == "preset":
        if record["source"]:
            yield from wrap(f"Source: {record['source']}")
        yield from (paint(line, "cyan") for line in wrap(record["reward"]))
