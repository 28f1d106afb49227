"""`finer-rewards explain`: shows why a prediction scores as it does."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, TextIO

from finer_rewards.cli.batches import score_in_batches
from finer_rewards.cli.differences import find_differences, plain, side_by_side
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
from finer_rewards.cli.output import format_of, open_output, say_signature, write_records
from finer_rewards.cli.terminal import one_line, paint, shorten, statement, visible, width, wrap
from finer_rewards.errors import ConfigError
from finer_rewards.reporting.score_records import Scored, database_name
from finer_rewards.types import Execution, Status, Trial

if TYPE_CHECKING:
    from finer_rewards.executing import Executor
    from finer_rewards.operations import Operations
    from finer_rewards.schema import Schema

EXAMPLES = """\
  finer-rewards explain "SELECT name FROM singer" "SELECT name, age FROM singer" --db concert.sqlite
  finer-rewards explain pred.sql gold.sql --db databases/ --only 12
  finer-rewards explain pred.sql gold.sql --db databases/ --format json

Each JSON record is that of `score`, with operations (f1, matched, missing, extra), results, explanation, and for a
match that neighbours refuse the results on the one that does.
"""
ROWS_IN_RECORD = 100


def register(subparsers: Any) -> None:
    """Add the verb and its options."""
    parser = add_parser(
        subparsers,
        "explain",
        "Show why: operations matched, missing and extra; the two results and where they differ; the score.",
        EXAMPLES,
    )
    add_inputs(parser)
    parser.add_argument(
        "--only",
        metavar="N",
        type=number("--only", int, "a positive whole number"),
        help="explain statement N alone, counted from 1",
    )
    add_reward(parser)
    add_executor(parser)
    add_output(parser, ("text", "json", "jsonl"))
    add_strict_golds(parser)
    add_signature(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write one explanation a statement."""
    from finer_rewards.scoring import Scorer

    reward = chosen_reward(arguments)
    inputs = read_inputs(arguments)
    samples = inputs.samples
    if arguments.only is not None:
        if not 1 <= arguments.only <= len(samples):
            raise ConfigError(f"`--only` should be from 1 to {len(samples)}, but got {arguments.only}.")
        samples = samples[arguments.only - 1 : arguments.only]
    memory = chosen_memory(arguments, reward)
    judge = chosen_judge(arguments, reward)
    neighbours = chosen_neighbours(arguments)
    executor = chosen_executor(arguments, inputs.databases)
    kind = format_of(arguments.format, arguments.output)
    unscored: set[Status] = set()

    def records(scored: Iterator[Scored]) -> Iterator[dict[str, Any]]:
        for one in scored:
            if one.score.value is None:
                unscored.add(one.score.status)
            number = one.record["number"] if arguments.only is None else arguments.only
            refused = _refused_on(one)
            record = _record(one, number, executor, refused)
            predicted, gold = one.evidence.predicted, one.evidence.gold
            if refused is not None:
                predicted, gold = refused.predicted, refused.golds[0]
            if kind == "text" and predicted is not None and gold is not None and one.score.value != 1:
                record["rows"] = list(side_by_side(predicted, gold, limit=8))
            yield record

    with (
        Scorer(reward, executor, memory=memory, judge=judge, neighbours=neighbours) as scorer,
        open_output(arguments.output) as file,
    ):
        write_records(
            records(score_in_batches(scorer, samples)), kind, file, (), lambda record: _lines(record, file)
        )
        say_signature(scorer.signature, whole=arguments.signature)
    return exit_status(unscored, arguments)


def _refused_on(scored: Scored) -> Trial | None:
    """Return the trial on the neighbour that refused the match; the explanation of the score names its database."""
    beside = scored.evidence.neighbours
    told = scored.score.explain()
    if beside is None:
        return None
    trials = (trial for by_gold in beside.readings.values() for some in by_gold for trial in some)
    return next((trial for trial in trials if f"not on {trial.db}, where" in told), None)


def _record(scored: Scored, number: int, executor: Executor, refused: Trial | None) -> dict[str, Any]:
    evidence = scored.evidence
    record = {
        **scored.record,
        "number": number,
        "question": evidence.sample.question,
        "explanation": scored.score.explain(),
        "operations": _operations(scored, executor),
        "results": _results(evidence.predicted, evidence.gold),
        "neighbour": None,
    }
    if refused is not None:
        record["neighbour"] = {"db": refused.db, **(_results(refused.predicted, refused.golds[0]) or {})}
    return record


def _results(predicted: Execution | None, gold: Execution | None) -> dict[str, Any] | None:
    if predicted is None or gold is None:
        return None
    found = find_differences(predicted.rows, gold.rows)
    return {
        "predicted": _result(predicted),
        "gold": _result(gold),
        "shared": found.shared,
        "only_predicted": plain(found.predicted[:ROWS_IN_RECORD]),
        "only_gold": plain(found.gold[:ROWS_IN_RECORD]),
    }


