"""Pass rates of questions in score logs, and the rows whose pass rate lies in a band."""

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
    """The pass rates that are kept, both ends included."""

    low: float
    high: float


class PassRates:
    """How often each question was answered right, as score logs have it.

    A question is known by its database and a gold, so that two questions with one gold share their rate; one without
    gold by its database and its text.

    Args:
        counts: by what a question is known by, its right completions and all that were scored.
    """

    def __init__(self, counts: Mapping[tuple[str, str], tuple[int, int]]) -> None:
        self.counts = counts

    def of(self, question: Question) -> float | None:
        """Return the pass rate of a question, in [0, 1]; `None` where the logs say nothing of it."""
        for text in question.gold or (question.text,):
            found = self.counts.get((_database(question.db), text))
            if found is not None:
                return found[0] / found[1]
        return None


def read_pass_rates(files: Iterable[Path]) -> PassRates:
    """Return the pass rates of score logs.

    A completion passes where its first `execution_match` is 1; where the logs have none, where its value is the highest
    of all. What was not scored is not counted, nor is a line that is damaged.

    Args:
        files: the files of the logs.

    Raises:
        DataError: they hold nothing that was scored.
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
        match = named.get(name) or 0  # `null` where a part was not asked: what is wrong is not asked further
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
    """Return the band that a text as `0.1:0.9` says.

    Raises:
        ConfigError: it does not say two rates in order.

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
    """Return the rows whose pass rate lies in a band, and those of which the logs say nothing; the others are left out.

    Args:
        prepared: rows, as `prepare_rows` returns them.
        rates: the pass rates.
        band: which are kept.
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
            except ValueError:  # its writer was killed
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
    """Return what a database is called, whether it is named by its id or by its file; as text it is its own name."""
    return db if is_database_text(db) else PurePath(db).stem
