"""Supervision without SQL: the predicted result against answer rows, `Sample(gold=(), answer=rows)`.

What is equal is told as the WikiTableQuestions evaluator does.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from finer_rewards.reward import reward
from finer_rewards.rewards.execution import did_not_run
from finer_rewards.types import Evidence, Score, Status, unscored

Rows = Sequence[Sequence[Any]]
Item = tuple["Value", ...]

_LONGEST = 2_000
_QUOTES = str.maketrans(
    {**dict.fromkeys("‘’´`", "'"), **dict.fromkeys("“”", '"'), **dict.fromkeys("‐‑‒–—−", "-")}
)
# Alternatives that cannot match the same text: otherwise a failed match takes exponential time.
_MARKS = re.compile(r"((?<!^)\[[^\]]*\]|^\[\d+\]|[•♦†‡*#+])*$")
_DETAILS = re.compile(r"(?<!^)( \([^)]*\))*$")
_QUOTED = re.compile(r'"([^"]*)"')
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", re.ASCII)
_DATE = re.compile(r"(\d{1,4}|xx|xxxx)-(\d{1,2}|xx)-(\d{1,2}|xx)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Value:
    """One cell of an answer: its normalised text, and the number or the date it spells, if any."""

    text: str
    number: float | None = None
    date: tuple[int, int, int] | None = None

    @property
    def key(self) -> tuple[str, object]:
        """What makes two values of one side the same."""
        if self.number is not None:
            return "number", self.number
        return ("date", self.date) if self.date is not None else ("text", self.text)

    def matches(self, other: Value) -> bool:
        """True when the texts are equal, or the numbers within 1e-6, or the dates."""
        if self.text == other.text:
            return True
        if self.number is not None and other.number is not None:
            return abs(self.number - other.number) < 1e-6
        return self.date is not None and self.date == other.date


@lru_cache(maxsize=65_536)
def normalized(text: str) -> str:
    """Return a text without case, accents, extra space, citations, details in brackets, a final stop.

    Example:
        >>> normalized(" “Café Noir”[1] (closed)"), normalized("12 – 14†")
        ('cafe noir', '12 - 14')
    """
    if len(text) > _LONGEST:
        return " ".join(text.split()).lower()
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c) != "Mn")
    text = text.translate(_QUOTES)
    while True:
        before = text
        text = _MARKS.sub("", text.strip())
        text = _DETAILS.sub("", text.strip()).strip()
        quoted = _QUOTED.fullmatch(text)
        text = quoted.group(1) if quoted else text
        if text == before:
            break
    return re.sub(r"\s+", " ", text.removesuffix(".")).lower().strip()


def value_of(cell: Any) -> Value:
    """Return the value of a cell.

    A text that spells a number is that number, thousands separators included; `2011-xx-05` is a date, and one
    of which only the year is known is a number.

    Example:
        >>> value_of("12,467").number, value_of(12467).number, value_of("xx-07-04").date
        (12467, 12467, (-1, 7, 4))
    """
    if cell is None:
        return Value("\0NULL")
    if isinstance(cell, bytes):
        return Value(f"\0{cell!r}")
    if isinstance(cell, (int, float)):
        return Value(str(cell), _whole(cell)) if math.isfinite(cell) else Value(str(cell))
    return _value_of_text(cell)


@lru_cache(maxsize=65_536)
def _value_of_text(cell: str) -> Value:
    text = normalized(cell)
    spelled = cell.strip()
    if len(spelled) <= 100:
        if _NUMBER.fullmatch(spelled) or _THOUSANDS.fullmatch(spelled):
            plain = spelled.replace(",", "")
            return Value(text, _whole(int(plain) if plain.lstrip("+-").isdigit() else float(plain)))
        date = _DATE.fullmatch(spelled)
        if date:
            year, month, day = (-1 if part.lower().startswith("xx") else int(part) for part in date.groups())
            if month == day == -1 and year != -1:
                return Value(text, year)
            if (
                (month == -1 or 1 <= month <= 12)
                and (day == -1 or 1 <= day <= 31)
                and (month, day) != (-1, -1)
            ):
                return Value(text, date=(year, month, day))
    return Value(text)


def answers_equal(gold: Rows, predicted: Rows) -> bool:
    """True when both sides hold as many distinct items and each gold item matches a predicted one.

    An item is a cell when the gold answer has one column, and all cells of the prediction are then items,
    whatever its width; else it is a row, and every cell has to match in its column.

    Example:
        >>> answers_equal([("Utrecht",), ("12,467",)], [(12467,), ("utrecht",), ("Utrecht.",)])
        True

    References:
        Pasupat and Liang, Compositional Semantic Parsing on Semi-Structured Tables, ACL 2015; `evaluator.py`.
    """
    wanted, given = _sides(gold, predicted)
    return len(given) == len(wanted) and _matched(wanted, given) == len(wanted)


def answer_overlap(gold: Rows, predicted: Rows) -> float:
    """Return the share of the gold items that are predicted, in [0, 1]; 0 with more items than gold has.

    So returning everything earns nothing. Items as in `answers_equal`.

    Example:
        >>> answer_overlap([("a",), ("b",)], [("b",)]), answer_overlap([("a",)], [("a",), ("b",)])
        (0.5, 0.0)
    """
    wanted, given = _sides(gold, predicted)
    if not wanted:
        return float(not given)
    return 0.0 if len(given) > len(wanted) else _matched(wanted, given) / len(wanted)


def answer_recall(gold: Rows, predicted: Rows) -> float:
    """Return the share of the gold items that are predicted, in [0, 1]; returning everything earns 1.

    Example:
        >>> answer_recall([("a",)], [("a",), ("b",)])
        1.0
    """
    wanted = _distinct(_items(gold, _one_column(gold)))
    given = _distinct(_items(predicted, _one_column(gold)))
    return _matched(wanted, given) / len(wanted) if wanted else float(not given)


def _sides(gold: Rows, predicted: Rows) -> tuple[list[Item], list[Item]]:
    """Return the distinct items of both sides; of the prediction at most one more than gold has."""
    wanted = _distinct(_items(gold, _one_column(gold)))
    return wanted, _distinct(_items(predicted, _one_column(gold)), most=len(wanted) + 1)


def _one_column(gold: Rows) -> bool:
    return all(len(row) == 1 for row in gold)


def _items(rows: Rows, flat: bool) -> Iterator[Item]:
    for row in rows:
        values = tuple(map(value_of, row))
        if flat:
            yield from ((value,) for value in values)
        else:
            yield values


def _distinct(items: Iterator[Item], most: int | None = None) -> list[Item]:
    found: dict[tuple[tuple[str, object], ...], Item] = {}
    for item in items:
        found.setdefault(tuple(value.key for value in item), item)
        if most is not None and len(found) == most:
            break
    return list(found.values())


def _matched(wanted: list[Item], given: list[Item]) -> int:
    keys = {tuple(value.key for value in item) for item in given}
    return sum(
        tuple(value.key for value in item) in keys or any(_alike(item, other) for other in given)
        for item in wanted
    )


def _alike(item: Item, other: Item) -> bool:
    return len(item) == len(other) and all(a.matches(b) for a, b in zip(item, other, strict=True))


def _whole(number: float) -> float:
    return round(number) if abs(number - round(number)) < 1e-6 else number


@reward(needs={"predicted"})
def answer_match(evidence: Evidence, *, require_base_table: bool = True) -> Score:
    """1 when the result of the predicted SQL is the sample's answer, else 0.

    Formula: [distinct items of the result = distinct items of the answer]. An item is a cell when the answer
    has one column (the result may then have several), else a row. Texts are equal without case, accents,
    citations and details in brackets, numbers within 1e-6; `12,467` is a number.

    Known to reward wrongly: a wrong query that happens to return the answer; with short answers (`yes`, 2)
    that is common.

    Args:
        require_base_table: a query that reads no base table does not match.

    Returns:
        1 or 0; `None` when the sample has no answer, or an empty one.

    Example:
        >>> answer_match()
        answer_match()

    References:
        Pasupat and Liang, Compositional Semantic Parsing on Semi-Structured Tables, ACL 2015 (evaluator of
        WikiTableQuestions); Kulkarni and Srikumar, arXiv 2506.06093, 2025 (exact match).
    """
    return _against_answer(evidence, answers_equal, require_base_table)


@reward(needs={"predicted"})
def answer_coverage(evidence: Evidence, *, require_base_table: bool = True, hedging: bool = False) -> Score:
    """Share of the answer's items that the predicted SQL returns, in [0, 1]; 0 when it returns more items.

    Formula: |items(p) ∩ items(a)| / |items(a)| if |items(p)| <= |items(a)|, else 0.

    Known to pay for: one right item of many. With `hedging`, as published, for returning everything.

    Args:
        require_base_table: a query that reads no base table covers nothing.
        hedging: pay for right items among any number of others.

    Returns:
        A degree; `None` when the sample has no answer, or an empty one.

    Example:
        >>> answer_coverage()
        answer_coverage()

    References:
        Kulkarni and Srikumar, arXiv 2506.06093, 2025 (relaxed exact match; their report of a model that
        returned all cities is why hedging is not paid).
    """
    measure = answer_recall if hedging else answer_overlap
    return _against_answer(evidence, measure, require_base_table)


def _against_answer(
    evidence: Evidence, measure: Callable[[Any, Any], float], require_base_table: bool
) -> Score:
    answer = evidence.sample.answer
    if answer is None:
        return unscored(Status.no_gold, "This reward compares with answer rows. Pass Sample(answer=rows).")
    if not answer:
        return unscored(Status.gold_empty)
    if not evidence.trials:
        return did_not_run(None)
    worst = 1.0
    for trial in evidence.trials:
        predicted = trial.predicted
        if predicted is None or not predicted.ok:
            return did_not_run(predicted)
        if require_base_table and predicted.tables is not None and not predicted.tables:
            return Score(0.0, "the query reads no base table, so its result is a guess")
        worst = min(worst, float(measure(answer, predicted.rows)))
    return Score(worst, f"{len(answer)} answer rows")