def _operations(scored: Scored, executor: Executor) -> dict[str, Any]:
    from finer_rewards.operations import OperationsError, operation_f1, sql_operations
    from finer_rewards.operations.origins import as_written

    sample = scored.evidence.sample
    schema = _schema(executor, sample.dbs[0])
    read: list[Operations] = []
    for side, sql in (("predicted", scored.evidence.answer.sql or ""), ("gold", sample.golds[0])):
        try:
            dialect = sample.dialect or executor.dialect
            told = sql_operations(sql, schema=schema, dialect=dialect)
            read.append(as_written(told, sql, schema=schema, dialect=dialect))
        except OperationsError as error:
            return {
                "f1": None,
                "error": f"the {side} SQL cannot be read: {error}",
                "matched": [],
                "missing": [],
                "extra": [],
                "notes": [],
            }
    predicted, gold = read
    # Equal operations can come from different clauses; `&` and `-` keep those of their left side, so the clause
    # of a matched operation is the predicted one, and the gold's is looked up here.
    matched, missing, extra = predicted & gold, gold - predicted, predicted - gold
    in_gold = {one: one.clause for one in gold}
    return {
        "f1": operation_f1(predicted, gold),
        "error": "",
        "matched": [
            {**told, "gold_clause": in_gold[one]} for one, told in zip(matched, _plain(matched), strict=True)
        ],
        "missing": _plain(missing),
        "extra": _plain(extra),
        "notes": list(dict.fromkeys((*predicted.notes, *gold.notes))),
    }


def _schema(executor: Executor, db: str) -> Schema | None:
    try:
        return executor.schema(db)
    except ConfigError:
        # Nothing is reported here, for the score says already that the database cannot be used.
        return None


def _plain(operations: Operations) -> list[dict[str, str]]:
    return [{"operation": str(one), "kind": one.kind, "clause": one.clause} for one in operations]


def _result(result: Execution) -> dict[str, Any]:
    return {
        "status": result.status.name,
        "error": result.error,
        "columns": list(result.columns),
        "rows": len(result.rows),
        "truncated": result.truncated,
        "seconds": round(result.seconds, 4),
    }


def _lines(record: Mapping[str, Any], file: TextIO) -> Iterator[str]:
    value = record["value"]
    colour = "cyan" if value is None else "green" if value > 0 else "red"
    yield paint(
        f"{record['number']}. {one_line(record['question'] or database_name(record['db']))}", "bold", file
    )
    yield from wrap(f"predicted  {statement(record['predicted'])}", indent=3, hang=14)
    yield from wrap(f"gold       {statement(record['gold'])}", indent=3, hang=14)
    yield ""
    yield from (
        f"   {paint(visible(line), colour if not at else '', file)}"
        for at, line in enumerate(record["explanation"].splitlines())
    )
    yield ""
    yield from _operation_lines(record["operations"], file)
    yield ""
    yield from _result_lines(record["results"], "results")
    if record["neighbour"] is not None:
        yield from _result_lines(record["neighbour"], f"on {record['neighbour']['db']}")
    yield from (f"   {line}" for line in record.get("rows", ()))
    yield ""


def _operation_lines(operations: Mapping[str, Any], file: TextIO) -> Iterator[str]:
    if operations["error"]:
        yield f"   operations: {one_line(operations['error'])}"
        return
    counts = ", ".join(f"{len(operations[name])} {name}" for name in ("matched", "missing", "extra"))
    yield f"   operations: F1 {operations['f1']:.3f} ({counts})"
    rows = [("", "predicted", "gold", "clause"), *_aligned(operations)]
    room = max(((width(file) or 110) - 20) // 2, 20)
    sizes = [min(max(len(row[at]) for row in rows), room) for at in (1, 2)]
    colours = {"=": "green", "-": "red", "+": "red", "~": "yellow", "": "dim"}
    for mark, ours, theirs, clause in rows:
        left, right = shorten(ours, sizes[0]).ljust(sizes[0]), shorten(theirs, sizes[1]).ljust(sizes[1])
        yield f"   {paint(f'{mark:1}  {left}  {right}  {clause}'.rstrip(), colours[mark], file)}"
    for note in operations["notes"]:
        yield from wrap(f"note: {note}", indent=3)


def _aligned(operations: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield mark, predicted, gold and clause: `=` in both, `~` unlike, `-` missing, `+` extra."""
    for one in operations["matched"]:
        clauses = dict.fromkeys((one["clause"], one["gold_clause"]))
        yield "=", _shown(one), _shown(one), " / ".join(clauses)
    kinds = dict.fromkeys(one["kind"] for name in ("missing", "extra") for one in operations[name])
    for kind in kinds:
        extra, missing = (
            [one for one in operations[name] if one["kind"] == kind] for name in ("extra", "missing")
        )
        for ours, theirs in _nearest(extra, missing):
            mark = "~" if ours and theirs else "+" if ours else "-"
            yield mark, _shown(ours), _shown(theirs), (ours or theirs or {}).get("clause", "")


def _nearest(
    extra: list[dict[str, str]], missing: list[dict[str, str]]
) -> Iterator[tuple[dict[str, str] | None, dict[str, str] | None]]:
    """Pair each extra operation with the missing one whose text is most similar; then yield those without a pair."""
    left = list(missing)
    for ours in extra:
        likeness = [SequenceMatcher(None, ours["operation"], one["operation"]).ratio() for one in left]
        best = max(likeness, default=0.0)
        yield ours, left.pop(likeness.index(best)) if best > 0.5 else None
    yield from ((None, theirs) for theirs in left)


def _shown(one: Mapping[str, str] | None) -> str:
    # The operation `query` is the whole statement in its canonical form.
    return (
        ""
        if one is None
        else "the query as a whole"
        if one["kind"] == "query"
        else one_line(one["operation"])
    )


def _result_lines(results: Mapping[str, Any] | None, where: str) -> Iterator[str]:
    if results is None:
        yield "   results: nothing was run"
        return
    sides = {name: results[name] for name in ("predicted", "gold")}
    parts = [
        f"{name} {side['rows']} row{'s' * (side['rows'] != 1)} in {side['seconds']:.3f} s"
        if side["status"] == "ok"
        else f"{name} {side['status']} ({one_line(side['error'])})"
        for name, side in sides.items()
    ]
    yield f"   {one_line(where)}: {', '.join(parts)}; {results['shared']} shared"
