"""Reads the arguments PRED, GOLD and --db of `score` and `explain` into samples."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, overload

from finer_rewards._statement_files import FileStatements, Pairs, read_pairs
from finer_rewards._statement_records import FileStatement
from finer_rewards.cli.database_option import ChosenDatabases, find_databases
from finer_rewards.errors import DataError
from finer_rewards.types import Sample

#: How the names of files with statements end. What has none of them and begins with two words is SQL.
_SUFFIXES = (".sql", ".json", ".jsonl", ".csv", ".tsv", ".txt", ".gz", ".zst")


class Inputs(NamedTuple):
    """What there is to score.

    Args:
        samples: one for each predicted statement.
        databases: the databases on which the samples run.
    """

    samples: Sequence[Sample]
    databases: ChosenDatabases


def read_inputs(arguments: argparse.Namespace) -> Inputs:
    """Read PRED and GOLD (files, or two statements), pair their statements, and find the databases.

    Raises:
        ConfigError: an input is missing or unreadable, or PRED and GOLD do not go together.
    """
    ask_if_swapped(arguments.predicted, arguments.gold)
    pairs = read_pairs(
        _file_or_statement(arguments.predicted),
        _file_or_statement(arguments.gold),
        predicted_format=arguments.predicted_format,
        gold_format=arguments.gold_format,
    )
    for number, (predicted, gold) in enumerate(pairs.dbs(), 1):
        if predicted and gold and predicted != gold:
            raise DataError(
                f"PRED and GOLD should name the same databases, but statement {number} is for "
                f"{predicted!r} in {arguments.predicted} and for {gold!r} in {arguments.gold}. "
                "Put them in the same order."
            )
    where = arguments.gold if any(pairs.gold.dbs) else arguments.predicted
    named = [gold or predicted for predicted, gold in pairs.dbs()]
    databases = find_databases(arguments.db, named, where, arguments.engine)
    return Inputs(_Samples(pairs, databases.names), databases)


def ask_if_swapped(predicted: str, gold: str) -> None:
    """Ask on standard error whether the predictions are the golds, if their names say so."""
    if "gold" in Path(predicted).name and "gold" not in Path(gold).name and not Path(gold).is_dir():
        print(
            f"finer-rewards: {predicted} is read as the predictions and {gold} as the gold: are they swapped?",
            file=sys.stderr,
        )


class _Samples(Sequence[Sample]):
    """The samples of the pairs, each made only when it is read: a file may have millions."""

    def __init__(self, pairs: Pairs, dbs: Sequence[str]) -> None:
        self._pairs, self._dbs = pairs, dbs

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        predicted, gold = self._pairs[index]
        step = gold.extra.get("step", predicted.extra.get("step"))
        return Sample(
            predicted.sql,
            gold=(gold.sql, *gold.others) if gold.others else gold.sql,
            db=self._dbs[index],
            question=gold.question or predicted.question,
            meta={"question_id": gold.question_id or predicted.question_id}
            | ({} if step is None else {"step": step}),
        )


def _file_or_statement(text: str) -> str | FileStatements:
    """Return an argument as the statement that it is, right or wrong, if it is not the name of a file."""
    if text == "-" or Path(text).exists() or Path(text).suffix.lower() in _SUFFIXES:
        return text
    return FileStatements([FileStatement(text)]) if re.match(r"\s*\w+\s+\S", text) else text
