"""`finer-rewards prepare`: writes a benchmark as rows for a trainer, after its golds are audited."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from finer_rewards._util.progress import Progress
from finer_rewards.cli.database_option import ChosenDatabases, find_databases
from finer_rewards.cli.options import add_executor, add_parser, made_executor, number
from finer_rewards.engines.registry import engine_at
from finer_rewards.errors import ConfigError, DataError, suggest

if TYPE_CHECKING:
    from finer_rewards.datasets.benchmark import Question
    from finer_rewards.datasets.preparing import LeftOut, TrainingRow
    from finer_rewards.datasets.question_sources import QuestionSource
    from finer_rewards.executing import Executor

EXAMPLES = """\
  finer-rewards prepare spider/ --to trl -o rows/
  finer-rewards prepare bird/train/ --to verl -o rows/ --tokenizer Qwen/Qwen2.5-Coder-3B-Instruct --max-prompt 2048
  finer-rewards prepare train.jsonl --db databases/ --to openrlhf -o rows/ --dev-share 0.05 --seed 7
  finer-rewards prepare training.tsv --db squall/tables/db --to trl -o rows/
  finer-rewards prepare hub:xlangai/spider --db spider/database --to trl -o rows/
  finer-rewards prepare spider/ --part dev --no-audit --to trl -o dev/
  finer-rewards prepare spider/ --to trl -o harder/ --pass-rates scores.jsonl --pass-band 0.1:0.9

