"""`Status`, how a step of the data flow ended, whose fault that was, and the sentence that says so."""

from __future__ import annotations

from enum import Enum
from typing import Literal

Blame = Literal["nobody", "model", "data", "system"]


class Status(Enum):
    """How a step ended: whose fault it was, and the sentence a user reads.

    The model's fault is scored (a number); the data's or the system's is not (`None`).

    Example:
        >>> Status.gold_failed.blame
        'data'
        >>> print(Status.timeout.sentence)
        The query ran past the time limit.
    """

    ok = ("nobody", "The step succeeded.")

    no_sql = ("model", "The completion holds no SQL.")
    not_a_query = ("model", "The text is not a query that returns rows.")
    several_statements = ("model", "There is more than one statement.")
    refused = ("model", "The statement does something other than read, which is not allowed.")
    failed = ("model", "The database rejected the query.")
    timeout = ("model", "The query ran past the time limit.")
    too_large = ("model", "The query ran past the limit on memory, cells or bytes.")

    no_gold = ("data", "The sample has neither gold SQL nor answer rows, so it cannot be scored.")
    database_failed = ("data", "The statements that are to make the database do not, so nothing was scored.")
    gold_failed = ("data", "The gold SQL did not run, so this sample cannot be scored.")
    gold_timeout = ("data", "The gold SQL ran past the time limit, so this sample cannot be scored.")
    gold_too_large = ("data", "The gold result is past the size limits, so this sample cannot be scored.")
    gold_empty = ("data", "The gold result is empty, and an empty result proves nothing.")
    gold_random = ("data", "The gold SQL is random, so this sample cannot be scored.")
    gold_ambiguous = (
        "data",
        "More than one result of the gold SQL is right, as when its LIMIT cuts through a tie.",
    )
    gold_unparsed = ("data", "The gold SQL could not be parsed, so this sample cannot be scored.")

    undecided = (
        "system",
        "A limit cut off rows that the verdict depends on, so nothing was scored.",
    )
    unavailable = ("system", "The database or its worker was lost or unusable, so nothing was scored.")
    neighbours_lost = ("system", "Neighbours of the database could not be had, so nothing was scored.")
    judge_unavailable = ("system", "The judge could not be asked, or gave no score, so nothing was scored.")
    memory_unavailable = ("system", "The trace memory could not be searched, so nothing was scored.")

    def __init__(self, blame: Blame, sentence: str) -> None:
        self.blame: Blame = blame
        self.sentence = sentence

    def told(self, detail: str) -> str:
        """Return the sentence, with what is known beyond it.

        Example:
            >>> Status.failed.told("no such column: nme")
            'The database rejected the query: no such column: nme'
        """
        return f"{self.sentence.removesuffix('.')}: {detail}" if detail else self.sentence

    def __repr__(self) -> str:
        return f"Status.{self.name}"

    @property
    def scorable(self) -> bool:
        """Whether a sample with this status gets a value: it went well, or the model is to blame."""
        return self.blame in ("nobody", "model")
