"""`finer-rewards memory`: builds, searches and checks a folder of reasoning traces."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finer_rewards._util.lossless_json import parse_json
from finer_rewards._util.progress import Progress
from finer_rewards.cli.options import (
    FORMATS,
    add_embedder,
    add_executor,
    add_output,
    add_parser,
    chosen_executor,
    chosen_neighbours,
    number,
)
from finer_rewards.cli.output import format_of, json_text, open_output, write_records
from finer_rewards.cli.terminal import one_line
from finer_rewards.errors import DataError

if TYPE_CHECKING:
    from finer_rewards.memory import TraceMemory

EXAMPLES = """\
  finer-rewards memory build traces/ completions.jsonl --db spider/database --embedder hashing
  finer-rewards memory search traces/ "Group by city and count, then sort." --db-id pets_1
  finer-rewards memory stats traces/
  finer-rewards memory verify traces/
  finer-rewards memory export traces/ traces.jsonl

A line of the JSONL file has `completion`, `gold` (or `query`, `gold_sql`) and `db_id` (or `db`), and may have
`question`, `question_id`, `model` and `step`. Completions are scored by execution match first.
"""
KEYS: Mapping[str, tuple[str, ...]] = {
    "completion": ("completion", "response", "output", "predicted"),
    "gold": ("gold", "gold_sql", "query", "SQL", "sql"),
    "db": ("db", "db_id"),
}
BATCH = 256


def register(subparsers: Any) -> None:
    """Add the verb, its subcommands and their options."""
    parser = add_parser(
        subparsers, "memory", "Build, search and check a folder of verified reasoning traces.", EXAMPLES
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))

    build = actions.add_parser("build", help="score completions and remember what execution verified")
    build.add_argument("memory", metavar="FOLDER", help="folder of the memory; made when there is none")
    build.add_argument("completions", metavar="FILE", help="JSONL, or `-` for standard input")
    build.add_argument("--db", required=True, metavar="PATH", help="a database file, or a folder of them")
    add_embedder(build)
    build.add_argument(
        "--raw", action="store_true", help="embed thoughts as they are: names not masked, nothing centred"
    )
    add_executor(build)

    search = actions.add_parser("search", help="show the traces most like a thought")
    search.add_argument("memory", metavar="FOLDER")
    add_embedder(search)
    search.add_argument("thought", metavar="TEXT", help="the reasoning, or `-` for standard input")
    search.add_argument("--db-id", default="", metavar="ID", help="the database it is about")
    search.add_argument(
        "--scope", choices=("other", "same", "any"), default="other", help="whose traces (other)"
    )
    search.add_argument(
        "--top-k", type=number("--top-k", int, "a positive whole number"), default=5, metavar="N"
    )
    add_output(search)

    stats = actions.add_parser("stats", help="count traces, databases and refusals")
    stats.add_argument("memory", metavar="FOLDER")
    stats.add_argument("--format", choices=FORMATS[:2], default="text")

    verify = actions.add_parser(
        "verify", help="read every byte and check it; exit 1 when something is corrupt"
    )
    verify.add_argument("memory", metavar="FOLDER")
    verify.add_argument("--repair", metavar="NEW", help="copy all that can be read to this new folder")

    export = actions.add_parser("export", help="write all traces as JSONL")
    export.add_argument("memory", metavar="FOLDER")
    export.add_argument("file", metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Run the subcommand."""
    return {"build": _build, "search": _search, "stats": _stats, "verify": _verify, "export": _export}[
        arguments.action
    ](arguments)


def _build(arguments: argparse.Namespace) -> int:
    from finer_rewards.cli.database_option import find_databases
    from finer_rewards.memory import AdmissionReport, TraceMemory
    from finer_rewards.rewards import execution_match
    from finer_rewards.scoring import Scorer
    from finer_rewards.types import Sample

    records = list(_records(arguments.completions))
    databases = find_databases(
        arguments.db, [record["db"] for record in records], arguments.completions, arguments.engine
    )
    flag = False if arguments.raw else None
    decisions: list[Any] = []
    with (
        TraceMemory.open(arguments.memory, arguments.embedder, delexicalise=flag, centre=flag) as memory,
        Scorer(
            execution_match(),
            chosen_executor(arguments, databases),
            neighbours=chosen_neighbours(arguments),
        ) as scorer,
        Progress("completions", len(records)) as bar,
    ):
        signature = str(scorer.signature.digest)
        rows = iter(zip(records, databases.names, strict=True))
        while batch := list(islice(rows, BATCH)):
            samples = [
                Sample(
                    record["completion"],
                    record["gold"],
                    name,
                    str(record.get("question") or ""),
                    meta=_meta(record),
                )
                for record, name in batch
            ]
            evidence = scorer.observe(samples)
            scored = list(zip(evidence, map(scorer.reward, evidence), strict=True))
            made_by = sorted({(str(r.get("model") or ""), int(r.get("step") or 0)) for r, _ in batch})
            for model, step in made_by:
                own = [
                    pair
                    for pair, (record, _) in zip(scored, batch, strict=True)
                    if (str(record.get("model") or ""), int(record.get("step") or 0)) == (model, step)
                ]
                decisions += memory.remember(own, model=model, step=step, signature=signature).decisions
            bar.advance(len(batch))
        total = len(memory)
    print(f"{AdmissionReport(tuple(decisions))}\n{total} verified traces in {arguments.memory}")
    return 0


