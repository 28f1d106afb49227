"""TRL: the batches that several reward functions of one scorer ask for, each scored once."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from threading import Lock

from finer_rewards.adapters._training_rows import Judged, judge, refuse_lost
from finer_rewards.errors import ConfigError
from finer_rewards.memory_protocol import LearningMemory
from finer_rewards.scoring import Scorer
from finer_rewards.types import Sample, Score


class _SharedBatch:
    def __init__(self, items: list[Sample | Score]) -> None:
        self.items = items
        self.readers: set[str] = set()
        self.judged: list[Judged] | None = None
        self.lock = Lock()


class Batches:
    """The batches being scored, so that the functions which share a scorer score each of them once.

    A function that asks again for the same completions starts a new batch: memory may have grown since.
    """

    def __init__(self, scorer: Scorer, readers: int, remember: bool) -> None:
        if remember and not isinstance(scorer.memory, LearningMemory):
            raise ConfigError(
                f"`TRLReward(remember=True)` should have a scorer with a TraceMemory, but got {scorer.memory!r:.80}. "
                "Pass Scorer(reward, executor, memory=TraceMemory.open('traces/'))."
            )
        self.scorer = scorer
        self.readers = readers
        self.remember = remember
        self._step = 0
        self._unsaved: list[Judged] = []
        self._kept: deque[_SharedBatch] = deque(maxlen=8)
        self._lock = Lock()

    def judge(
        self, reader: str, items: list[Sample | Score], step: int | None, groups: Sequence[tuple[int, int]]
    ) -> tuple[list[Judged], bool]:
        """Return what became of the batch, and whether this call scored it."""
        with self._lock:
            batch = next(
                (one for one in self._kept if reader not in one.readers and one.items == items), None
            )
            if batch is None:
                batch = _SharedBatch(items)
                self._kept.append(batch)
            batch.readers.add(reader)
            if len(batch.readers) == self.readers:
                self._kept.remove(batch)
        with batch.lock:
            fresh = batch.judged is None
            if batch.judged is None:
                if self.remember:
                    self._learn(wait=step is not None)
                labels = [number for number, (start, end) in enumerate(groups) for _ in range(start, end)]
                judged = judge(self.scorer, items, step=step, groups=labels)
                refuse_lost(self.scorer, judged)
                batch.judged = judged
                if self.remember:
                    with self._lock:
                        self._step = step or 0
                        self._unsaved += batch.judged
            return batch.judged, fresh

    def flush(self) -> None:
        """Store what the last batch verified."""
        with self._lock:
            unsaved, self._unsaved = self._unsaved, []
        pairs = [(one.evidence, one.score) for one in unsaved if one.evidence is not None]
        if pairs and isinstance(self.scorer.memory, LearningMemory):
            digest = self.scorer.signature.digest
            self.scorer.memory.remember(pairs, step=self._step, signature=digest)

    def _learn(self, *, wait: bool) -> None:
        """Store the batch before, and look at what all ranks have stored.

        Every rank has to have written before any rank looks. TRL gathers the rewards after each batch, so no
        rank can be a whole batch ahead and show its own too early.
        """
        self.flush()
        if wait and "accelerate" in sys.modules:
            sys.modules["accelerate"].PartialState().wait_for_everyone()
        if isinstance(self.scorer.memory, LearningMemory):
            self.scorer.memory.snapshot()

    def __reduce__(self) -> tuple[type[Batches], tuple[Scorer, int, bool]]:
        return type(self), (self.scorer, self.readers, self.remember)
