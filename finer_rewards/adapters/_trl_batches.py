"""TRL: scoring each batch once for several reward functions, and letting a memory learn between batches."""

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
    """A batch, the names of the functions that have asked for it, and its outcome once it has been scored."""

    def __init__(self, items: list[Sample | Score]) -> None:
        self.items = items
        self.readers: set[str] = set()
        self.judged: list[Judged] | None = None
        self.lock = Lock()


class Batches:
    """The batches in progress of the functions that share a scorer; each batch is scored once for all of them.

    A function that asks a second time for the same completions starts a new batch, since memory may have grown.

    Args:
        scorer: the scorer.
        readers: how many functions share it.
        remember: whether the scorer's memory learns from each batch.
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
        """Return the outcomes of the batch, and whether this call scored it."""
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
        """Store the traces of the last batch in the memory."""
        with self._lock:
            unsaved, self._unsaved = self._unsaved, []
        pairs = [(one.evidence, one.score) for one in unsaved if one.evidence is not None]
        if pairs and isinstance(self.scorer.memory, LearningMemory):
            digest = self.scorer.signature.digest
            self.scorer.memory.remember(pairs, step=self._step, signature=digest)

    def _learn(self, *, wait: bool) -> None:
        """Store the traces of the batch before, then read those of all ranks.

        Every rank has to write before any rank reads, so ranks wait for each other in between. TRL gathers the rewards
        after each batch, so no rank can be a whole batch ahead and have its traces seen too early.
        """
        self.flush()
        if wait and "accelerate" in sys.modules:
            sys.modules["accelerate"].PartialState().wait_for_everyone()
        if isinstance(self.scorer.memory, LearningMemory):
            self.scorer.memory.snapshot()

    def __reduce__(self) -> tuple[type[Batches], tuple[Scorer, int, bool]]:
        return type(self), (self.scorer, self.readers, self.remember)
