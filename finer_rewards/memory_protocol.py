"""What a scorer asks of a memory of reasoning traces, and what trainers' ranks do with one that learns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from finer_rewards.memory.gate import AdmissionReport
    from finer_rewards.types import Evidence, Recall, Score

__all__ = ["LearningMemory", "Memory"]


class Memory(Protocol):
    """What a scorer asks of a trace memory; `TraceMemory` is one."""

    def search(
        self,
        thoughts: Sequence[str],
        dbs: Sequence[str],
        *,
        top_k: int = 20,
        scope: Literal["other", "same", "any"] = "other",
        questions: Sequence[str] = (),
        sqls: Sequence[str] = (),
    ) -> list[Recall]:
        """Return what is remembered that resembles each thought."""

    def describe(self) -> Mapping[str, object]:
        """Return every parameter and the digest of the content, for the signature."""


@runtime_checkable
class LearningMemory(Memory, Protocol):
    """A memory that also learns: `TraceMemory` in a folder, `RemoteMemory` on a server, `RayMemory` in an actor."""

    def remember(
        self, scored: Iterable[tuple[Evidence, Score]], *, model: str = "", step: int = 0, signature: str = ""
    ) -> AdmissionReport:
        """Store what passes the gate, once a step, after scoring."""

    def snapshot(self) -> str:
        """Take in what others remembered, so that searches see it; return the digest."""
