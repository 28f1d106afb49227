"""`finer-rewards check`: finds the golds of a file that cannot be used, before a training run pays for them."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from finer_rewards._statement_files import read_statements
from finer_rewards._statement_records import FileStatement
from finer_rewards._util.progress import Progress
from finer_rewards.cli.database_option import ChosenDatabases, find_databases
from finer_rewards.cli.options import FORMATS, add_executor, add_parser, chosen_executor
from finer_rewards.cli.output import open_output, write_records
from finer_rewards.cli.terminal import one_line, shorten, table
from finer_rewards.errors import ConfigError, DataError
from finer_rewards.reporting.score_records import database_name

if TYPE_CHECKING:
    from finer_rewards._auditing import Gold, GoldFinding

EXAMPLES = """\
  finer-rewards check dev_gold.sql --db spider/database
  finer-rewards check spider/ -o clean.json
  finer-rewards check bird/dev.json --db bird/dev_databases --against bird/dev.sql --format jsonl
  finer-rewards check train.jsonl --db databases/ --timeout 5 -o clean.jsonl

DATA is a file of golds, or a folder as Spider or BIRD unpack: then its questions, with the file of golds beside
them. Each record has number, question_id, db, kind, reason and gold; there is none for a gold that can be used.
-o writes the records of DATA that can be used, as they are. Exit status: 0 clean, 1 something was found.
"""
COLUMNS = ("number", "question_id", "db", "kind", "reason", "gold")
_QUESTIONS = ("dev.json", "mini_dev_sqlite.json", "test.json", "train_spider.json", "train.json", "dev.jsonl")
_BESIDE = ("{}_gold.sql", "{}.sql", "{}_sqlite_gold.sql")
_DATABASES = ("database", "databases", "dev_databases", "train_databases", "test_database")


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = add_parser(subparsers, "check", "Find golds that cannot be used, and why.", EXAMPLES)
    parser.add_argument(
        "data", metavar="DATA", help="golds: SQL, `sql<TAB>db_id` lines, JSON or JSONL, or a folder"
    )
    parser.add_argument(
        "--db", metavar="PATH", help="a database file, or a folder laid out ID/ID.sqlite or ID.sqlite"
    )
    parser.add_argument(
        "--gold-format", metavar="FORMAT", help="json, jsonl, lines or sql; recognised when left out"
    )
    parser.add_argument("--against", metavar="FILE", help="golds that should be the same, place by place")
    add_executor(parser, matches=False)
    parser.add_argument("--format", choices=FORMATS, default="text", help="format of the report (text)")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the records that can be used here")


def run(arguments: argparse.Namespace) -> int:
    """Check every gold, report what was found, and write what can be used."""
    from finer_rewards._auditing import KINDS

    data, databases, against = _places(arguments)
    if arguments.output and str(data) == "-":
        raise ConfigError("`-o` needs DATA to be a file, but it is standard input. Save it first.")
    entries = read_statements(data, side="gold", file_format=arguments.gold_format)
    found = find_databases(databases, [entry.db for entry in entries], str(data), arguments.engine)
    findings = _findings(arguments, entries, found)
    ends = against is not None and _ends_early(data, against, entries, findings)
    write_records(
        _records(entries, found.names, findings),
        arguments.format,
        sys.stdout,
        COLUMNS,
        _lines,
        _head(sys.stdout) if any(findings) else (),
    )
    sys.stdout.flush()
    if arguments.output:
        with open_output(arguments.output) as file:
            file.write(_usable(Path(data), [not some for some in findings], entries, found.names))
    counts = Counter(finding.kind for some in findings for _, finding in some)
    bad = sum(map(bool, findings))
    print(f"{len(entries) - bad} of {len(entries)} golds can be used", file=sys.stderr)
    for kind, count in counts.most_common():
        print(f"  {count} {kind}: {KINDS[kind]}", file=sys.stderr)
    return 1 if bad or ends else 0


def _findings(
    arguments: argparse.Namespace, entries: Sequence[FileStatement], found: ChosenDatabases
) -> list[list[tuple[str, GoldFinding]]]:
    """Return what is wrong with each record: a gold of it, and a finding.

    A record may have several golds of equal standing: each is checked, and reported for the record that owns it.
    """
    from finer_rewards._auditing import Gold, audit_golds

    golds: list[Gold] = []
    owners: list[int] = []
    for index, (entry, name) in enumerate(zip(entries, found.names, strict=True)):
        for place, sql in enumerate((entry.sql, *entry.others)):
            golds.append(Gold(sql, name, "" if place else entry.question))
            owners.append(index)
    with chosen_executor(arguments, found) as executor, Progress("golds checked", len(golds)) as bar:
        audited = audit_golds(golds, executor, on_done=bar.advance)
    findings: list[list[tuple[str, GoldFinding]]] = [[] for _ in entries]
    for owner, gold, some in zip(owners, golds, audited, strict=True):
        findings[owner] += [(gold.sql, finding) for finding in some]
    return findings


def _ends_early(
    data: str,
    against: str,
    entries: Sequence[FileStatement],
    findings: list[list[tuple[str, GoldFinding]]],
) -> bool:
    """Add the golds that stand in another place than in a second file; return whether that one has more of them."""
    from finer_rewards._auditing import Gold, misplaced

    others = read_statements(against, side="gold")
    pairs = [[Gold(entry.sql, entry.db or "") for entry in some] for some in (entries, others)]
    for index, finding in misplaced(*pairs).items():
        findings[index].append((entries[index].sql, finding))
    if len(others) != len(entries):
        print(
            f"finer-rewards: {data} has {len(entries)} golds, {against} has {len(others)}.", file=sys.stderr
        )
    return len(others) > len(entries)


def _places(arguments: argparse.Namespace) -> tuple[str, str, str | None]:
    """Return the file to check, where its databases are, and the second file of golds to compare it with."""
    folder = Path(arguments.data)
    if not folder.is_dir():
        if not arguments.db:
            raise ConfigError(
                f"`--db` should say where the databases of {arguments.data} are, but it is left out. "
                "Pass a database file or a folder."
            )
        return arguments.data, arguments.db, arguments.against
    data = next((folder / name for name in _QUESTIONS if (folder / name).is_file()), None)
    if data is None:
        raise DataError(
            f"`{folder}` should be a folder as Spider or BIRD unpack, with {', '.join(_QUESTIONS[:3])} or the like, "
            "but it has none of them. Name the file of golds."
        )
    databases = arguments.db or next(
        (str(folder / name) for name in _DATABASES if (folder / name).is_dir()), None
    )
    if databases is None:
        raise DataError(
            f"`{folder}` should hold its databases ({', '.join(_DATABASES[:3])}), but there are none. "
            "Name their folder with --db."
        )
    stem = data.stem.removesuffix("_spider")
    beside = (folder / pattern.format(stem) for pattern in _BESIDE)
    return (
        str(data),
        databases,
        arguments.against or next((str(file) for file in beside if file.is_file()), None),
    )


def _records(
    entries: Sequence[FileStatement],
    names: Sequence[str],
    findings: Sequence[Sequence[tuple[str, GoldFinding]]],
) -> Iterator[dict[str, Any]]:
    for number, (entry, name, some) in enumerate(zip(entries, names, findings, strict=True), 1):
        for sql, finding in some:
            values = (number, entry.question_id, name, finding.kind, finding.reason, sql)
            yield dict(zip(COLUMNS, values, strict=True))


_WIDTHS = (-5, 20, 16, 44)


def _head(file: TextIO) -> Iterator[str]:
    return table([("#", "db", "found", "gold", "reason")], _WIDTHS, file, ("dim",) * 5)


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    row = (
        str(record["number"]),
        shorten(database_name(record["db"]), 20),
        record["kind"],
        shorten(one_line(record["gold"]), 44),
        one_line(record["reason"]),
    )
    return table([row], _WIDTHS, sys.stdout, ("dim", "", "yellow"))


def _usable(data: Path, keep: Sequence[bool], entries: Sequence[FileStatement], names: Sequence[str]) -> str:
    """Return the text of the file without the records that cannot be used; the others stay as they are written."""
    text = data.read_text(encoding="utf-8-sig")
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, list):
        kept: Any = [record for record, good in zip(whole, keep, strict=True) if good]
        return json.dumps(kept, indent=2, ensure_ascii=False) + "\n"
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    filled = [line for line in lines if line.strip()]
    for some in (filled, lines):
        if len(some) == len(entries) and whole is None:
            return "".join(f"{line}\n" for line, good in zip(some, keep, strict=True) if good)
    return "".join(
        f"{' '.join(entry.sql.split())}\t{name}\n" if entry.db else f"{entry.sql};\n"
        for entry, name, good in zip(entries, names, keep, strict=True)
        if good
    )
