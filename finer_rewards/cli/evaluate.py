"""`finer-rewards evaluate`: scores predictions on a benchmark, by difficulty and by database."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from finer_rewards._util.progress import Progress
from finer_rewards.cli.database_option import find_databases
from finer_rewards.cli.figure_tables import MARKUPS, FigureTable, as_text
from finer_rewards.cli.inputs import ask_if_swapped
from finer_rewards.cli.options import (
    FORMATS,
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
  finer-rewards evaluate baseline.sql ours.sql spider/ --paired --format latex

Several prediction files, or a JSONL file with a list of `candidates` in each record, are several candidates a
question: each candidate's own EX, recall@n and the EX of a vote are given. Why answers are wrong is counted: the main
cause of each, and all that are in it. BENCHMARK is a folder as Spider or BIRD unpack, or the file of its questions
with --db. --format jsonl gives one record a question. With --paired each file is a system: EX with its bootstrap
interval, and each against the first by McNemar's exact test; records, --failures and --fail-under are those of the
last. A question for which predictions with ids have none
counts as wrong, and how many do is said.
"""
COLUMNS = (
    "question_id",
    "db",
    "level",
    "value",
    "status",
    "reason",
    "causes",
    "soft_f1",
    "ratio",
    "chosen",
    "predicted",
    "gold",
)
INTERVAL = "95 % interval"
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
        "--confidence", action="store_true", help="give EX with its bootstrap interval of 95 per cent"
    )
    parser.add_argument(
        "--paired",
        action="store_true",
        help="PRED are systems: compare each with the first, question by question",
    )
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
    add_output(parser, (*FORMATS, *MARKUPS))


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, and write the tables or the records."""
    from finer_rewards.comparing import find_mode
    from finer_rewards.datasets.benchmark import read_benchmark
    from finer_rewards.datasets.benchmark_modes import EVALUATION_MODES
    from finer_rewards.evaluating import at_fault, evaluate, summarise
    from finer_rewards.voting import vote

    if arguments.paired and len(arguments.predicted) < 2:
        raise ConfigError(
            "`--paired` should get the predictions of two systems or more, but got one file. Add one."
        )
    for one in arguments.predicted:
        ask_if_swapped(one, arguments.benchmark)
    benchmark = read_benchmark(arguments.benchmark, arguments.db)
    mode = arguments.mode or EVALUATION_MODES["bird" if benchmark.bird else "spider"]
    find_mode(mode)
    vote([], arguments.strategy, sqls=[])
    questions = benchmark.questions
    candidates = _candidates(arguments.predicted, benchmark)
    _say_missing(arguments.predicted, candidates)
    databases = find_databases(
        str(benchmark.databases), [one.db for one in questions], benchmark.name, arguments.engine
    )
    executor = chosen_executor(arguments, databases)
    with Progress("questions evaluated", len(questions)) as bar:
        outcomes = list(
            evaluate(
                questions,
                [[text or "" for text in texts] for texts in candidates],
                executor,
                mode=mode,
                strategy=arguments.strategy,
                repeat=arguments.repeat,
                neighbours=chosen_neighbours(arguments),
                advance=bar.advance,
            )
        )
    if arguments.paired:
        # The candidates of a question are systems here, between which there is no vote: the records, failures
        # and totals are those of the last system.
        outcomes = [replace(one, chosen=len(one.scores) - 1) for one in outcomes]
    _write(outcomes, benchmark, mode, arguments)
    faults = at_fault(outcomes)
    for status, count in faults.items():
        print(
            f"finer-rewards: {count} of {len(outcomes)} questions left out: {status.sentence}",
            file=sys.stderr,
        )
    accuracy = summarise(outcomes).accuracy
    if arguments.fail_under is not None and (accuracy is None or accuracy < arguments.fail_under):
        print(f"finer-rewards: EX is below --fail-under {arguments.fail_under:g}", file=sys.stderr)
        return 1
    return exit_status(faults, arguments)


def _say_missing(paths: Sequence[str], candidates: Sequence[tuple[str | None, ...]]) -> None:
    """Tell which files have no prediction for some questions."""
    for path, texts in zip(paths, zip(*candidates, strict=True), strict=False):
        if count := texts.count(None):
            print(
                f"finer-rewards: {path} has no prediction for {count} of {len(texts)} questions: they count as wrong",
                file=sys.stderr,
            )


def _write(
    outcomes: Sequence[Outcome], benchmark: Benchmark, mode: str, arguments: argparse.Namespace
) -> None:
    """Write the failures to their file, and the tables or the records to the output."""
    if arguments.failures:
        wrong = (_record(one) for one in outcomes if one.verdict.value != 1)
        with open_output(arguments.failures) as file:
            write_records(wrong, "jsonl", file, COLUMNS, lambda _: ())
    kind = format_of(arguments.format, arguments.output)
    with open_output(arguments.output) as file:
        if kind in ("jsonl", "csv"):
            write_records((_record(one) for one in outcomes), kind, file, COLUMNS, lambda _: ())
        elif kind == "json":
            file.write(json_text(_report(outcomes, benchmark, mode, arguments), indent=2) + "\n")
        else:
            # Markdown and LaTeX are for papers.
            why = [] if kind in MARKUPS or arguments.paired else _why(outcomes)
            lines = MARKUPS.get(kind, as_text)(
                _notes(outcomes, mode, arguments), [*_tables(outcomes, arguments), *why]
            )
            file.writelines(f"{line}\n" for line in lines)


def _candidates(paths: Sequence[str], benchmark: Benchmark) -> list[tuple[str | None, ...]]:
    """Return the candidates of each question, in the order of the questions; a missing candidate is `None`."""
    from finer_rewards._statement_files import read_statements
    from finer_rewards._statement_records import FileStatement
    from finer_rewards.datasets.benchmark import MISSING, pair_predictions
    from finer_rewards.datasets.candidates import read_candidate_groups

    questions = benchmark.questions
    groups = read_candidate_groups(paths[0]) if len(paths) == 1 else None
    if groups is not None:
        # `pair_predictions` pairs single statements: each group takes part as a statement whose text is the
        # group's index.
        stand_ins = [
            FileStatement(str(place), group.db, group.question_id) for place, group in enumerate(groups)
        ]
        paired = pair_predictions(questions, stand_ins, paths[0])
        none = (None,) * len(groups[0].texts)
        found: list[tuple[str | None, ...]] = [
            none if one is MISSING else groups[int(one.sql)].texts for one in paired
        ]
        if len({len(texts) for texts in found}) > 1:
            raise ConfigError(
                f"`{paths[0]}` should hold as many candidates for each question, but it holds from "
                f"{min(map(len, found))} to {max(map(len, found))}. Fill up with empty texts."
            )
        return found
    files = [pair_predictions(questions, read_statements(path), path) for path in paths]
    rows = zip(*files, strict=True)
    return [tuple(None if entry is MISSING else entry.sql for entry in row) for row in rows]


def _record(one: Outcome) -> dict[str, Any]:
    place, score = one.chosen or 0, one.verdict
    record: dict[str, Any] = {
        "question_id": one.question.question_id,
        "db": one.question.db,
        "level": one.question.level,
        "value": score.value,
        "status": score.status.name,
        "reason": score.reason,
        "causes": list(one.causes[place]),
        "soft_f1": one.soft_f1[place],
        "ratio": None if (ratios := one.ratios[place]) is None else steady_ratio(ratios),
        "chosen": one.chosen,
        "predicted": one.sqls[place],
        "gold": one.question.gold[0] if len(one.question.gold) == 1 else list(one.question.gold),
    }
    if len(one.scores) > 1:
        record["candidates"] = [score.value for score in one.scores]
    return record


def _report(
    outcomes: Sequence[Outcome], benchmark: Benchmark, mode: str, arguments: argparse.Namespace
) -> dict[str, Any]:
    from finer_rewards.evaluating import count_causes, paired, recall, summarise

    report: dict[str, Any] = {"benchmark": benchmark.name, "mode": mode, **asdict(summarise(outcomes))}
    report["by_level"] = {name: asdict(summarise(part)) for name, part in _levels(outcomes)}
    report["by_database"] = {name: asdict(summarise(part)) for name, part in _databases(outcomes)}
    report["causes"] = {
        cause: {"main": main, "in": there} for cause, (main, there) in count_causes(outcomes).items()
    }
    count = len(outcomes[0].scores)
    if count > 1:
        report["candidates"] = [asdict(summarise(outcomes, place)) for place in range(count)]
        report["recall"] = {str(n): recall(outcomes, n) for n in _steps(count)}
    if arguments.confidence or arguments.paired:
        report["confidence"] = [_interval(outcomes, place) for place in range(count)]
    if arguments.paired:
        found = (paired(outcomes, place, 0) for place in range(1, count))
        report["paired"] = [None if one is None else asdict(one) for one in found]
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
    """Return the numbers of candidates at which the recall is reported: 1, 2, 4, ... and all."""
    return [*(2**power for power in range(count.bit_length()) if 2**power < count), count]


def _interval(outcomes: Sequence[Outcome], place: int | None) -> tuple[float, float] | None:
    from finer_rewards.evaluating import confidence

    found = [one.scores[(one.chosen or 0) if place is None else place].value for one in outcomes]
    scored = [value for value in found if value is not None]
    return confidence(scored) if scored else None


def _notes(outcomes: Sequence[Outcome], mode: str, arguments: argparse.Namespace) -> Iterator[str]:
    from finer_rewards.evaluating import summarise

    count = len(outcomes[0].scores)
    if arguments.paired:
        yield f"Compared by {mode}; EX in per cent, with its bootstrap interval of 95 per cent."
        yield (
            f"Each is compared with {_name(arguments, 0)} question by question; p by McNemar's exact test, for one "
            "comparison."
        )
        return
    voted = f", {arguments.strategy} over {count} candidates" if count > 1 else ""
    timed = summarise(outcomes)
    yield f"Compared by {mode}{voted}; EX and soft-F1 in per cent, VES and R-VES times 100."
    if timed.ves_spread is None or timed.r_ves_spread is None:
        yield f"VES and R-VES are not given: they say something from --repeat {LEAST_REPEATS} on."
    else:
        spread = f"{100 * timed.ves_spread:.2f} and {100 * timed.r_ves_spread:.2f}"
        yield f"Over {arguments.repeat} repeats VES and R-VES have standard deviations of {spread}."


def _tables(outcomes: Sequence[Outcome], arguments: argparse.Namespace) -> Iterator[FigureTable]:
    """Yield the tables, each with its heading; the first column is a name, the others are figures."""
    from finer_rewards.evaluating import paired, recall, summarise

    count = len(outcomes[0].scores)
    if arguments.paired:
        compared: FigureTable = [
            ("", "questions", "EX", INTERVAL, "difference", INTERVAL, "better", "worse", "p")
        ]
        for place in range(count):
            summary, interval = summarise(outcomes, place), _shown(_interval(outcomes, place))
            against = paired(outcomes, place, 0) if place else None
            compared.append(
                (_name(arguments, place), _asked(summary), _per_cent(summary.accuracy), interval)
                + (
                    ("-",) * 5
                    if against is None
                    else (
                        f"{100 * against.difference:+.2f}",
                        _shown(against.interval),
                        str(against.better),
                        str(against.worse),
                        f"{against.p:.2g}",
                    )
                )
            )
        yield compared
        return
    interval_head = (INTERVAL,) if arguments.confidence else ()
    head = ("", "questions", MEASURES[0], *interval_head, *MEASURES[1:])

    def row(name: str, part: Sequence[Outcome], place: int | None = None) -> tuple[str, ...]:
        one = summarise(part, place)
        interval = (_shown(_interval(part, place)),) if arguments.confidence else ()
        rest = (one.soft_f1, one.ves, one.r_ves)
        return (name, _asked(one), _per_cent(one.accuracy), *interval, *map(_per_cent, rest))

    yield [head, *(row(name, part) for name, part in (*_levels(outcomes), ("all", list(outcomes))))]
    yield [head, *(row(name, part) for name, part in _databases(outcomes))]
    if count > 1:
        named = len(arguments.predicted) == count
        names = [_name(arguments, place) if named else f"candidate {place + 1}" for place in range(count)]
        yield [head, *(row(name, outcomes, place) for place, name in enumerate(names))]
        shares = [(n, recall(outcomes, n)) for n in _steps(count)]
        yield [("", "share"), *((f"recall@{n}", _per_cent(share)) for n, share in shares)]


def _why(outcomes: Sequence[Outcome]) -> Iterator[FigureTable]:
    from finer_rewards.evaluating import count_causes

    if found := count_causes(outcomes):
        rows = ((cause, str(main), str(there)) for cause, (main, there) in found.items())
        yield [("why wrong", "main", "in"), *rows]


def _name(arguments: argparse.Namespace, place: int) -> str:
    return PurePath(arguments.predicted[place]).stem


def _asked(summary: Summary) -> str:
    return str(summary.scored) if summary.scored == summary.asked else f"{summary.scored}/{summary.asked}"


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _shown(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"[{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"
