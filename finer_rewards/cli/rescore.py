"""`finer-rewards rescore`: scores saved rollouts again, under another reward or version."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any, TextIO

from finer_rewards._util.progress import Progress
from finer_rewards.cli.options import (
    add_executor,
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
)
from finer_rewards.cli.output import format_of, open_output, say_signature, write_records
from finer_rewards.cli.terminal import one_line, paint, statement, visible
from finer_rewards.components import component_names, component_values, reason_of
from finer_rewards.reporting.rollouts import Rollout, read_rollouts
from finer_rewards.reporting.run_comparison import signature_changes
from finer_rewards.types import Score, Status

EXAMPLES = """\
  finer-rewards rescore scores.jsonl --db databases/ --preset finer --memory traces/
  finer-rewards rescore scores.jsonl --db databases/ --reward "execution_match(mode='bird')" --format jsonl
  finer-rewards rescore rollouts.jsonl --db databases/ --changed

LOG is a score log, or JSONL of your own with `completion`, `gold`, `db` and, if it is known, `value`. Each record has
number, step, before, after, change, status, reason_before, reason, question, db, predicted, gold, and the components.
"""
COLUMNS = (
    "number", "step", "before", "after", "change", "status", "reason_before", "reason", "question", "db",
    "predicted", "gold",
)  # fmt: skip
BATCH = 512


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = add_parser(
        subparsers, "rescore", "Score saved rollouts again, and say what changed and why.", EXAMPLES
    )
    parser.add_argument(
        "logs", nargs="+", metavar="LOG", help="score logs, folders of them, or rollouts as JSONL"
    )
    parser.add_argument(
        "--db", required=True, metavar="PATH", help="a database for all, or the folder of the databases"
    )
    parser.add_argument("--changed", action="store_true", help="write only the samples whose score changed")
    add_reward(parser)
    add_executor(parser)
    add_output(parser)
    add_strict_golds(parser)
    add_signature(parser)


def run(arguments: argparse.Namespace) -> int:
    """Score again, write a record for each sample, and sum up what changed."""
    from finer_rewards.cli.database_option import find_databases
    from finer_rewards.scoring import Scorer

    reward = chosen_reward(arguments)
    read = read_rollouts(arguments.logs)
    named = [db for one in read.rollouts for db in one.sample.dbs]
    databases = find_databases(arguments.db, named, arguments.logs[0], arguments.engine)
    single = databases.names[0] if databases.place.database else None
    memory = chosen_memory(arguments, reward)
    judge = chosen_judge(arguments, reward)
    neighbours = chosen_neighbours(arguments)
    executor = chosen_executor(arguments, databases)
    kind = format_of(arguments.format, arguments.output)
    names = component_names(reward)
    summary = _BeforeAndAfter()

    def records(scorer: Scorer, bar: Progress) -> Iterator[dict[str, Any]]:
        for start in range(0, len(read.rollouts), BATCH):
            batch = read.rollouts[start : start + BATCH]
            evidence = scorer.observe([one.sample_on(single) for one in batch])
            bar.hide()
            for number, (one, seen, score) in enumerate(
                zip(batch, evidence, scorer.grade(evidence), strict=True), start + 1
            ):
                summary.add(one, score)
                if not arguments.changed or one.value != score.value or not one.scored:
                    yield _record(number, one, seen.answer.sql, score) | component_values(reward, score)
            bar.advance(len(batch))

    if read.unreadable:
        print(f"finer-rewards: {read.unreadable} lines are damaged and are left out", file=sys.stderr)
    with (
        Scorer(reward, executor, memory=memory, judge=judge, neighbours=neighbours) as scorer,
        open_output(arguments.output) as file,
    ):
        with Progress("samples scored", len(read.rollouts)) as bar:
            write_records(
                records(scorer, bar), kind, file, (*COLUMNS, *names), lambda record: _lines(record, file)
            )
        after = scorer.signature
    said = file if kind == "text" and arguments.output is None else sys.stderr
    print("\n".join(summary.lines()), file=said)
    for change in dict.fromkeys(
        change for before in read.signatures for change in signature_changes(before, after.content)
    ):
        print(f"signature: {change}", file=sys.stderr)
    say_signature(after, whole=arguments.signature)
    return exit_status(summary.unscored, arguments)


class _BeforeAndAfter:
    """The values before and after, and how many samples changed in which way."""

    def __init__(self) -> None:
        self.before: list[float] = []
        self.after: list[float] = []
        self.kinds: Counter[str] = Counter()
        self.unscored: set[Status] = set()

    def add(self, rollout: Rollout, score: Score) -> None:
        """Count one sample."""
        if score.value is None:
            self.unscored.add(score.status)
        if rollout.value is not None:
            self.before.append(rollout.value)
        if score.value is not None:
            self.after.append(score.value)
        self.kinds[_kind(rollout, score)] += 1

    def lines(self) -> list[str]:
        """Return the summary."""
        means = [f"{fmean(values):.4f}" if values else "none" for values in (self.before, self.after)]
        parts = ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        return [f"mean {means[0]} → {means[1]} over {self.kinds.total()} samples: {parts}"]


def _kind(rollout: Rollout, score: Score) -> str:
    """Return in which way a score changed; `new` if the log has a completion without a score."""
    if not rollout.scored:
        return "new"
    if rollout.value == score.value:
        return "equal"
    if rollout.value is None or score.value is None:
        return "no longer scored" if score.value is None else "scored now"
    return "higher" if score.value > rollout.value else "lower"


def _record(number: int, rollout: Rollout, sql: str | None, score: Score) -> dict[str, Any]:
    both = rollout.value is not None and score.value is not None
    values = (
        number,
        rollout.step,
        rollout.value,
        score.value,
        (score.value or 0) - (rollout.value or 0) if both else None,
        score.status.name,
        rollout.reason,
        reason_of(score),
        rollout.sample.question,
        rollout.sample.dbs[0],
        sql,
        rollout.sample.gold,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _lines(record: Mapping[str, Any], file: TextIO) -> Iterator[str]:
    before, after = (
        "none" if record[name] is None else f"{record[name]:.3f}" for name in ("before", "after")
    )
    change = record["change"] or 0
    colour = "dim" if before == after else "green" if change > 0 else "red"
    line = f"{record['number']:>5}  {before} → {after}"
    why = one_line(record["reason"])
    if before != after and record["reason_before"] not in ("", record["reason"]):
        why = f"{why} (before: {one_line(record['reason_before'])})"
    yield f"{paint(line, colour, file)}  {why}"
    if before != after:
        yield f"         {visible(statement(record['predicted']))}"
