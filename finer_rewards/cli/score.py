"""`finer-rewards score`: scores predictions against golds, statement by statement."""

from __future__ import annotations

import argparse
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, TextIO

from finer_rewards.cli.batches import score_in_batches
from finer_rewards.cli.inputs import read_inputs
from finer_rewards.cli.options import (
    add_executor,
    add_inputs,
    add_output,
    add_parser,
    add_reward,
    add_signature,
    add_strict_golds,
    chosen_executor,
    chosen_judge,
    chosen_memory,
    chosen_neighbours,
    chosen_reward,
    exit_status,
    number,
)
from finer_rewards.cli.output import format_of, say_signature, write_records
from finer_rewards.cli.resuming import is_logged, open_draft, resume_key
from finer_rewards.cli.terminal import one_line, shorten, statement, table, visible, width, wrap
from finer_rewards.comparing import find_mode
from finer_rewards.components import component_names
from finer_rewards.reporting.score_records import COLUMNS, Scored, database_name
from finer_rewards.reward import Reward
from finer_rewards.types import Status

if TYPE_CHECKING:
    from finer_rewards._signature import Signature

EXAMPLES = """\
  finer-rewards score pred.sql gold.sql --db concert.sqlite
  finer-rewards score pred.sql dev.json --db spider/database --mode bird --format jsonl > scores.jsonl
  finer-rewards score pred.jsonl gold.sql --db databases/ --reward "execution_match() + 0.1 * executable()"
  finer-rewards score pred.sql gold.sql --db x.sqlite --fail-under 0.8 -o scores.csv
  finer-rewards score rollouts.jsonl.zst gold.jsonl.zst --db databases/ -o scores.jsonl

With -o FILE.jsonl an interrupted run leaves FILE.jsonl.part, and the same command goes on with it.

Each JSON record has number, value (null where the data or the system is at fault), status, reason, predicted,
gold, db, question_id, and the value of every component by its name.
"""
#: For two statuses, the argument with which execution match compares such a gold instead of leaving it unscored.
SWITCHES = {"gold_empty": "empty='accept'", "gold_ambiguous": "ambiguous='accept'"}
COLOURS = {"nobody": "", "model": "yellow", "data": "cyan", "system": "red"}


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = add_parser(
        subparsers, "score", "Score predicted SQL against gold SQL, statement by statement.", EXAMPLES
    )
    add_inputs(parser)
    add_reward(parser)
    add_executor(parser)
    add_output(parser)
    parser.add_argument(
        "--explain", action="store_true", help="show both statements and the tree of each score"
    )
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--summary", action="store_true", help="text: only what it comes to, no row a statement"
    )
    shown.add_argument(
        "--wrong", action="store_true", help="text: only rows of what is no match or has no score"
    )
    parser.add_argument("--log", metavar="FILE", help="append a score log, for `report` and `rescore`")
    parser.add_argument(
        "--fail-under",
        type=number("--fail-under", float, "a number"),
        metavar="X",
        help="exit 1 when the mean of the scored statements is below X",
    )
    add_strict_golds(parser)
    add_signature(parser)


def run(arguments: argparse.Namespace) -> int:
    """Score, write a record for each statement, and print the totals."""
    from finer_rewards.scoring import Scorer

    reward = chosen_reward(arguments)
    inputs = read_inputs(arguments)
    memory = chosen_memory(arguments, reward)
    judge = chosen_judge(arguments, reward)
    executor = chosen_executor(arguments, inputs.databases)
    kind = format_of(arguments.format, arguments.output)
    names = component_names(reward)
    totals = Totals(names)
    compared = _compared_by(reward)
    with Scorer(
        reward,
        executor,
        memory=memory,
        judge=judge,
        neighbours=chosen_neighbours(arguments),
        log=arguments.log,
    ) as scorer:
        signature = scorer.signature
        with open_draft(arguments.output, _key(arguments, kind, signature), totals.add) as (file, done):
            if not done and is_logged(arguments.log, inputs.samples[0], signature.digest):
                print(
                    f"finer-rewards: {arguments.log} has these statements already: a report counts them twice. "
                    "Remove it first, or name another.",
                    file=sys.stderr,
                )
            scored = score_in_batches(scorer, inputs.samples, done)
            lines = _Lines(len(inputs.samples), inputs.databases.names, file, _chosen(arguments, names))
            head = () if arguments.summary else lines.head()
            write_records(
                _records(scored, totals, explain=arguments.explain),
                kind,
                file,
                [*COLUMNS, *names],
                lines,
                head=head,
            )
            if kind == "text":
                gap = () if arguments.summary else ("",)
                file.writelines(f"{line}\n" for line in (*gap, *totals.lines(), *compared))
    if kind != "text":
        print("\n".join([*totals.lines(), *compared]), file=sys.stderr)
    say_signature(signature, whole=arguments.signature)
    if totals.is_under(arguments.fail_under):
        print(f"finer-rewards: the mean is below --fail-under {arguments.fail_under:g}", file=sys.stderr)
        return 1
    return exit_status((Status[name] for name in totals.unscored), arguments)


