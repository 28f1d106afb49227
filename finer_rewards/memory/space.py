"""What similarity means in one memory: how a thought becomes a unit vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finer_rewards.memory.embedders import CachedEmbedder, Embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Space"]


class Space:
    """Embeds thoughts for one memory.

    Args:
        embedder: turns text into vectors.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = CachedEmbedder(embedder)

    def vectors(self, thoughts: Sequence[str]) -> list[NDArray[np.float32] | None]:
        """Return the unit vector of each thought; `None` where the embedder made none."""
        return self.embedder.vectors(thoughts)
