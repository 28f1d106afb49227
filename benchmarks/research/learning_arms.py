"""What the learning benchmark compares: how an answer is paid, and how its group makes credit of that.

Values are by seed, group and answer; credit is by seed, row and slot. All arms subtract the mean of the group; few
divide by its spread.
"""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.research.learning_policy import Encoder
from benchmarks.research.learning_task import Choice, Question, World

__all__ = ["ARMS", "BASE", "MEASURES", "Judge", "credit_of"]

Array = NDArray[Any]
Rows = Sequence[tuple[object, ...]]
Measure = Callable[[Rows, Rows], float]
BASE: Final = "match"
HALF: Final = 0.5


class Judge:
    """Knows of answers in numbers what a reward has to know. No SQL runs but for cells.

    An answer is right when all of its slots are: on sound questions that is nearly what execution match says, and
    `benchmarks.research.learning` prints how nearly.
    """

    def __init__(self, world: World, encoder: Encoder) -> None:
        self.world, self.encoder = world, encoder
        self._alike = [np.array([[_alike(a, b) for b in found] for a in found]) for found in encoder.choices]
        self._schemas = {db: _schema_only(script(random.Random(0))) for db, script in world.task.dbs.items()}
        # Whether SQL runs depends on the columns in it, not on what they are compared with.
        self._kinds = [
            np.array([_rank(one[:1], {choice[:1] for choice in found}) for one in found])
            for found in encoder.choices
        ]
        self._runs: dict[tuple[int, ...], bool] = {}

    def alike(self, answers: Array, golds: Array) -> Array:
        """Return how right each slot is: 1, half for one word that is wrong, 0; by seed, row and slot."""
        return np.stack(
            [one[answers[..., slot], golds[..., slot]] for slot, one in enumerate(self._alike)], -1
        )

    def runs(self, answers: Array, dbs: Array) -> Array:
        """Return whether the SQL of each answer runs on its database."""
        kinds = np.stack([one[answers[..., slot]] for slot, one in enumerate(self._kinds)] + [dbs], -1)
        flat = kinds.reshape(-1, kinds.shape[-1])
        distinct, where, back = np.unique(flat, axis=0, return_index=True, return_inverse=True)
        first = answers.reshape(-1, answers.shape[-1])[where]
        found = np.zeros(len(distinct), bool)
        for number, (kind, answer) in enumerate(
            zip(map(tuple, distinct.tolist()), first.tolist(), strict=True)
        ):
            if kind not in self._runs:
                self._runs[kind] = self._prepares(self.encoder.dbs[kind[-1]], answer)
            found[number] = self._runs[kind]
        return found[back.reshape(-1)].reshape(answers.shape[:-1])

    def _prepares(self, db: str, answer: Sequence[int]) -> bool:
        try:
            self._schemas[db].execute(f"EXPLAIN {self.encoder.sql(db, answer)}").close()
        except sqlite3.Error:
            return False
        return True

    def results(
        self, answers: Array, questions: Sequence[Sequence[Question]], copies: int, measure: Measure
    ) -> Array:
        """Return how near the result of each answer is to the gold's, by seed and row."""
        found = np.zeros(answers.shape[:2])
        for seed, asked in enumerate(questions):
            for row, answer in enumerate(answers[seed].tolist()):
                one = asked[row // copies]
                path = self.world.paths[one.db][0]
                rows = self.world.rows(path, self.encoder.sql(one.db, answer))
                gold = self.world.rows(path, self.world.task.sql(one.db, one.answer))
                found[seed, row] = 0.0 if rows is None or gold is None else measure(rows, gold)
        return found


def _alike(one: Choice, other: Choice) -> float:
    if one == other:
        return 1.0
    near = len(one) == len(other) > 1 and sum(a != b for a, b in zip(one, other, strict=True)) == 1
    return HALF if near else 0.0


def _rank(one: Choice, found: set[Choice]) -> int:
    return sorted(found).index(one)


def _schema_only(script: str) -> sqlite3.Connection:
    """Return a database with the tables that a script makes, and no rows."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(";".join(one for one in script.split(";") if one.strip().startswith("CREATE")))
    return connection


def _cell_f1(rows: Rows, gold: Rows) -> float:
    """F1 of the multisets of cells."""
    one, other = (Counter(map(repr, (cell for row in side for cell in row))) for side in (rows, gold))
    both = sum((one & other).values())
    return 2 * both / max(1, sum(one.values()) + sum(other.values()))


def _column_f1(rows: Rows, gold: Rows) -> float:
    """F1 of the columns, each a set of values: SQL-ASTRA's column sets, where a column has to be equal as a whole."""
    one, other = (
        Counter(frozenset(map(repr, column)) for column in zip(*side, strict=True)) for side in (rows, gold)
    )
    both = sum((one & other).values())
    return 2 * both / max(1, sum(one.values()) + sum(other.values()))


#: By the word that names it in an arm.
MEASURES: Final[Mapping[str, Measure]] = {"cells": _cell_f1, "column sets": _column_f1}


Credit = Callable[[Mapping[str, Array]], Array]


def _centred(values: Array) -> Array:
    found: Array = values - values.mean(2, keepdims=True)
    return found


def _scaled(values: Array) -> Array:
    spread = values.std(2, ddof=1, keepdims=True)
    found: Array = _centred(values) / (spread + 1e-4)
    return found


def _f(beta: float, power: float) -> Credit:
    """Return a closeness: F-beta of slots, sharpened; 0 for what does not run."""

    def closeness(seen: Mapping[str, Array]) -> Array:
        matched, predicted, gold = seen["matched"], seen["predicted"], seen["gold"]
        value = (1 + beta**2) * matched / np.maximum(beta**2 * gold + predicted, 1e-9)
        found: Array = seen["runs"] * value**power
        return found

    return closeness


def _plus(closeness: Credit) -> Credit:
    return lambda seen: _centred(seen["match"] + closeness(seen))


def _lost(closeness: Credit) -> Credit:
    return lambda seen: _centred(seen["match"] + seen["lost"] * closeness(seen))


def _seen(name: str) -> Credit:
    return lambda seen: seen[name]


def _finer(seen: Mapping[str, Array]) -> Array:
    near = 1 + seen["runs"] * 0.5 * _f(1, 1)(seen)
    return _scaled(np.where(seen["match"] > 0, 4.0, near))


def _memory(seen: Mapping[str, Array]) -> Array:
    """Return likeness to the right answers of other questions; these policies write no thought to compare."""
    return seen["runs"] * seen["memory"]


def _finer_whole(seen: Mapping[str, Array]) -> Array:
    near = 1 + seen["runs"] * (0.5 * _f(1, 1)(seen) + 0.25 * seen["memory"])
    return _scaled(np.where(seen["match"] > 0, 4.0, near))


def _reference(seen: Mapping[str, Array]) -> Array:
    both = seen["same"]
    jaccard = both / np.maximum(seen["predicted"] + seen["gold"] - both, 1e-9)
    near = 1 + seen["runs"] * (1 + 0.05 * jaccard + 0.95 * 0.79 * jaccard**0.2)
    return _scaled(np.where(seen["match"] > 0, 4.0, near))


#: By name: what an answer is worth against the others of its group, by seed, group and answer.
ARMS: Final[Mapping[str, Credit]] = {
    BASE: lambda seen: _centred(seen["match"]),
    "match, by group": lambda seen: _scaled(seen["match"]),
    "+ F1": _plus(_f(1, 1)),
    "+ F1^8": _plus(_f(1, 8)),
    "+ F2^8": _plus(_f(2, 8)),
    "+ F1^8 in lost groups": _lost(_f(1, 8)),
    "+ F2^8 in lost groups": _lost(_f(2, 8)),
    "clause credit": lambda seen: _centred(seen["match"]),
    "+ cells": _plus(_seen("cells")),
    "+ cells in lost groups": _lost(_seen("cells")),
    "+ column sets": _plus(_seen("column sets")),
    "+ column sets in lost groups": _lost(_seen("column sets")),
    "+ memory": _plus(_memory),
    "+ memory in lost groups": _lost(_memory),
    "finer(), by group": _finer_whole,
    "finer(memory=False), by group": _finer,
    "finer_reference() without memory, by group": _reference,
    "the gold imitated in lost groups": lambda seen: _centred(seen["match"]),
}


def credit_of(arm: str, seen: Mapping[str, Array]) -> Array:
    """Return the credit of each choice, by seed, row and slot.

    Clause credit adds, to what the whole answer is worth, how right each slot is against the mean of its group.
    """
    whole = ARMS[arm](seen)
    slots = np.broadcast_to(whole[..., None], seen["alike"].shape)
    if arm == "clause credit":
        slots = slots + seen["alike"] - seen["alike"].mean(2, keepdims=True)
    seeds, groups, size, places = slots.shape
    return slots.reshape(seeds, groups * size, places)
