"""`finer-rewards redteam`: tries attacks and laws on any reward function."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from finer_rewards._util.progress import Progress
from finer_rewards.cli.importing import import_place
from finer_rewards.cli.options import add_output, add_parser, number
from finer_rewards.cli.output import format_of, open_output
from finer_rewards.cli.terminal import paint, visible
from finer_rewards.errors import ConfigError, suggest
from finer_rewards.presets import PRESETS, preset
from finer_rewards.reward import Reward
from finer_rewards.scoring import Scorer

if TYPE_CHECKING:
    from finer_rewards.testing.attacking import Report

EXAMPLES = """\
  finer-rewards redteam my_rewards:sql_reward
  finer-rewards redteam ./train/rewards.py:sql_reward --calls trl_chat --columns solution=gold,path=db
  finer-rewards redteam "2 * execution_match(mode='bird') + executable()"
  finer-rewards redteam arctic --databases 1 --kinds constant,empty --format json
"""


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = add_parser(
        subparsers,
        "redteam",
        "Try known attacks and the laws of a reward on a reward function, and print what came through, by kind.\n"
        "Exit 1 when the share that held, the lesser of one and two databases, is below --fail-under.",
        EXAMPLES,
    )
    parser.add_argument(
        "reward",
        metavar="REWARD",
        help="MODULE:FUNCTION or FILE.py:FUNCTION (called as TRL, verl or OpenRLHF do), a preset, or a reward",
    )
    group = parser.add_argument_group("how it is called")
    group.add_argument(
        "--calls",
        choices=("trl", "trl_chat", "verl", "openrlhf"),
        help="the trainer whose signature a function has; recognised by its parameters when left out",
    )
    group.add_argument(
        "--columns",
        metavar="NAME=WHAT,...",
        default="",
        help="columns or keys that the function reads, and what they hold: gold, db or question",
    )
    group.add_argument(
        "--template",
        metavar="TEXT",
        help=r"a well-formed completion with {thought} and {sql} in it ('<think>{thought}</think>\n{sql}')",
    )
    group.add_argument(
        "--databases",
        type=int,
        choices=(1, 2),
        metavar="N",
        help="databases that a sample names, 1 or 2 (first one, then two)",
    )
    group = parser.add_argument_group("what is tried")
    group.add_argument("--kinds", metavar="KIND,...", help="kinds of attacks, and `law` (all)")
    seconds = number("--timeout", float, "a positive number of seconds")
    group.add_argument(
        "--timeout", type=seconds, default=5.0, metavar="S", help="seconds a call may take (5)"
    )
    count = number("--examples", int, "a positive whole number")
    group.add_argument("--examples", type=count, default=25, metavar="N", help="examples of each law (25)")
    limit = number("--lo", float, "a number")
    group.add_argument("--lo", type=limit, default=float("-inf"), metavar="X", help="smallest value")
    group.add_argument("--hi", type=limit, default=float("inf"), metavar="X", help="largest value")
    group.add_argument(
        "--fail-under", type=limit, default=1.0, metavar="X", help="exit 1 when less than this share held (1)"
    )
    add_output(parser, ("text", "json"))


def run(arguments: argparse.Namespace) -> int:
    """Run the attacks, and write those that the reward let through."""
    reward = _reward(arguments.reward)
    from finer_rewards.testing.attacking import KINDS, redteam

    chosen = KINDS if arguments.kinds is None else tuple(filter(None, arguments.kinds.split(",")))
    template = {"template": _unescaped(arguments.template)} if arguments.template else {}
    kind = format_of(arguments.format, arguments.output)
    counts = (1, 2) if arguments.databases is None else (arguments.databases,)
    reports: dict[int, Report] = {}
    with Progress("attacks", len(counts) * _attack_count(chosen)) as bar:
        for count in counts:
            reports[count] = redteam(
                reward,
                calls=arguments.calls,
                columns=_columns(arguments.columns),
                # The laws bring their own databases, so they need not run again for another number of databases.
                kinds=[one for one in chosen if one != "law" or count == counts[0]],
                databases=count,
                lo=arguments.lo,
                hi=arguments.hi,
                timeout=arguments.timeout,
                examples=arguments.examples,
                progress=lambda done, _: bar.advance(int(done > 0)),
                **template,
            )
    if len(counts) > 1 and _takes_one(reports[2]):
        del reports[2]
    with open_output(arguments.output) as file:
        if kind == "json":
            records = [{"databases": count, **_record(report)} for count, report in reports.items()]
            json.dump({"reward": reports[counts[0]].name, "runs": records}, file, indent=1)
            file.write("\n")
        else:
            for count, report in reports.items():
                file.write(f"{paint(_headings[count], 'bold')}\n")
                file.writelines(f"{_painted(line)}\n" for line in report.lines())
            if len(counts) > len(reports):
                file.write("Not tried on two databases: it takes one a sample.\n")
    return 1 if min(report.score for report in reports.values()) < arguments.fail_under else 0


_headings = {1: "A sample names one database:", 2: "A sample names two databases, and a match holds on both:"}


def _takes_one(report: Report) -> bool:
    """Return whether the reward takes only one database: even an honest answer on this number was not scored."""
    unscored = "an honest answer cannot be scored"
    return bool(report.findings) and all(unscored in finding.reason for finding in report.findings)


def _attack_count(kinds: Collection[str]) -> int:
    """Return how many attacks there are of these kinds."""
    from finer_rewards.testing.attacks import ATTACKS

    return sum(attack.kind in kinds for attack in ATTACKS)


def _record(report: Report) -> dict[str, Any]:
    return {
        "score": report.score,
        "kinds": {kind: {"held": held, "tried": tried} for kind, (held, tried) in report.kinds().items()},
        "findings": [asdict(finding) for finding in report.findings],
    }


def _painted(line: str) -> str:
    text = visible(line) if line.strip() else line
    failed = line.lstrip().startswith(("accepted", "refused", "broken"))
    return paint(text, "red" if failed else "bold" if line.startswith("score") else "")


def _unescaped(template: str) -> str:
    return template.replace("\\n", "\n")


def _columns(text: str) -> dict[str, str]:
    columns = {}
    for item in filter(None, text.split(",")):
        name, equals, what = item.partition("=")
        if not equals:
            raise ConfigError(
                f"`--columns` should be NAME=WHAT pairs, but got {item!r}. Write for example --columns sql=gold"
            )
        columns[name.strip()] = what.strip()
    return columns


def _reward(text: str) -> Reward | str | Callable[..., Any]:
    """Return the preset, the function, or the text of a reward."""
    if text in PRESETS:
        return preset(text)
    place, colon, name = text.rpartition(":")
    if not colon or not re.fullmatch(r"[A-Za-z_][\w.]*", name) or "(" in place:
        if "(" not in text:
            raise ConfigError(
                f"`redteam` should get MODULE:FUNCTION, a preset or a reward, but got {text!r}. "
                f"{suggest(text, PRESETS)}A reward is written with brackets: execution_match()."
            )
        return text
    module = import_place(place)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{place} has no {name!r}. {suggest(part, dir(found))}".rstrip())
        found = getattr(found, part)
    if isinstance(found, Scorer):
        return found.reward
    return cast("Callable[..., Any]", found)
