r"""What similarity means in one memory: how a thought becomes a unit vector.

With `delexicalise` a thought is embedded twice, as its masked words and as the operations it plans, and the two
vectors are added; without, as it is. A thought that plans no operation is about no query: its vector is zero,
and so is its similarity to everything. With `centre` the mean vector of `BACKGROUND`, embedded in the same way,
is subtracted first:

$$ v(t) = \mathrm{unit}\Bigl(\sum_p \mathrm{unit}(e(p(t)) - c_p)\Bigr), \qquad c_p = \tfrac1B \sum_b e(p(b)) $$

Cosines of raw embeddings are high for any two traces, because what all reasoning has in common points one way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from finer_rewards.memory.delexicalise import delexicalise
from finer_rewards.memory.embedders import CachedEmbedder, Embedder, shorten
from finer_rewards.memory.plan import planned_operations
from finer_rewards.memory.texts import BACKGROUND

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]

__all__ = ["Space"]


class Space:
    """Embeds thoughts for one memory.

    Args:
        embedder: turns text into vectors.
        masks: true to mask names and look at the planned operations.
        centres: true to subtract the mean of `BACKGROUND`.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        masks: bool = True,
        centres: bool = True,
    ) -> None:
        self.embedder = CachedEmbedder(embedder)
        self.masks = masks
        self.parts: tuple[Callable[[str], str], ...] = (delexicalise, _plan) if masks else (_as_it_is,)
        self.centres = centres
        self._middles: list[Vector] | None = None

    def vectors(self, thoughts: Sequence[str]) -> list[Vector | None]:
        """Return the unit vector of each thought; `None` where the embedder made none."""
        import numpy as np

        from finer_rewards.memory.index import unit

        if not thoughts:
            return []
        if self.centres and self._middles is None:
            self.use(self.learn())
        middles = self._middles
        sums: list[NDArray[np.float64] | None] = [None] * len(thoughts)
        for number, part in enumerate(self.parts):
            made = self.embedder.vectors([part(shorten(thought)) for thought in thoughts])
            for line, vector in enumerate(made):
                moved = None if vector is None else _moved(vector, middles[number] if middles else None)
                before = sums[line] if number else None
                sums[line] = (
                    moved if number == 0 else None if before is None or moved is None else before + moved
                )
        # Rounded as they are stored, so that a thought equals its own trace.
        aimless = [self.masks and not planned_operations(shorten(thought)) for thought in thoughts]
        return [
            None
            if total is None
            else unit(total[None] * (not stray))[0].astype(np.float16).astype(np.float32)
            for total, stray in zip(sums, aimless, strict=True)
        ]

    def learn(self) -> list[list[float]]:
        """Embed the background; return the centre of each part.

        Raises:
            OSError: the embedder returned numbers that are not finite.
        """
        import numpy as np

        means: list[list[float]] = []
        for part in self.parts:
            made = [
                vector for vector in self.embedder.vectors(list(map(part, BACKGROUND))) if vector is not None
            ]
            if len(made) < len(BACKGROUND):
                raise OSError(f"{self.embedder.fingerprint} returned numbers that are not finite")
            means.append([round(float(number), 7) for number in np.mean(np.stack(made), axis=0)])
        return means

    def use(self, middles: Sequence[Sequence[float]]) -> None:
        """Centre on these from now on: an endpoint answers a little differently every time, so they are kept."""
        import numpy as np

        self._middles = [np.asarray(middle, dtype=np.float32) for middle in middles]


def _moved(vector: Vector, middle: Vector | None) -> NDArray[np.float64]:
    import numpy as np

    wide = vector.astype(np.float64)
    if middle is None or not wide.any():
        return wide
    wide = wide - middle
    length = float(np.sqrt((wide * wide).sum()))
    return wide / length if length else wide


def _as_it_is(thought: str) -> str:
    return thought


def _plan(thought: str) -> str:
    return " ".join(planned_operations(thought))
