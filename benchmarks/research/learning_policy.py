"""A small policy that answers slot by slot, each choice seeing the ones before; several seeds train at once, in NumPy.

A question is a bag of its phrases and of pairs of neighbouring phrases. One hidden layer reads it; each slot adds what
was chosen before, and chooses out of all that the slot has ever held. It can leave out what it is unsure of, and later
slots follow: that is how rewards go wrong in larger models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.research.learning_task import Question, Task

__all__ = ["Batch", "Encoder", "Policy"]

Array = NDArray[Any]
HIDDEN = 64


class Encoder:
    """Turns questions into features, and their answers into numbers.

    Args:
        task: the task.
        questions: all questions that will ever be seen.
    """

    def __init__(self, task: Task, questions: Sequence[Question]) -> None:
        self.task = task
        phrases = sorted({part for one in questions for part in _parts(one)})
        self._place = {part: place for place, part in enumerate(phrases)}
        self.choices = [
            [(), *sorted({one.answer[slot] for one in questions} - {()})] for slot in range(len(task.slots))
        ]
        self._number = [{choice: n for n, choice in enumerate(found)} for found in self.choices]
        self.dbs = sorted(task.dbs)

    @property
    def width(self) -> int:
        """How many features a question has."""
        return len(self._place)

    def features(self, questions: Sequence[Question]) -> Array:
        """Return one row a question."""
        found = np.zeros((len(questions), self.width), np.float32)
        for row, one in enumerate(questions):
            for part in _parts(one):
                found[row, self._place[part]] = 1
        return found

    def answers(self, questions: Sequence[Question]) -> Array:
        """Return the number of the right choice in each slot, one row a question."""
        return np.array(
            [[self._number[slot][choice] for slot, choice in enumerate(one.answer)] for one in questions]
        )

    def sql(self, db: str, numbers: Sequence[int]) -> str:
        """Return the SQL of an answer in numbers."""
        return self.task.sql(db, [self.choices[slot][n] for slot, n in enumerate(numbers)])


def _parts(question: Question) -> Iterator[tuple[str, ...]]:
    words = (question.db, *question.words)
    yield from ((word,) for word in words)
    yield from pairwise(words)


class Batch:
    """What a pass through the policy leaves for its gradient."""

    def __init__(self, inputs: Array, chosen: Array, hidden: list[Array], likely: list[Array]) -> None:
        self.inputs = inputs
        self.chosen = chosen
        self.hidden = hidden
        self.likely = likely
        #: Rows that do not read as an answer: here every one does.
        self.broken = np.zeros(chosen.shape[:2], bool)

    def log_likelihood(self) -> Array:
        """Return the log likelihood of each chosen answer, by seed and row."""
        total = np.zeros(self.chosen.shape[:2], np.float64)
        for slot, likely in enumerate(self.likely):
            taken = np.take_along_axis(likely, self.chosen[:, :, slot, None], 2)[..., 0]
            total += np.log(np.maximum(taken, 1e-30))
        return total


class Policy:
    """The weights of several seeds, and Adam's moments of them.

    Args:
        seeds: the seeds, one policy each.
        width: features of a question.
        sizes: choices of each slot.
        rate: learning rate.
    """

    def __init__(self, seeds: Sequence[int], width: int, sizes: Sequence[int], rate: float) -> None:
        self.sizes = sizes
        self.rate = rate
        self.chances = [np.random.default_rng(seed) for seed in seeds]

        def drawn(*shape: int, scale: float) -> Array:
            return np.stack([one.normal(0, scale, shape).astype(np.float32) for one in self.chances])

        self.weights: dict[str, Array] = {"in": drawn(width, HIDDEN, scale=0.3)}
        for slot, size in enumerate(sizes):
            self.weights[f"bias {slot}"] = drawn(HIDDEN, scale=0.1)
            self.weights[f"out {slot}"] = drawn(HIDDEN, size, scale=HIDDEN**-0.5)
            self.weights[f"after {slot}"] = drawn(size, HIDDEN, scale=0.1)
        self._forget()

    def _forget(self) -> None:
        self._first = {name: np.zeros_like(one) for name, one in self.weights.items()}
        self._second = {name: np.zeros_like(one) for name, one in self.weights.items()}
        self._steps = 0

    def restart(self, weights: dict[str, Array], rate: float) -> None:
        """Go on from other weights, with another learning rate and no moments."""
        self.weights = {name: one.copy() for name, one in weights.items()}
        self.rate = rate
        self._forget()

    def read(
        self, inputs: Array, chosen: Array | None = None, *, copies: int = 1, greedy: bool = False
    ) -> Batch:
        """Answer questions, or read given answers.

        Args:
            inputs: features by seed and question.
            chosen: answers to read, by seed, row and slot; when left out they are drawn.
            copies: answers to each question.
            greedy: take the likeliest choice.
        """
        state = np.repeat(inputs @ self.weights["in"], copies, 1)
        rows = state.shape[1]
        taken = np.zeros((len(state), rows, len(self.sizes)), np.int64) if chosen is None else chosen
        hidden, likely = [], []
        for slot in range(len(self.sizes)):
            one = np.maximum(state + self.weights[f"bias {slot}"][:, None], 0)
            logits = one @ self.weights[f"out {slot}"]
            logits -= logits.max(2, keepdims=True)
            odds = np.exp(logits)
            odds /= odds.sum(2, keepdims=True)
            if chosen is None:
                taken[:, :, slot] = logits.argmax(2) if greedy else self._draw(odds)
            hidden.append(one)
            likely.append(odds)
            state = state + np.take_along_axis(self.weights[f"after {slot}"], taken[:, :, slot, None], 1)
        return Batch(inputs, taken, hidden, likely)

    def _draw(self, odds: Array) -> Array:
        """Return one choice a row, each as often as it is likely."""
        level = np.stack([one.random(odds.shape[1], np.float32) for one in self.chances])[..., None]
        found: Array = (odds[..., :-1].cumsum(2) < level).sum(2)
        return found

    def step(self, parts: Sequence[tuple[Batch, Array]], moving: Array | None = None) -> None:
        """Take one step of Adam up the sum of credit times log likelihood.

        Args:
            parts: passes, and the credit of each choice: by seed, row and slot.
            moving: which seeds learn; all when left out.
        """
        ups: dict[str, Array] = {name: np.zeros_like(one) for name, one in self.weights.items()}
        for batch, credit in parts:
            self._add(ups, batch, credit.astype(np.float32))
        self._steps += 1
        for name, up in ups.items():
            first, second = self._first[name], self._second[name]
            first += 0.1 * (up - first)
            second += 0.001 * (up * up - second)
            move = first / (1 - 0.9**self._steps)
            move /= np.sqrt(second / (1 - 0.999**self._steps)) + 1e-8
            if moving is not None:
                move[~moving] = 0
            self.weights[name] += self.rate * move

    def _add(self, ups: dict[str, Array], batch: Batch, credit: Array) -> None:
        later = np.zeros_like(batch.hidden[0])
        for slot in reversed(range(len(self.sizes))):
            is_taken = (batch.chosen[:, :, slot, None] == np.arange(self.sizes[slot])).astype(np.float32)
            ups[f"after {slot}"] += is_taken.transpose(0, 2, 1) @ later
            push = (is_taken - batch.likely[slot]) * credit[:, :, slot, None]
            ups[f"out {slot}"] += batch.hidden[slot].transpose(0, 2, 1) @ push
            back = push @ self.weights[f"out {slot}"].transpose(0, 2, 1) * (batch.hidden[slot] > 0)
            ups[f"bias {slot}"] += back.sum(1)
            later = later + back
        seeds, rows, _ = later.shape
        asked = batch.inputs.shape[1]
        ups["in"] += batch.inputs.transpose(0, 2, 1) @ later.reshape(seeds, asked, rows // asked, -1).sum(2)
