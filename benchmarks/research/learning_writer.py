"""A small language model for the learning benchmark: it writes an answer token by token, and can write nonsense.

A recurrent network (GRU, Cho et al. 2014) reads the question as `learning_policy` does, and writes words. A clause
begins with its name; one that is left out has no token, so leaving out is cheaper than writing, as in a real query.
What does not read as an answer (a clause twice or out of order, words that are no clause, no end) is broken: it is
wrong, and does not run. PyTorch, one thread; several seeds train at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.research.learning_policy import Encoder

__all__ = ["Writer"]

Array = NDArray[Any]
HIDDEN, WORD = 64, 32
END = 0


class Written:
    """Answers of some rows: their tokens, the slots they fill, and which are broken."""

    def __init__(self, inputs: Array, tokens: Array, chosen: Array, broken: Array, likelihood: Array) -> None:
        self.inputs = inputs
        self.tokens = tokens
        self.chosen = chosen
        self.broken = broken
        self._likelihood = likelihood

    def log_likelihood(self) -> Array:
        """Return the log likelihood of each answer, by seed and row."""
        return self._likelihood


class Writer:
    """The weights of several seeds, and Adam's moments of them; as `learning_policy.Policy` has them.

    Args:
        seeds: the seeds, one model each.
        encoder: knows the questions and the choices of each slot.
        rate: learning rate.
    """

    def __init__(self, seeds: Sequence[int], encoder: Encoder, rate: float) -> None:
        torch.set_num_threads(1)
        self.rate = rate
        self.chances = [np.random.default_rng(seed) for seed in seeds]
        self._choices = encoder.choices
        slots = encoder.task.slots
        words = sorted({word for found in encoder.choices for choice in found for word in choice})
        self._slots = {place + 1: place for place in range(len(slots))}
        number = {word: n for n, word in enumerate(words, len(slots) + 1)}
        self._spelled = [
            [tuple(number[word] for word in choice) for choice in found] for found in encoder.choices
        ]
        self._read = [{spelled: n for n, spelled in enumerate(found) if spelled} for found in self._spelled]
        self._longest = 1 + sum(1 + max(map(len, found)) for found in self._spelled)
        vocabulary = len(slots) + 1 + len(words)
        shapes = {
            "in": (encoder.width, HIDDEN, 0.3), "words": (vocabulary, WORD, 0.3),
            "from question": (HIDDEN, 3 * HIDDEN, HIDDEN**-0.5), "from word": (WORD, 3 * HIDDEN, WORD**-0.5),
            "from state": (HIDDEN, 3 * HIDDEN, HIDDEN**-0.5), "out": (HIDDEN, vocabulary, HIDDEN**-0.5),
        }  # fmt: skip
        self.weights: dict[str, Any] = {
            name: torch.from_numpy(
                np.stack([one.normal(0, scale, (rows, columns)).astype(np.float32) for one in self.chances])
            )
            for name, (rows, columns, scale) in shapes.items()
        }
        self._forget()

    def _forget(self) -> None:
        self._first = {name: torch.zeros_like(one) for name, one in self.weights.items()}
        self._second = {name: torch.zeros_like(one) for name, one in self.weights.items()}
        self._steps = 0

    def restart(self, weights: dict[str, Any], rate: float) -> None:
        """Go on from other weights, with another learning rate and no moments."""
        self.weights = {name: one.clone() for name, one in weights.items()}
        self.rate = rate
        self._forget()

    def read(
        self, inputs: Array, chosen: Array | None = None, *, copies: int = 1, greedy: bool = False
    ) -> Written:
        """Answer questions, or read given answers; arguments as those of `learning_policy.Policy.read`."""
        with torch.no_grad():
            if chosen is None:
                return self._write(inputs, copies, greedy)
            tokens = self._tokens(chosen)
            likely = self._likely(inputs, tokens).sum(2).numpy().astype(np.float64)
        return Written(inputs, tokens, chosen, np.zeros(chosen.shape[:2], bool), likely)

    def _begin(self, weights: dict[str, Any], inputs: Array, copies: int) -> tuple[Any, Any]:
        asked = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32)) @ weights["in"]
        state = torch.tanh(asked.repeat_interleave(copies, 1))
        return state, state @ weights["from question"]

    def _next(self, weights: dict[str, Any], state: Any, question: Any, word: Any) -> Any:
        given = question + word @ weights["from word"]
        held = state @ weights["from state"]
        let, reset = (
            torch.sigmoid(given[..., at : at + HIDDEN] + held[..., at : at + HIDDEN]) for at in (0, HIDDEN)
        )
        fresh = torch.tanh(given[..., 2 * HIDDEN :] + reset * held[..., 2 * HIDDEN :])
        return state + let * (fresh - state)

    def _likely(self, inputs: Array, tokens: Array) -> Any:
        """Return the log likelihood of each token, by seed, row and place; 0 after the end."""
        weights, (seeds, rows, longest) = self.weights, tokens.shape
        state, question = self._begin(weights, inputs, rows // inputs.shape[1])
        number = torch.from_numpy(np.maximum(tokens, 0))
        at = torch.arange(seeds)[:, None]
        word, states = torch.zeros(seeds, rows, WORD), []
        for place in range(longest):
            state = self._next(weights, state, question, word)
            states.append(state)
            word = weights["words"][at, number[:, :, place]]
        several = torch.stack(states, 2).reshape(seeds, rows * longest, HIDDEN)
        odds = torch.log_softmax(several @ weights["out"], 2).reshape(seeds, rows, longest, -1)
        taken = odds.gather(3, number[..., None])[..., 0]
        return taken * torch.from_numpy(tokens >= 0)

    def _write(self, inputs: Array, copies: int, greedy: bool) -> Written:
        weights = self.weights
        state, question = self._begin(weights, inputs, copies)
        seeds, rows = state.shape[:2]
        at = torch.arange(seeds)[:, None]
        word = torch.zeros(seeds, rows, WORD)
        going = np.ones((seeds, rows), bool)
        written = []
        for _ in range(self._longest):
            state = self._next(weights, state, question, word)
            logits = state @ weights["out"]
            if greedy:
                taken = logits.argmax(2)
            else:
                level = np.stack([one.random(rows, np.float32) for one in self.chances])[..., None]
                odds = torch.softmax(logits, 2)[..., :-1].cumsum(2)
                taken = (odds < torch.from_numpy(level)).sum(2)
            written.append(np.where(going, taken.numpy(), -1))
            going &= written[-1] != END
            if not going.any():
                break
            word = weights["words"][at, taken]
        tokens = np.stack(written, 2)
        chosen = np.zeros((seeds, rows, len(self._choices)), np.int64)
        broken = going.copy()
        for seed in range(seeds):
            for row in range(rows):
                broken[seed, row] |= not self._parse(tokens[seed, row].tolist(), chosen[seed, row])
        return Written(inputs, tokens, chosen, broken, np.zeros((seeds, rows)))

    def _parse(self, tokens: list[int], into: Array) -> bool:
        """Fill the slots that tokens name; return whether all of them are read."""
        slot, words, last = -1, [], -1
        for token in [*(one for one in tokens if one > END), END]:
            if token > END and token not in self._slots:
                words.append(token)
                continue
            if slot >= 0:
                into[slot] = self._read[slot].get(tuple(words), 0)
                if not into[slot]:
                    return False
            elif words:
                return False
            if token == END:
                break
            slot, words = self._slots[token], []
            if slot <= last:
                return False
            last = slot
        return True

    def _tokens(self, chosen: Array) -> Array:
        found = np.full((*chosen.shape[:2], self._longest), -1, np.int64)
        used = 1
        for seed, answers in enumerate(chosen.tolist()):
            for row, answer in enumerate(answers):
                tokens = [
                    token
                    for slot, choice in enumerate(answer)
                    if choice
                    for token in (slot + 1, *self._spelled[slot][choice])
                ] + [END]
                found[seed, row, : len(tokens)] = tokens
                used = max(used, len(tokens))
        return found[:, :, :used]

    def _placed(self, tokens: Array, credit: Array) -> Array:
        """Return the credit of each token: that of its clause; what names a clause also answers for those it skips."""
        total = np.concatenate([np.zeros((*credit.shape[:2], 1)), credit.cumsum(2)], 2)
        slots = credit.shape[2]
        found = np.zeros(tokens.shape, np.float32)
        now = np.full(tokens.shape[:2], -1)
        for place in range(tokens.shape[2]):
            token = tokens[:, :, place]
            ends, names = token == END, (token > END) & (token <= slots)
            last = np.where(ends, slots - 1, np.where(names, token - 1, now))
            first = np.where(ends | names, np.minimum(now + 1, last), now)
            first, last = np.maximum(first, 0), np.maximum(last, 0)
            sums = np.take_along_axis(total, last[..., None] + 1, 2) - np.take_along_axis(
                total, first[..., None], 2
            )
            found[:, :, place] = sums[..., 0] / (last - first + 1) * (token >= 0)
            now = np.where(names, last, now)
        return found

    def step(self, parts: Sequence[tuple[Written, Array]], moving: Array | None = None) -> None:
        """Take one step of Adam up the sum of credit times log likelihood; arguments as those of `Policy.step`."""
        for one in self.weights.values():
            one.requires_grad_(True)
        gain = sum(
            (
                self._likely(batch.inputs, batch.tokens)
                * torch.from_numpy(self._placed(batch.tokens, credit))
            ).sum()
            for batch, credit in parts
        )
        ups = torch.autograd.grad(gain, list(self.weights.values()))
        self._steps += 1
        for (name, weight), up in zip(self.weights.items(), ups, strict=True):
            weight.requires_grad_(False)
            first, second = self._first[name], self._second[name]
            first += 0.1 * (up - first)
            second += 0.001 * (up * up - second)
            move = first / (1 - 0.9**self._steps)
            move /= torch.sqrt(second / (1 - 0.999**self._steps)) + 1e-8
            if moving is not None:
                move[torch.from_numpy(~moving)] = 0
            weight += self.rate * move