def _compared_by(reward: Reward) -> list[str]:
    """Return a line that names the modes of execution match; no line if the reward does not use it."""
    modes = [
        find_mode(leaf.params["mode"]).name for leaf in reward.leaves() if leaf.name == "execution_match"
    ]
    return [f"compared by {', '.join(dict.fromkeys(modes))}"] if modes else []


class Totals:
    """The totals, counted while the records are written, so that no record need be kept."""

    def __init__(self, names: Sequence[str]) -> None:
        self.values = array("d")
        self.faults: Counter[str] = Counter()
        self.unscored: Counter[str] = Counter()
        self.components = {name: array("d") for name in names}

    def add(self, record: Mapping[str, Any]) -> None:
        """Count one score."""
        if record["value"] is None:
            self.unscored[record["status"]] += 1
            return
        self.values.append(record["value"])
        if record["status"] != Status.ok.name:
            self.faults[record["status"]] += 1
        for name, values in self.components.items():
            if record[name] is not None:
                values.append(record[name])

    @property
    def mean(self) -> float | None:
        """The mean over what was scored; `None` when nothing was."""
        return fmean(self.values) if self.values else None

    def is_under(self, least: float | None) -> bool:
        """Return whether the mean is below `least`; it always is if nothing was scored."""
        return least is not None and (self.mean is None or self.mean < least)

    def lines(self) -> list[str]:
        """Return the summary."""
        count = len(self.values) + self.unscored.total()
        mean = "none" if self.mean is None else f"{self.mean:.4f}"
        lines = [f"mean {mean} over {len(self.values)} scored of {_count(count, 'statement')}"]
        if len(self.components) > 1:
            # Not every component is computed for every sample; its mean then says for how many it was.
            parts = (
                f"{name} {fmean(values):.4f}"
                + (f" of {len(values)}" if len(values) < len(self.values) else "")
                for name, values in self.components.items()
                if values
            )
            lines.append(f"components: {', '.join(parts)}")
        if self.faults:
            lines.append(f"model at fault: {_counts(self.faults)}")
        if self.unscored:
            lines.append(f"not scored: {_counts(self.unscored)}")
            lines += [f"  {name}: {Status[name].sentence}" for name, _ in self.unscored.most_common()]
            switches = ", ".join(switch for name, switch in SWITCHES.items() if name in self.unscored)
            if switches:
                lines.append(f'  To compare them all the same: --reward "execution_match({switches})"')
        return lines


def _key(arguments: argparse.Namespace, kind: str, signature: Signature) -> list[object] | None:
    if kind != "jsonl":
        return None
    files = (arguments.predicted, arguments.gold, arguments.db)
    return resume_key(*files, arguments.explain, signature.digest)


def _records(scored: Iterable[Scored], totals: Totals, *, explain: bool) -> Iterator[dict[str, Any]]:
    for one in scored:
        totals.add(one.record)
        yield {**one.record, "explanation": one.score.explain()} if explain else one.record


def _chosen(arguments: argparse.Namespace, names: Sequence[str]) -> Callable[[Mapping[str, Any]], bool]:
    """Return which records are shown as a row: all, none (`--summary`), or only the wrong ones (`--wrong`)."""
    match = next((name for name in names if name.startswith("execution_match")), "value")

    def wrong(record: Mapping[str, Any]) -> bool:
        return record["value"] is None or (record[match] or 0) < 1

    return wrong if arguments.wrong else lambda record: not arguments.summary


class _Lines:
    """Prints a record as one line of a table, or with its explanation below it."""

    def __init__(
        self, count: int, dbs: Sequence[str], file: TextIO, chosen: Callable[[Mapping[str, Any]], bool]
    ) -> None:
        self._chosen = chosen
        names = set(map(database_name, set(dbs)))
        self._widths = (-len(str(count)), -7, 12, min(max(map(len, names)), 20))
        room = width(file)
        # The width that the columns before it leave for the last one, the reason.
        self._left = None if room is None else room - sum(abs(size) + 2 for size in self._widths) - 1
        self._file = file

    def head(self) -> Iterator[str]:
        """Yield the names of the columns."""
        row = ("#", "value", "status", "db", "reason")
        return table([row], self._widths, self._file, ("dim",) * 5)

    def __call__(self, record: Mapping[str, Any]) -> Iterator[str]:
        if not self._chosen(record):
            return
        value, status = record["value"], Status[record["status"]]
        colours = ("dim", "" if value is None else "green" if value > 0 else "red", COLOURS[status.blame])
        shown = "none" if value is None else f"{value:.3f}"
        explained = "explanation" in record
        reason = "" if explained else one_line(record["reason"])
        below = self._left is not None and len(reason) > self._left
        cells = (str(record["number"]), shown, status.name, shorten(database_name(record["db"]), 20))
        yield from table([(*cells, "" if below else reason)], self._widths, self._file, colours)
        if below:
            yield from wrap(reason, indent=abs(self._widths[0]) + 2)
        if explained:
            yield f"    predicted  {statement(record['predicted'])}"
            yield f"    gold       {statement(record['gold'])}"
            yield from (f"    {visible(line)}" for line in record["explanation"].splitlines())


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common())
