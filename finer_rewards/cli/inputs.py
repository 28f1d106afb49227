"""From PRED, GOLD and --db to samples."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NamedTuple

from finer_rewards.cli.databases import Databases, find_databases
from finer_rewards.errors import DataError
from finer_rewards.files import Entry, read_pairs
from finer_rewards.types import Sample

__all__ = ["Inputs", "read_inputs"]


class Inputs(NamedTuple):
    """What there is to score.

    Args:
        samples: one a statement.
        databases: where they run.
    """

    samples: list[Sample]
    databases: Databases


def read_inputs(arguments: argparse.Namespace) -> Inputs:
    """Read PRED and GOLD (files, or two statements), pair what is in them and find the databases.

    Raises:
        ConfigError: something is missing, unreadable, or does not go together.
    """
    if all(map(_is_statement, (arguments.predicted, arguments.gold))):
        pairs = [(Entry(arguments.predicted), Entry(arguments.gold))]
    else:
        pairs = read_pairs(
            arguments.predicted,
            arguments.gold,
            predicted_format=arguments.predicted_format,
            gold_format=arguments.gold_format,
        )
    for number, (predicted, gold) in enumerate(pairs, 1):
        if predicted.db and gold.db and predicted.db != gold.db:
            raise DataError(
                f"PRED and GOLD should name the same databases, but statement {number} is for "
                f"{predicted.db!r} in {arguments.predicted} and for {gold.db!r} in {arguments.gold}. "
                "Put them in the same order."
            )
    named = [gold.db or predicted.db for predicted, gold in pairs]
    where = arguments.gold if any(gold.db for _, gold in pairs) else arguments.predicted
    databases = find_databases(arguments.db, named, where, arguments.engine)
    samples = [
        Sample(
            predicted.sql,
            gold=(gold.sql, *gold.others) if gold.others else gold.sql,
            db=db,
            question=gold.question or predicted.question,
            meta={"question_id": gold.question_id or predicted.question_id},
        )
        for (predicted, gold), db in zip(pairs, databases.names, strict=True)
    ]
    return Inputs(samples, databases)


def _is_statement(text: str) -> bool:
    """Whether an argument is SQL, right or wrong, and not the name of a file: those have no white space inside."""
    if text == "-" or Path(text).exists() or re.match(r"\w+://", text):
        return False
    return re.match(r"\s*\w+\s+\S", text) is not None
