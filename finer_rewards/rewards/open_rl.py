"""The parts of open-rl's text-to-SQL recipe, as its public code computes them."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from difflib import SequenceMatcher
from typing import Literal

from finer_rewards.reward import reward
from finer_rewards.rewards.cells import nearest
from finer_rewards.types import Evidence, Execution, Score, Status, unscored

_WORD = re.compile(r"\b\w+\b")
_START = re.compile(r"\b(with|select|insert|update|delete)\b", re.IGNORECASE)
_LONGEST = 8_000


@reward(needs={"execution"})
def open_rl_result(evidence: Evidence, *, part: Literal["runs", "match", "near"] = "match") -> Score:
    """What the result of a query is worth in open-rl's recipe, in [0, 1]: one of three parts.

    Formula: `runs`: 1 when it runs, and not both results are empty. `match`: 1 when the rows are equal, floats to 8
    digits, in any order unless one of the texts has ORDER BY, LIMIT or OFFSET; both empty is none. `near`, where it
    is no match: 0.25 for as many columns, 0.25 min(|p|, |g|) / max(|p|, |g|), 0.5 · share of the distinct gold values
    predicted; 0 when one is empty.

    Known to pay for: `near` pays for values in any place, and for returning everything.

    Args:
        part: which.

    Example:
        >>> open_rl_result(part="near")
        open_rl_result(part='near')

    References:
        gke-labs/open-rl, `examples/rl/text-to-sql/utils/rewards.py`, commit e41fdbb, 2026.
    """
    sample = evidence.sample
    sql = evidence.answer.sql or ""
    if part == "runs":
        return nearest(evidence, "accept", lambda gold, predicted: float(bool(gold.rows or predicted.rows)))
    ordered = [_ordered(f" {_normal(sql)} {_normal(gold)} ") for gold in sample.golds] or [False]

    def measure(gold: Execution, predicted: Execution) -> float:
        # Of several golds one that is ordered makes all so: the code has one gold.
        match = _match(gold.rows, predicted.rows, any(ordered))
        return float(match) if part == "match" else 0.0 if match else _near(gold.rows, predicted.rows)

    return nearest(evidence, "accept", measure)


@reward(needs={"schema"})
def open_rl_text(evidence: Evidence, *, part: Literal["schema", "ngrams", "text"] = "text") -> Score:
    """How alike two queries read in open-rl's recipe, in [0, 1]: one of three parts.

    Formula: `schema`: Jaccard index of the words that are names of the schema. `ngrams`: that of the pairs of
    neighbouring words, as white space parts them. `text`: difflib's ratio of the two texts in lower case, white space
    made even. The first two are 1 when neither query has any.

    Known to pay for: what reads alike and means something else; names in texts count as names.

    Args:
        part: which.

    Example:
        >>> open_rl_text(part="schema")
        open_rl_text(part='schema')

    References:
        gke-labs/open-rl, `examples/rl/text-to-sql/utils/rewards.py`, commit e41fdbb, 2026, after Reasoning-SQL.
    """
    golds = evidence.sample.golds
    if not golds:
        return unscored(Status.no_gold, "This reward compares SQL texts, and the sample has no gold SQL.")
    predicted = _cut(evidence.answer.sql or "")
    names = _names(evidence)

    def measure(gold: str) -> float:
        gold = _cut(gold)
        if part == "schema":
            return _jaccard(_used(predicted, names), _used(gold, names))
        if part == "ngrams":
            return _jaccard(_pairs(predicted), _pairs(gold))
        return SequenceMatcher(None, _normal(predicted)[:_LONGEST], _normal(gold)[:_LONGEST]).ratio()

    return Score(max(map(measure, golds)))


def _cut(sql: str) -> str:
    """Return the first statement of a text."""
    sql = sql.strip()
    start = _START.search(sql)
    if start is None:
        return sql
    sql = sql[start.start() :]
    end = sql.find(";")
    return (sql if end < 0 else sql[: end + 1]).strip()


def _normal(sql: str) -> str:
    text = re.sub(r";+\s*$", "", " ".join(_cut(sql).split()).lower())
    text = re.sub(r"\s+([,;()])", r"\1", text)
    return re.sub(r"([,(])\s+", r"\1", text)


def _ordered(text: str) -> bool:
    return any(word in text for word in (" order by ", " limit ", " offset "))


def _rounded(rows: Sequence[Sequence[object]]) -> list[tuple[object, ...]]:
    return [tuple(round(cell, 8) if isinstance(cell, float) else cell for cell in row) for row in rows]


def _match(gold: Sequence[Sequence[object]], predicted: Sequence[Sequence[object]], ordered: bool) -> bool:
    if not gold and not predicted:
        return False
    sides = (_rounded(gold), _rounded(predicted))
    if ordered:
        return sides[0] == sides[1]
    return sorted(sides[0], key=repr) == sorted(sides[1], key=repr)


def _near(gold: Sequence[Sequence[object]], predicted: Sequence[Sequence[object]]) -> float:
    if not gold or not predicted:
        return 0.0
    ours, theirs = _rounded(predicted), _rounded(gold)
    values, wanted = ({repr(cell) for row in side for cell in row} for side in (ours, theirs))
    width = 0.25 * (len(ours[0]) == len(theirs[0]))
    length = 0.25 * min(len(ours), len(theirs)) / max(len(ours), len(theirs))
    return width + length + 0.5 * len(values & wanted) / len(wanted)


def _names(evidence: Evidence) -> frozenset[str]:
    if evidence.schema is None:
        return frozenset()
    tables = evidence.schema.tables
    names = [table.name for table in tables] + [column.name for table in tables for column in table.columns]
    return frozenset(name.lower() for name in names)


def _used(sql: str, names: frozenset[str]) -> set[str]:
    return {word.lower() for word in _WORD.findall(sql)} & names


def _pairs(sql: str) -> set[tuple[str, ...]]:
    words = sql.lower().split()
    return {tuple(words[at : at + 2]) for at in range(len(words) - 1)}


def _jaccard(ours: Set[object], theirs: Set[object]) -> float:
    union = ours | theirs
    return len(ours & theirs) / len(union) if union else 1.0