DATA is a folder as Spider or BIRD unpack, a JSON or JSONL file with question, db_id and gold SQL, a TSV file of
WikiTableQuestions (answers instead of SQL), or hub:OWNER/NAME. OUT becomes a folder with train.jsonl (or
.parquet; dev.jsonl with --part dev), and report.json: the counts, and every question left out with the reason.
Question ids are kept. Exit status: 0 written, 2 wrong usage, and then nothing is.
"""


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = add_parser(
        subparsers, "prepare", "Turn a benchmark into rows for a trainer, with audited gold.", EXAMPLES
    )
    positive = "a positive whole number"
    parser.add_argument("data", metavar="DATA", help="a folder, a JSON, JSONL or TSV file, or hub:OWNER/NAME")
    parser.add_argument("--to", required=True, metavar="TRAINER", help="trl, verl or openrlhf")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="the folder to write")
    parser.add_argument(
        "--db",
        metavar="PATH",
        help="folder of databases, where it is not beside DATA, or one database for all",
    )
    parser.add_argument(
        "--part", default="train", metavar="PART", help="train, dev or test: which questions (train)"
    )
    parser.add_argument("--format", metavar="FORMAT", help="jsonl or parquet (parquet for verl, else jsonl)")
    group = parser.add_argument_group("prompt")
    group.add_argument(
        "--prompt", default="finer", metavar="NAME", help="finer, sql_r1, fence or plain (finer)"
    )
    group.add_argument(
        "--values", type=number("--values", int, "a whole number"), default=3, metavar="N",
        help="sample values a column (3)",
    )  # fmt: skip
    group.add_argument(
        "--tables", default="all", metavar="WHICH", help="all, or question: those it is about (all)"
    )
    group.add_argument(
        "--aggregate-first", action=argparse.BooleanOptionalAction,
        help="ask for aggregates before grouping columns, as Spider's gold has them (for Spider)",
    )  # fmt: skip
    group.add_argument(
        "--max-prompt", type=number("--max-prompt", int, positive), metavar="N",
        help="longest prompt, in tokens (2048 with --tokenizer); without --tokenizer in characters",
    )  # fmt: skip
    group.add_argument("--tokenizer", metavar="NAME", help="folder or hub name of the model's tokenizer")
    parser.add_argument(
        "--mode", metavar="NAME",
        help="how rewards are to compare results: spider_train, bird_train or answer, by the layout of DATA",
    )  # fmt: skip
    group = parser.add_argument_group("rows")
    group.add_argument(
        "--dev-share", type=number("--dev-share", float, "a positive number"), metavar="X",
        help="hold out whole databases with at least this share of the rows, as dev.jsonl",
    )  # fmt: skip
    group.add_argument(
        "--seed", type=number("--seed", int, "a whole number"), default=0, metavar="N", help="of the draw (0)"
    )
    group.add_argument(
        "--golds-from", metavar="FOLDER",
        help="the databases that the golds were written for, where they are to run on another engine: they are "
        "translated, and left out where they mean something else there (those of --db themselves, with --engine)",
    )  # fmt: skip
    group.add_argument("--no-audit", action="store_true", help="keep every gold, for evaluation")
    group.add_argument(
        "--keep", action="append", default=[], metavar="KIND",
        help="keep golds with this finding, such as duplicate; may be repeated (see `finer-rewards check`)",
    )  # fmt: skip
    group.add_argument(
        "--pass-rates", nargs="+", default=[], metavar="LOG",
        help="score logs of an earlier run: questions whose pass rate in them lies outside the band are left out",
    )  # fmt: skip
    group.add_argument(
        "--pass-band", metavar="LOW:HIGH",
        help="pass rates that are kept, both ends included (0.1:0.9); questions that are in no log are kept",
    )  # fmt: skip
    group.add_argument(
        "--no-neighbours", action="store_true",
        help="leave the neighbours of training golds to be built when they are first judged",
    )  # fmt: skip
    group.add_argument(
        "--against",
        metavar="FILE",
        help="golds that should be the same, place by place, such as dev_gold.sql; an error where they are not",
    )
    group.add_argument(
        "--skip-missing",
        action="store_true",
        help="leave out questions whose database is missing (an error otherwise)",
    )
    add_executor(parser, matches=False)


def run(arguments: argparse.Namespace) -> int:
    """Read, audit, write the prompts, split, and write the folder."""
    from finer_rewards._score_log import log_files
    from finer_rewards.comparing import find_mode
    from finer_rewards.datasets.benchmark_modes import TRAINING_MODES
    from finer_rewards.datasets.pass_rates import in_band, read_band, read_pass_rates
    from finer_rewards.datasets.preparing import LeftOut, message_counter, prepare_rows
    from finer_rewards.datasets.prompts import named_prompt
    from finer_rewards.datasets.question_sources import read_source
    from finer_rewards.datasets.writing import TRAINERS, check_output, records_for, write_folder

    if arguments.to not in TRAINERS:
        raise ConfigError(
            f"`--to` should be one of {', '.join(TRAINERS)}, but got {arguments.to!r}. "
            f"{suggest(arguments.to, TRAINERS)}".rstrip()
        )
    if arguments.mode:
        find_mode(arguments.mode)
    if arguments.pass_band and not arguments.pass_rates:
        raise ConfigError(
            "`--pass-band` should stand beside score logs, but got no --pass-rates. Add --pass-rates LOG."
        )
    band = read_band(arguments.pass_band or "0.1:0.9")
    rates = read_pass_rates(log_files(arguments.pass_rates)) if arguments.pass_rates else None
    file_format = arguments.format or TRAINERS[arguments.to]
    check_output(arguments.output, file_format)
    prompt = named_prompt(arguments.prompt)
    count = message_counter(arguments.tokenizer) if arguments.tokenizer else None
    max_prompt = arguments.max_prompt or (2048 if count else None)
    source = read_source(arguments.data, arguments.db, part=arguments.part)
    if arguments.against:
        _compare(source, arguments.against)
    found = find_databases(
        str(source.databases), [one.db for one in source.questions], source.name, arguments.engine
    )
    executor = made_executor(arguments, found)
    questions, missing = _present(source, found.names, executor, arguments.skip_missing)
    aggregate_first = (
        source.kind == "spider" if arguments.aggregate_first is None else arguments.aggregate_first
    )
    golds = 0 if arguments.no_audit else sum(len(question.gold) for question in questions)
    with (
        executor,
        _written_for(arguments, found) as written_for,
        Progress("golds audited and prompts written", golds + len(questions)) as bar,
    ):
        prepared = prepare_rows(
            questions,
            executor,
            prompt=prompt,
            aggregate_first=aggregate_first,
            samples=arguments.values,
            tables=arguments.tables,
            max_prompt=max_prompt,
            count=count,
            audit=not arguments.no_audit,
            keep=arguments.keep,
            written_for=written_for,
            on_done=bar.advance,
        )
    if rates is not None:
        prepared = in_band(prepared, rates, band)
    left_out = [LeftOut(one.question_id, one.db, "no_database", "it is not there") for one in missing]
    left_out += prepared.left_out
    if not prepared.rows:
        raise DataError(
            f"`{source.name}` should leave rows to train on, but all {len(source.questions)} questions were left "
            f"out ({_counts(left_out)}). See `finer-rewards check`."
        )
    splits = _splits(arguments, prepared.rows)
    mode = arguments.mode or TRAINING_MODES.get(source.kind, "answer")
    report = {
        "mode": mode,
        **_report(arguments, source, splits, left_out, max_prompt, aggregate_first),
    }
    paths = write_folder(
        arguments.output, records_for(arguments.to, splits, source.kind), file_format, report
    )
    for path in paths:
        print(path)
    sys.stdout.flush()
    parts = " + ".join(f"{len(rows)} {name}" for name, rows in splits.items())
    print(
        f"{len(source.questions)} questions of {source.name} (read as {source.kind}) = {parts} "
        f"+ {len(left_out)} left out",
        file=sys.stderr,
    )
    _say_reasons(left_out)
    if rates is not None:
        unknown = sum(rates.of(row.question) is None for row in prepared.rows)
        print(
            f"{len(prepared.rows) - unknown} rows pass at a rate from {band.low:g} to {band.high:g} in the logs; "
            f"{unknown} are in none and are kept",
            file=sys.stderr,
        )
    why = "as --mode says" if arguments.mode else f"for data read as {source.kind}"
    print(f"rewards compare results by {mode}, {why}: finer(mode={mode!r})", file=sys.stderr)
    if arguments.part == "train" and not arguments.no_neighbours:
        _build_neighbours(executor, mode, chain.from_iterable(splits.values()))
    return 0


def _splits(arguments: argparse.Namespace, rows: Sequence[TrainingRow]) -> dict[str, Any]:
    """Return the rows of each part that is written: of one, or of train and dev, which share no database."""
    from finer_rewards.datasets.preparing import split_by_database

    if arguments.dev_share is None:
        return {arguments.part: rows}
    if arguments.part != "train":
        raise ConfigError(
            "`--dev-share` parts the questions of the part train, but got another --part. Leave one out."
        )
    train, dev = split_by_database(rows, arguments.dev_share, arguments.seed)
    return {"train": train, "dev": dev}


def _build_neighbours(executor: Executor, mode: str, rows: Iterable[TrainingRow]) -> None:
    """Build the neighbours now that training would build later, in the folder in which it looks for them."""
    from finer_rewards.rewards import execution_match
    from finer_rewards.scoring import Scorer
    from finer_rewards.types import Sample

    with Scorer(execution_match(mode), executor) as scorer:
        questions = [row.question for row in rows if row.question.gold]
        scorer.build_neighbours(Sample("", one.gold, one.db) for one in questions)


def _written_for(
    arguments: argparse.Namespace, found: ChosenDatabases
) -> AbstractContextManager[Executor | None]:
    """Return an executor for the golds in the dialect they are written in; `None` if `--db` is of that engine."""
    place = arguments.golds_from or found.path
    engine = engine_at(place)
    if engine is found.engine:
        return nullcontext()
    limits = {"timeout": arguments.timeout, "max_rows": arguments.max_rows, "workers": arguments.workers}
    return engine.executor(engine.look(place).root, **limits)


def _compare(source: QuestionSource, against: str) -> None:
    """Raise `DataError` if the golds of a second file are not those of the questions, in the same order."""
    from finer_rewards._auditing import Gold, misplaced
    from finer_rewards._statement_files import read_statements

    others = read_statements(against, side="gold")
    if len(others) != len(source.questions):
        raise DataError(
            f"`--against` should have a gold for each of the {len(source.questions)} questions of {source.name}, "
            f"but {against} has {len(others)}. Pass the file that belongs to them."
        )
    ours = [Gold(next(iter(one.gold), ""), one.db) for one in source.questions]
    for index, finding in misplaced(ours, [Gold(one.sql, one.db or "") for one in others]).items():
        raise DataError(
            f"`--against` should have the golds of {source.name} in their order, but for question "
            f"{source.questions[index].question_id} {finding.reason}. Pass the file that belongs to them."
        )


def _present(
    source: QuestionSource, names: Sequence[str], executor: Executor, skip: bool
) -> tuple[list[Question], list[Question]]:
    """Return the questions whose database is there, each with its database's full name, and the other questions."""
    from finer_rewards.executing.abilities import path_of

    there: dict[str, bool] = {}
    for name in dict.fromkeys(names):
        try:
            path_of(executor, name)
            there[name] = True
        except ConfigError as error:
            if not skip:
                count = sum(one == name for one in names)
                raise DataError(
                    f"`{source.name}` has {count} question{'s' * (count != 1)} on the database {name!r}, which "
                    f"cannot be used. {error} Or pass --skip-missing to leave such questions out."
                ) from None
            there[name] = False
    named = [replace(one, db=name) for one, name in zip(source.questions, names, strict=True)]
    return [one for one in named if there[one.db]], [one for one in named if not there[one.db]]


