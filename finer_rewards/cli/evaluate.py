"""`finer-rewards evaluate`: predictions on a benchmark, by difficulty and by database."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from finer_rewards.cli.databases import find_databases
from finer_rewards.cli.options import (
    add_executor,
    add_output,
    add_parser,
    add_strict_golds,
    chosen_executor,
    chosen_neighbours,
    exit_status,
    number,
)
from finer_rewards.cli.output import format_of, json_text, open_output, write_records
from finer_rewards.cli.progress import Progress
from finer_rewards.errors import ConfigError
from finer_rewards.rewards.efficiency import LEAST_REPEATS, steady_ratio

if TYPE_CHECKING:
    from finer_rewards.datasets.benchmark import Benchmark
    from finer_rewards.evaluating import Outcome, Summary

EXAMPLES = """\
  finer-rewards evaluate pred.sql spider/
  finer-rewards evaluate predict_dev.json bird/dev/ --failures wrong.jsonl
  finer-rewards evaluate pred.sql dev.json --db spider/database --mode strict --format json
  finer-rewards evaluate one.sql two.sql three.sql spider/ --strategy vav
  finer-rewards evaluate samples.jsonl spider/ --fail-under 0.8

Several prediction files, or a JSONL file with a list of `candidates` in each record, are several candidates a
question: each candidate's own EX, recall@n and the EX of a vote are given. BENCHMARK is a folder as Spider or
BIRD unpack, or the file of its questions with --db. --format jsonl gives one record a question.
"""
COLUMNS = (
    "question_id",
    "db",
    "level",
    "value",
    "status",
    "reason",
    "soft_f1",
    "ratio",
    "chosen",
    "predicted",
    "gold",
)
MEASURES = ("EX", "soft-F1", "VES", "R-VES")


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = add_parser(
        subparsers, "evaluate", "Evaluate predictions on Spider, BIRD or a benchmark like them.", EXAMPLES
    )
    parser.add_argument(
        "predicted", nargs="+", metavar="PRED", help="predictions; several are several candidates"
    )
    parser.add_argument(
        "benchmark", metavar="BENCHMARK", help="a folder with questions and databases, or a file"
    )
    parser.add_argument(
        "--db", metavar="FOLDER", help="the folder of databases, where it is not in BENCHMARK"
    )
    parser.add_argument(
        "--mode", metavar="NAME", help="how results are compared (test_suite; bird for a benchmark like BIRD)"
    )
    parser.add_argument("--strategy", default="vav", metavar="NAME", help="how candidates are voted on (vav)")
    parser.add_argument(
        "--repeat",
        type=number("--repeat", int, "a positive whole number"),
        default=1,
        metavar="N",
        help=f"times a right query and its gold are timed for VES and R-VES, which takes {LEAST_REPEATS} or more",
    )
    parser.add_argument(
        "--failures", metavar="FILE", help="write what is not right, one JSON record a question"
    )
    parser.add_argument(
        "--fail-under",
        type=number("--fail-under", float, "a number"),
        metavar="X",
        help="exit 1 when EX is below X",
    )
    add_strict_golds(parser)
    add_executor(parser)
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, and write the tables or the records."""
    from finer_rewards.comparing import find_mode
    from finer_rewards.datasets.benchmark import read_benchmark
    from finer_rewards.datasets.modes import EVALUATION_MODES
    from finer_rewards.evaluating import at_fault, evaluate, summarise
    from finer_rewards.voting import vote

    benchmark = read_benchmark(arguments.benchmark, arguments.db)
    mode = arguments.mode or EVALUATION_MODES["bird" if benchmark.bird else "spider"]
    find_mode(mode)
    vote([], arguments.strategy, sqls=[])
    questions = benchmark.questions
    candidates = _candidates(arguments.predicted, benchmark)
    databases = find_databases(
        str(benchmark.databases), [one.db for one in questions], benchmark.name, arguments.engine
    )
    executor = chosen_executor(arguments, databases)
    with Progress("questions evaluated", len(questions)) as bar:
        outcomes = list(
            evaluate(
                questions,
                candidates,
                executor,
                mode=mode,
                strategy=arguments.strategy,
                repeat=arguments.repeat,
                neighbours=chosen_neighbours(arguments),
                advance=bar.advance,
            )
        )
    total = summarise(outcomes)
    if arguments.failures:
        wrong = (_record(one) for one in outcomes if one.verdict.value != 1)
        with open_output(arguments.failures) as file:
            write_records(wrong, "jsonl", file, COLUMNS, lambda _: ())
    kind = format_of(arguments.format, arguments.output)
    with open_output(arguments.output) as file:
        if kind in ("jsonl", "csv"):
            write_records((_record(one) for one in outcomes), kind, file, COLUMNS, lambda _: ())
        elif kind == "json":
            file.write(json_text(_report(outcomes, benchmark, mode), indent=2) + "\n")
        else:
            file.writelines(f"{line}\n" for line in _tables(outcomes, mode, arguments))
    faults = at_fault(outcomes)
    for status, count in faults.items():
        print(
            f"finer-rewards: {count} of {len(outcomes)} questions left out: {status.sentence}",
            file=sys.stderr,
        )
    low = arguments.fail_under is not None and (
        total.accuracy is None or total.accuracy < arguments.fail_under
    )
    if low:
        print(f"finer-rewards: EX is below --fail-under {arguments.fail_under:g}", file=sys.stderr)
    return 1 if low else exit_status(faults, arguments)


