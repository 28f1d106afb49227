"""The protocols of trace memories: what a scorer calls (`Memory`), and what adapters call to add traces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from finer_rewards.memory.gate import AdmissionReport
    from finer_rewards.types import Evidence, Recall, Score

__all__ = ["LearningMemory", "Memory"]


class Memory(Protocol):
    """A memory that a scorer can search; `TraceMemory` is one."""

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
        """Return for each thought how similar the remembered traces are."""

    def describe(self) -> Mapping[str, object]:
        """Return every parameter and the digest of the content, for the signature."""


@runtime_checkable
class LearningMemory(Memory, Protocol):
    """A memory that traces can be added to: `TraceMemory` in a folder, `RemoteMemory` on a server, or `RayMemory`."""

    def remember(
        self, scored: Iterable[tuple[Evidence, Score]], *, model: str = "", step: int = 0, signature: str = ""
    ) -> AdmissionReport:
        """Store the traces that pass the gate; called once a step, after scoring."""

    def snapshot(self) -> str:
        """Read what other processes have stored, so that searches see it; return the digest of the content."""