def _report(
    arguments: argparse.Namespace,
    source: QuestionSource,
    splits: dict[str, list[TrainingRow]],
    left_out: list[LeftOut],
    max_prompt: int | None,
    aggregate_first: bool,
) -> dict[str, Any]:
    from finer_rewards._version import VERSION

    lengths = sorted(row.length for rows in splits.values() for row in rows)
    return {
        "version": VERSION,
        "data": source.name,
        "kind": source.kind,
        "databases": str(source.databases),
        "to": arguments.to,
        "settings": {
            "part": arguments.part,
            "prompt": arguments.prompt,
            "aggregate_first": aggregate_first,
            "values": arguments.values,
            "tables": arguments.tables,
            "max_prompt": max_prompt,
            "tokenizer": arguments.tokenizer,
            "audit": not arguments.no_audit,
            "keep": arguments.keep,
            "dev_share": arguments.dev_share,
            "seed": arguments.seed,
            "golds_from": arguments.golds_from,
            "pass_rates": arguments.pass_rates,
            "pass_band": arguments.pass_band,
            "timeout": arguments.timeout,
            "max_rows": arguments.max_rows,
        },
        "counts": {
            "in": len(source.questions),
            **{name: len(rows) for name, rows in splits.items()},
            "left_out": len(left_out),
        },
        "left_out_by_reason": dict(Counter(one.kind for one in left_out).most_common()),
        "databases_by_split": {
            name: sorted({row.question.db for row in rows}) for name, rows in splits.items()
        },
        "prompt_length": {
            "unit": "tokens" if arguments.tokenizer else "characters",
            "median": lengths[len(lengths) // 2],
            "longest": lengths[-1],
        },
        "left_out": [asdict(one) for one in left_out],
    }


def _counts(left_out: list[LeftOut]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in Counter(one.kind for one in left_out).most_common())


def _say_reasons(left_out: list[LeftOut]) -> None:
    from finer_rewards.datasets.preparing import REASONS

    for kind, count in Counter(one.kind for one in left_out).most_common():
        print(f"  {count} {kind}: {REASONS[kind]}", file=sys.stderr)