def _candidates(paths: Sequence[str], benchmark: Benchmark) -> list[tuple[str, ...]]:
    """Return the candidates of each question, in the order of the questions."""
    from finer_rewards.datasets.benchmark import pair_predictions
    from finer_rewards.datasets.candidates import read_groups
    from finer_rewards.files import Entry, read_statements

    questions = benchmark.questions
    groups = read_groups(paths[0]) if len(paths) == 1 else None
    if groups is not None:
        # Paired like predictions: each stands for its group by its place among them.
        stand_ins = [Entry(str(place), group.db, group.question_id) for place, group in enumerate(groups)]
        found = [groups[int(one.sql)].texts for one in pair_predictions(questions, stand_ins, paths[0])]
        if len({len(texts) for texts in found}) > 1:
            raise ConfigError(
                f"`{paths[0]}` should hold as many candidates for each question, but it holds from "
                f"{min(map(len, found))} to {max(map(len, found))}. Fill up with empty texts."
            )
        return found
    files = [pair_predictions(questions, read_statements(path), path) for path in paths]
    return [tuple(entry.sql for entry in row) for row in zip(*files, strict=True)]


def _record(one: Outcome) -> dict[str, Any]:
    place, score = one.chosen or 0, one.verdict
    record: dict[str, Any] = {
        "question_id": one.question.question_id,
        "db": one.question.db,
        "level": one.question.level,
        "value": score.value,
        "status": score.status.name,
        "reason": score.reason,
        "soft_f1": one.soft_f1[place],
        "ratio": None if (ratios := one.ratios[place]) is None else steady_ratio(ratios),
        "chosen": one.chosen,
        "predicted": one.sqls[place],
        "gold": one.question.gold[0] if len(one.question.gold) == 1 else list(one.question.gold),
    }
    if len(one.scores) > 1:
        record["candidates"] = [score.value for score in one.scores]
    return record


def _report(outcomes: Sequence[Outcome], benchmark: Benchmark, mode: str) -> dict[str, Any]:
    from finer_rewards.evaluating import recall, summarise

    report: dict[str, Any] = {"benchmark": benchmark.name, "mode": mode, **asdict(summarise(outcomes))}
    report["by_level"] = {name: asdict(summarise(part)) for name, part in _levels(outcomes)}
    report["by_database"] = {name: asdict(summarise(part)) for name, part in _databases(outcomes)}
    count = len(outcomes[0].scores)
    if count > 1:
        report["candidates"] = [asdict(summarise(outcomes, place)) for place in range(count)]
        report["recall"] = {str(n): recall(outcomes, n) for n in _steps(count)}
    return report


def _levels(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, list[Outcome]]]:
    from finer_rewards.datasets.benchmark import LEVELS

    present = {one.question.level for one in outcomes}
    known = [level for level in LEVELS if level in present]
    for level in known + sorted(present.difference(LEVELS)):
        yield level, [one for one in outcomes if one.question.level == level]


def _databases(outcomes: Sequence[Outcome]) -> Iterator[tuple[str, list[Outcome]]]:
    for name in dict.fromkeys(one.question.db for one in outcomes):
        yield name, [one for one in outcomes if one.question.db == name]


def _steps(count: int) -> list[int]:
    """Return 1, 2, 4, ... and the number of candidates."""
    return [*(2**power for power in range(count.bit_length()) if 2**power < count), count]


def _tables(outcomes: Sequence[Outcome], mode: str, arguments: argparse.Namespace) -> Iterator[str]:
    from finer_rewards.evaluating import recall, summarise

    count = len(outcomes[0].scores)
    wide = max(24, *(len(one.question.db) for one in outcomes))
    head = f"{'':<{wide}}  {'questions':>9}" + "".join(f"  {name:>7}" for name in MEASURES)
    voted = f", {arguments.strategy} over {count} candidates" if count > 1 else ""
    timed = summarise(outcomes)
    yield f"Compared by {mode}{voted}; EX and soft-F1 in per cent, VES and R-VES times 100."
    if timed.ves_spread is None or timed.r_ves_spread is None:
        yield f"VES and R-VES are not given: they say something from --repeat {LEAST_REPEATS} on."
    else:
        spread = f"{100 * timed.ves_spread:.2f} and {100 * timed.r_ves_spread:.2f}"
        yield f"Over {arguments.repeat} repeats VES and R-VES have standard deviations of {spread}."
    yield ""
    yield head
    for name, part in (*_levels(outcomes), ("all", list(outcomes))):
        yield _line(name, wide, summarise(part))
    yield ""
    yield head
    for name, part in _databases(outcomes):
        yield _line(name, wide, summarise(part))
    if count > 1:
        yield ""
        yield head
        paths = arguments.predicted
        named = len(paths) == count
        for place in range(count):
            name = PurePath(paths[place]).stem if named else f"candidate {place + 1}"
            yield _line(name[:wide], wide, summarise(outcomes, place))
        shares = [(n, recall(outcomes, n)) for n in _steps(count)]
        yield ""
        yield "  ".join(f"recall@{n} {share:.2%}" for n, share in shares if share is not None)


def _line(name: str, wide: int, summary: Summary) -> str:
    values = (summary.accuracy, summary.soft_f1, summary.ves, summary.r_ves)
    cells = "".join(f"  {'-':>7}" if value is None else f"  {100 * value:>7.2f}" for value in values)
    asked = str(summary.scored) if summary.scored == summary.asked else f"{summary.scored}/{summary.asked}"
    return f"{name:<{wide}}  {asked:>9}{cells}"
