"""`finer-rewards testsuite build`: builds neighbour databases for a set of gold queries."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from finer_rewards._statement_files import read_statements
from finer_rewards._util.progress import Progress
from finer_rewards.cli.database_option import find_databases
from finer_rewards.cli.options import FORMATS, add_parser, number
from finer_rewards.cli.output import write_records
from finer_rewards.cli.terminal import one_line, shorten, table, visible
from finer_rewards.errors import ConfigError
from finer_rewards.reporting.score_records import database_name

if TYPE_CHECKING:
    from finer_rewards._neighbours import Suite

EXAMPLES = """\
  finer-rewards testsuite build --db spider/database --gold dev_gold.sql
  finer-rewards testsuite build --db concert.sqlite --gold gold.sql -o neighbours/ --instances 4 --seed 1
  finer-rewards score pred.sql dev_gold.sql --db spider/database --neighbours 8

Neighbours lie beside their database, as ID/neighbours/*.sqlite with a manifest.json, or under -o. What is there is
not made again. Each record has db, gold, killed of mutants (its near misses), kill_rate, equivalent, neighbours
(how many it has), pinned and problem. Exit status: 1 when some gold cannot be pinned down by any neighbour.
"""
COLUMNS = (
    "db",
    "gold",
    "kill_rate",
    "killed",
    "mutants",
    "equivalent",
    "neighbours",
    "pinned",
    "problem",
)


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = add_parser(
        subparsers,
        "testsuite",
        "Build neighbour databases: small siblings on which near misses of the golds give other results.",
        EXAMPLES,
    )
    parser.add_argument("action", metavar="build", choices=("build",), help="the only action")
    parser.add_argument(
        "--db",
        required=True,
        metavar="PATH",
        help="a database file, or a folder laid out ID/ID.sqlite or ID.sqlite",
    )
    parser.add_argument(
        "--gold",
        required=True,
        metavar="FILE",
        help="gold statements: SQL, `sql<TAB>db_id` lines, JSON or JSONL",
    )
    parser.add_argument(
        "--gold-format", metavar="FORMAT", help="json, jsonl, lines or sql; recognised when left out"
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="put them under this folder, not beside the database"
    )
    parser.add_argument(
        "--instances",
        type=number("--instances", int, "a positive whole number"),
        default=8,
        metavar="N",
        help="neighbours of a gold, at most (8)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="the same seed gives the same neighbours (0)"
    )
    parser.add_argument(
        "--timeout",
        type=number("--timeout", float, "a positive number of seconds"),
        default=2.0,
        metavar="S",
        help="seconds a query may take (2)",
    )
    parser.add_argument(
        "--workers",
        type=number("--workers", int, "a positive whole number"),
        metavar="N",
        help="processes (one a core, at most 8)",
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="format of the report (text)")


def run(arguments: argparse.Namespace) -> int:
    """Build the neighbours of each database, and report on each gold."""
    from finer_rewards._neighbours import build_neighbours
    from finer_rewards.engines.sqlite.files import resolve_database

    entries = read_statements(arguments.gold, side="gold", file_format=arguments.gold_format)
    found = find_databases(arguments.db, [entry.db for entry in entries], arguments.gold)
    find = cache(partial(resolve_database, root=found.place.root))
    for note in (*found.notes, *found.missing(find)):
        print(f"finer-rewards: {note}", file=sys.stderr)
    golds: dict[str, list[str]] = {}
    for name, entry in zip(found.names, entries, strict=True):
        golds.setdefault(name, []).extend((entry.sql, *entry.others))
    if arguments.output is not None and Path(arguments.output).is_file():
        raise ConfigError(f"`-o` should be a folder, but {arguments.output} is a file. Pass another path.")
    suites: list[tuple[str, Suite]] = []
    lost = 0
    with Progress("golds", sum(map(len, golds.values()))) as bar:
        for name, statements in golds.items():
            try:
                path = find(name)
            except ConfigError as error:
                bar.hide()
                print(f"finer-rewards: {error}", file=sys.stderr)
                lost += 1
                bar.advance(len(statements))
                continue
            suite = build_neighbours(
                path,
                statements,
                folder=arguments.output,
                instances=arguments.instances,
                seed=arguments.seed,
                timeout=arguments.timeout,
                workers=arguments.workers,
                on_step=bar.advance,
            )
            suites.append((name, suite))
    records = _records(suites)
    write_records(records, arguments.format, sys.stdout, COLUMNS, _lines, head=_head(sys.stdout))
    sys.stdout.flush()
    _summarise(suites, sys.stderr)
    pinned = all(one.pinned for _, suite in suites for one in suite.golds)
    return 0 if pinned and not lost else 1


def _records(suites: Iterable[tuple[str, Suite]]) -> Iterator[dict[str, Any]]:
    for name, suite in suites:
        for one in suite.golds:
            values = (
                name,
                one.sql,
                one.kill_rate,
                one.killed,
                one.mutants,
                one.equivalent,
                len(one.instances),
                one.pinned,
                one.problem,
            )
            yield dict(zip(COLUMNS, values, strict=True))


_WIDTHS = (20, -7, -9, 40)


def _head(file: TextIO) -> Iterator[str]:
    return table([("db", "killed", "serve it", "gold", "problem")], _WIDTHS, file, ("dim",) * 5)


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    rate = "none" if record["kill_rate"] is None else f"{record['kill_rate']:.3f}"
    row = (
        shorten(database_name(record["db"]), 20),
        rate,
        str(record["neighbours"]),
        shorten(one_line(record["gold"]), 40),
        visible(record["problem"]),
    )
    return table([row], _WIDTHS, sys.stdout)


def _summarise(suites: Iterable[tuple[str, Suite]], file: TextIO) -> None:
    for name, suite in suites:
        killed, mutants = (sum(getattr(one, what) for one in suite.golds) for what in ("killed", "mutants"))
        rate = f"{killed / mutants:.3f}" if mutants else "none"
        size = sum(one.bytes for one in suite.instances)
        loose = sum(not one.pinned for one in suite.golds)
        print(
            f"{database_name(name)}: {len(suite.instances)} neighbours, {size / 1024:.0f} KiB, "
            f"kill rate {rate} ({killed} of {mutants}), "
            f"{loose} of {len(suite.golds)} golds not pinned down; {suite.folder}",
            file=file,
        )
        for note in suite.notes:
            print(f"  {note}", file=file)