def _search(arguments: argparse.Namespace) -> int:
    from finer_rewards.memory import TraceMemory

    thought = sys.stdin.read() if arguments.thought == "-" else arguments.thought
    memory = TraceMemory.open(arguments.memory, arguments.embedder, create=False)
    [recall] = memory.search([thought], [arguments.db_id], int(arguments.top_k), arguments.scope)
    if not recall.status.scorable:
        print(f"finer-rewards: {recall.status.told(recall.error)}", file=sys.stderr)
        return 1
    rows = [
        {"similarity": round(similarity, 6), **memory[key].as_record()}
        for similarity, key in zip(recall.verified, recall.traces, strict=True)
    ]
    kind = format_of(arguments.format, arguments.output)
    with open_output(arguments.output) as file:
        write_records(rows, kind, file, tuple(rows[0]) if rows else ("similarity",), _line)
    centroid = (
        "no verified traces"
        if recall.centroid is None
        else f"similarity to the centroid {recall.centroid:.3f}"
    )
    print(f"finer-rewards: {centroid}, of unrelated text {recall.zero_centroid:.3f}", file=sys.stderr)
    return 0


def _line(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"{row['similarity']:.3f}  {one_line(row['db'])}  {one_line(row['text'])[:160]}"


def _stats(arguments: argparse.Namespace) -> int:
    found = _as_made(arguments.memory).stats()
    if arguments.format == "json":
        print(json_text(found, indent=1))
        return 0
    for name, value in found.items():
        if not isinstance(value, dict):
            print(f"{name:<14}{value}")
    for db, (verified, failed) in found["databases"].items():
        print(f"  {db:<28}{verified:>7} verified {failed:>7} failed")
    if found["refused"]:
        print("refused")
    for reason, count in found["refused"].items():
        print(f"  {reason:<44}{count:>7}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from finer_rewards.memory import TraceMemory, verify_folder

    if arguments.repair:
        found = TraceMemory.repair(arguments.memory, arguments.repair)
        print(f"{found}\nall that could be read is in {arguments.repair}")
    else:
        found = verify_folder(arguments.memory)
        print(found)
    return 0 if found.ok else 1


def _export(arguments: argparse.Namespace) -> int:
    count = _as_made(arguments.memory).export(arguments.file)
    print(f"finer-rewards: {count} traces written to {arguments.file}", file=sys.stderr)
    return 0


def _as_made(folder: str) -> TraceMemory:
    """Open a memory without loading its embedder, which is not needed to read what is stored."""
    from finer_rewards.memory import TraceMemory, as_made

    return TraceMemory.open(folder, as_made(Path(folder)), create=False)


def _records(path: str) -> Iterator[dict[str, Any]]:
    """Yield the records of a JSONL file, their fields renamed to those of a trace."""
    lines: Sequence[str] = (
        sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8-sig")
    ).split("\n")
    for line_number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {line_number}"
        try:
            record = parse_json(line)
        except ValueError as error:
            raise DataError(f"`{where}` should be JSON, but it is not ({error}). Correct the line.") from None
        if not isinstance(record, dict):
            raise DataError(
                f"`{where}` should be a JSON object, but got {line.strip()!r:.80}. Correct the line."
            )
        for name, keys in KEYS.items():
            key = next((key for key in keys if isinstance(record.get(key), str)), None)
            if key is None:
                raise DataError(
                    f"`{where}` should have {' or '.join(map(repr, keys))}, but has {sorted(record)!r:.120}."
                )
            record[name] = record[key]
        yield record


def _meta(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"question_id": record["question_id"]} if record.get("question_id") is not None else {}
