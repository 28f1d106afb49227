"""Reads the pass rates of questions from score logs, and keeps the rows whose pass rate lies in a band."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from finer_rewards._util.lossless_json import parse_json
from finer_rewards._util.text_file import read_lines
from finer_rewards.datasets.benchmark import Question
from finer_rewards.datasets.preparing import LeftOut, PreparedRows, TrainingRow
from finer_rewards.errors import ConfigError, DataError
from finer_rewards.executing.databases import is_database_text


class Band(NamedTuple):
    """A range of pass rates, both ends included."""

    low: float
    high: float


class PassRates:
    """How often each question was answered right, according to score logs.

    A question is recognised by its database and a gold, so that two questions with the same gold share their rate; a
    question without gold, by its database and its text.

    Args:
        counts: for each database with gold or text, the number of right completions and of all that were scored.
    """

    def __init__(self, counts: Mapping[tuple[str, str], tuple[int, int]]) -> None:
        self.counts = counts

    def of(self, question: Question) -> float | None:
        """Return the pass rate of a question, in [0, 1]; `None` if it is not in the logs."""
        for text in question.gold or (question.text,):
            found = self.counts.get((_database(question.db), text))
            if found is not None:
                return found[0] / found[1]
        return None


def read_pass_rates(files: Iterable[Path]) -> PassRates:
    """Return the pass rates of score logs.

    A completion passes if its first `execution_match` is 1; in logs without `execution_match`, if its value is the
    highest of all. Completions that were not scored, and damaged lines, are not counted.

    Args:
        files: the files of the logs.

    Raises:
        DataError: the logs hold nothing that was scored.
    """
    values: dict[tuple[str, str], Counter[float]] = {}
    matches: dict[tuple[str, str], Counter[float]] = {}
    for record in _records(files):
        value = record.get("value")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        components = record.get("components")
        named = components if isinstance(components, dict) else {}
        name = next((one for one in named if one.startswith("execution_match")), None)
        # A match is `null` if an earlier part of the reward failed already, so that it was not computed: no match.
        match = named.get(name) or 0
        if name is not None and not isinstance(match, (int, float)):
            continue
        for key in _keys(record):
            values.setdefault(key, Counter())[float(value)] += 1
            if name is not None:
                matches.setdefault(key, Counter())[float(match)] += 1
    if not values:
        raise DataError(
            "`--pass-rates` should be score logs, but they hold nothing that was scored. "
            "Write one with Scorer(..., log='scores.jsonl')."
        )
    told = matches or values
    top = 1.0 if matches else max(value for counts in values.values() for value in counts)
    return PassRates({key: (counts[top], counts.total()) for key, counts in told.items()})


def read_band(text: str) -> Band:
    """Return the band that a text such as `0.1:0.9` names.

    Raises:
        ConfigError: the text is not two rates in ascending order.

    Example:
        >>> read_band("0.1:0.9")
        Band(low=0.1, high=0.9)
    """
    low, _, high = text.partition(":")
    try:
        band = Band(float(low), float(high))
    except ValueError:
        band = Band(1, 0)
    if not 0 <= band.low <= band.high <= 1:
        raise ConfigError(
            f"`--pass-band` should be two rates from 0 to 1, the lower first, but got {text!r}. Write 0.1:0.9."
        )
    return band


def in_band(prepared: PreparedRows, rates: PassRates, band: Band) -> PreparedRows:
    """Return the rows whose pass rate lies in a band or is not in the logs; the others are listed as left out.

    Args:
        prepared: rows, as `prepare_rows` returns them.
        rates: the pass rates.
        band: the rates of the rows to keep.
    """
    rows: list[TrainingRow] = []
    left_out = list(prepared.left_out)
    for row in prepared.rows:
        rate = rates.of(row.question)
        if rate is None or band.low <= rate <= band.high:
            rows.append(row)
        else:
            kind = "too_hard" if rate < band.low else "too_easy"
            left_out.append(
                LeftOut(row.question.question_id, row.question.db, kind, f"{rate:.3g} of it passes")
            )
    return PreparedRows(tuple(rows), tuple(left_out))


def _records(files: Iterable[Path]) -> Iterator[Mapping[str, Any]]:
    for path in files:
        for line in read_lines(path):
            try:
                record = parse_json(line)
            except ValueError:
                # The process that wrote this line was killed meanwhile.
                continue
            if isinstance(record, dict) and "status" in record:
                yield record


def _keys(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    db, gold = record.get("db"), record.get("gold")
    db = db[0] if isinstance(db, list) and db else db
    golds = gold if isinstance(gold, list) else [gold]
    texts = [one for one in golds if isinstance(one, str) and one] or [str(record.get("question"))]
    return [(_database(str(db)), text) for text in dict.fromkeys(texts)]


def _database(db: str) -> str:
    """Return the id of a database that is named by its id or its file; a database given as SQL stands for itself."""
    return db if is_database_text(db) else PurePath(db).stem
