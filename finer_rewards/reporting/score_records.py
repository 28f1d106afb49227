"""The record of a scored statement, as `finer-rewards score` prints it and the server returns it."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from finer_rewards._util.sql_text import one_line
from finer_rewards.components import component_values, reason_of
from finer_rewards.executing.databases import is_database_text
from finer_rewards.types import Evidence, Score

if TYPE_CHECKING:
    from finer_rewards.scoring import Scorer

#: The fields of every record; the components follow by name.
COLUMNS = ("number", "value", "status", "reason", "predicted", "gold", "db", "question_id")


class Scored(NamedTuple):
    """One statement, scored.

    Args:
        evidence: what was observed.
        score: its score.
        components: the value of each component by name.
        record: the values to write, by `COLUMNS` and the names of the components.
    """

    evidence: Evidence
    score: Score
    components: dict[str, float | None]
    record: dict[str, Any]


def database_name(db: str) -> str:
    """Return a short name of a database: its id, or the name of its file without suffix."""
    if is_database_text(db):
        return one_line(db[:200])
    return PurePath(db).stem if "/" in db else db


def scored(scorer: Scorer, number: int, evidence: Evidence, score: Score) -> Scored:
    """Return a score with its record."""
    sample = evidence.sample
    components = component_values(scorer.reward, score)
    values = (
        number,
        score.value,
        score.status.name,
        reason_of(score),
        sample.completion if evidence.answer.sql is None else evidence.answer.sql,
        sample.gold,
        sample.dbs[0],
        sample.meta.get("question_id"),
    )
    return Scored(evidence, score, components, {**dict(zip(COLUMNS, values, strict=True)), **components})
