"""`finer-rewards vote`: chooses one of several candidates for each question, by the results they return."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from finer_rewards._util.progress import Progress
from finer_rewards._util.sql_text import one_line
from finer_rewards.cli.database_option import find_databases
from finer_rewards.cli.options import add_executor, add_output, add_parser, chosen_executor
from finer_rewards.cli.output import format_of, open_output, write_records

if TYPE_CHECKING:
    from finer_rewards.datasets.candidates import Candidates

EXAMPLES = """\
  finer-rewards vote samples.jsonl --db spider/database > voted.sql
  finer-rewards vote one.sql two.sql three.sql --db spider/database --strategy majority
  finer-rewards vote samples.jsonl --db x.sqlite --format jsonl -o voted.jsonl

Each record of a JSONL file holds a list of `candidates` (completions or SQL) and a `db_id`; several prediction
files are taken side by side. Text output is a prediction file, `SQL<TAB>db_id` a line, for score and evaluate;
comments are left out of it, and line breaks in literals are spaces (JSONL keeps both).
"""
COLUMNS = ("number", "question_id", "db", "index", "predicted", "ran", "groups", "votes")


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    from finer_rewards.voting import STRATEGIES

    parser = add_parser(subparsers, "vote", "Choose one of several candidates for each question.", EXAMPLES)
    parser.add_argument(
        "candidates", nargs="+", metavar="CANDIDATES", help="a JSONL file of lists, or several files"
    )
    parser.add_argument(
        "--db",
        required=True,
        metavar="PATH",
        help="a database file, or a folder laid out ID/ID.sqlite or ID.sqlite",
    )
    parser.add_argument("--strategy", default="vav", metavar="NAME", help=f"{', '.join(STRATEGIES)} (vav)")
    add_executor(parser, matches=False)
    add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Vote, and write the choice for each question."""
    from finer_rewards.datasets.candidates import read_candidates
    from finer_rewards.voting import vote

    vote([], arguments.strategy, sqls=[])
    groups = read_candidates(arguments.candidates)
    databases = find_databases(
        arguments.db, [group.db for group in groups], arguments.candidates[0], arguments.engine
    )
    executor = chosen_executor(arguments, databases)
    lost: Counter[str] = Counter()
    kind = format_of(arguments.format, arguments.output)
    with executor, open_output(arguments.output) as file:
        records = _records(groups, databases.names, executor, arguments.strategy, lost)
        write_records(records, kind, file, COLUMNS, _line)
    for reason, count in lost.items():
        print(f"finer-rewards: {count} of {len(groups)} questions: {reason}", file=sys.stderr)
    return 1 if any(lost.values()) else 0


def _records(
    groups: Sequence[Candidates], names: Sequence[str], executor: Any, strategy: str, lost: Counter[str]
) -> Iterator[dict[str, Any]]:
    from finer_rewards.executing import Query
    from finer_rewards.parsing import parse_completion
    from finer_rewards.voting import vote, votes_for

    with Progress("questions voted on", len(groups)) as bar:
        for start in range(0, len(groups), 64):
            batch = list(zip(groups[start : start + 64], names[start : start + 64], strict=True))
            answers = [[parse_completion(text).sql for text in group.texts] for group, _ in batch]
            queries = [
                Query(sql, db)
                for sqls, (_, db) in zip(answers, batch, strict=True)
                for sql in sqls
                if sql is not None
            ]
            runs = iter(executor.execute_many(queries))
            bar.hide()
            for number, (sqls, (group, _)) in enumerate(zip(answers, batch, strict=True), start + 1):
                executions = [None if sql is None else next(runs) for sql in sqls]
                faults = {
                    run.status.sentence for run in executions if run is not None and not run.status.scorable
                }
                lost.update(faults)
                chosen = vote(executions, strategy, sqls=sqls)
                yield {
                    "number": number,
                    "question_id": group.question_id,
                    "db": group.db,
                    "index": chosen,
                    # If no candidate ran, the first is written: a benchmark wants a prediction for each question.
                    "predicted": (sqls[chosen] if chosen is not None else next((s for s in sqls if s), None))
                    or "",
                    "ran": sum(run is not None and run.ok for run in executions),
                    **votes_for(executions, chosen),
                }
            bar.advance(len(batch))


def _line(record: Mapping[str, Any]) -> Iterator[str]:
    db = "" if record["db"] is None else f"\t{one_line(record['db'])}"
    # `one_line` strips comments: on one line a `--` comment would swallow the rest.
    yield one_line(record["predicted"]) + db
