"""What several trainers' ranks share: a memory that is searched, and written between the batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from finer_rewards.memory.gate import Report
from finer_rewards.scoring import Memory
from finer_rewards.types import Evidence, Score

__all__ = ["LearningMemory"]


@runtime_checkable
class LearningMemory(Memory, Protocol):
    """A memory that also learns: `TraceMemory` in a folder, `RemoteMemory` on a server, `RayMemory` in an actor."""

    def remember(
        self, scored: Iterable[tuple[Evidence, Score]], *, model: str = "", step: int = 0, signature: str = ""
    ) -> Report:
        """Store what passes the gate, once a step, after scoring."""

    def snapshot(self) -> str:
        """Take in what others remembered, so that searches see it; return the digest."""
