r"""How a thought becomes a unit vector, which defines what similarity means in a memory.

With `delexicalise` a thought is embedded twice, as its masked words and as a list of the operations that it plans, and
the two vectors are added; otherwise it is embedded as it is. A thought that plans no operation and shares no name with
its question or its query is about no query: its vector is zero, and so is its similarity to everything. With `centre`
the mean vector of `BACKGROUND`, embedded in the same way, is subtracted first, since otherwise the cosine of any two
traces would be high: what all reasoning has in common points in one direction. For the parts p of a thought t (its
masked words, its operations) and the texts b of the background:

$$ v(t) = \mathrm{unit}\Bigl(\sum_p \mathrm{unit}(e(p(t)) - c_p)\Bigr), \qquad c_p = \tfrac1B \sum_b e(p(b)) $$

If the question is known, two more vectors are added: that of the operations it asks for, q, and that of these together
with the planned ones, qp: $w = \mathrm{unit}(\sqrt2\, v(t) + v(q) + v(qp))$. A question says more about the kind of
query than a thought of a few words. Operations that neither mentions say something too, so a vector with one entry for
each operation is appended: 1 or 0, minus the share of stored traces that speak of it:
$(w, \mathrm{unit}(o(qp) - \bar o)) / \sqrt2$.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING

from finer_rewards._thoughts.plan import OPERATIONS, asked_operations, planned_operations
from finer_rewards._thoughts.stuffing import is_foreign, touches
from finer_rewards.memory.calibration_texts import BACKGROUND
from finer_rewards.memory.delexicalise import delexicalise
from finer_rewards.memory.embedders import CachedEmbedder, Embedder, shorten

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]
    Wide = NDArray[np.float64]


class ThoughtEmbedder:
    """Embeds thoughts for one memory.

    Args:
        embedder: turns text into vectors.
        masks: true to mask names and look at the planned operations.
        centres: true to subtract the mean of `BACKGROUND`.
        cache: folder to keep embeddings in; none by default.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        masks: bool = True,
        centres: bool = True,
        cache: str | Path | None = None,
    ) -> None:
        self.embedder = CachedEmbedder(embedder, folder=cache)
        self.masks = masks
        self.centres = centres
        #: How many texts of a thought are embedded.
        self.parts = 2 if masks else 1
        self._centre_vectors: list[Vector] | None = None

    def vectors(
        self, thoughts: Sequence[str], questions: Sequence[str] = (), sqls: Sequence[str] = ()
    ) -> list[Vector | None]:
        """Return the unit vector of each thought; `None` if the embedder's numbers are not finite.

        Args:
            thoughts: the thoughts.
            questions: the question that each answers, or nothing at all; only the names in it are used here.
            sqls: the SQL that each led to, or nothing at all; likewise.
        """
        if not thoughts:
            return []
        if self.centres and self._centre_vectors is None:
            self.use_centres(self.learn_centres())
        given = list(zip(thoughts, questions or repeat(""), sqls or repeat("")))  # noqa: B905
        # Completions of a group often have the same thought.
        texts = {one: self._texts(*one) for one in dict.fromkeys(given)}
        return self._summed(texts, given)

    def joined(
        self, vectors: Sequence[Vector | None], thoughts: Sequence[str], questions: Sequence[str]
    ) -> list[Vector | None]:
        """Return the vectors of thoughts with those of what their questions ask for added; zero stays zero."""
        import numpy as np

        from finer_rewards.memory.index import unit

        given = list(zip(thoughts, questions, strict=True))
        texts = {one: _asked(*one) for one in dict.fromkeys(given)}
        wanted = list(dict.fromkeys(text for pair in texts.values() for text in pair if text))
        centre = self._centre_vectors[-1] if self._centre_vectors else None
        known: dict[str, Wide | None] = {
            text: _moved(vector, centre)
            for text, vector in zip(wanted, self.embedder.vectors(wanted) if wanted else (), strict=True)
        }
        made: list[Vector | None] = []
        for vector, one in zip(vectors, given, strict=True):
            parts = [known[text] for text in texts[one] if text]
            if vector is None or not vector.any() or not parts or any(part is None for part in parts):
                made.append(vector)
            else:
                total = 2**0.5 * vector.astype(np.float64) + sum(part for part in parts if part is not None)
                made.append(unit(total[None])[0].astype(np.float16).astype(np.float32))
        return made

    def learn_centres(self) -> list[list[float]]:
        """Return the centre of each part: the mean vector of the embedded `BACKGROUND`.

        Raises:
            OSError: the embedder returned numbers that are not finite.
        """
        import numpy as np

        means: list[list[float]] = []
        for part in zip(*map(self._texts, BACKGROUND), strict=True):
            made = [vector for vector in self.embedder.vectors(part) if vector is not None]
            if len(made) < len(BACKGROUND):
                raise OSError(f"{self.embedder.fingerprint} returned numbers that are not finite")
            means.append([round(float(number), 7) for number in np.mean(np.stack(made), axis=0)])
        return means

    def use_centres(self, centres: Sequence[Sequence[float]]) -> None:
        """Subtract these centres from now on.

        They are stored with the memory and not computed anew, because a server's answers differ a little each time.
        """
        import numpy as np

        self._centre_vectors = [np.asarray(centre, dtype=np.float32) for centre in centres]

    def _texts(self, thought: str, question: str = "", sql: str = "") -> tuple[str, ...]:
        """Return the texts that are embedded for a thought, one for each part; an empty text adds nothing."""
        short = shorten(thought)
        if not self.masks:
            return (short,)
        planned = planned_operations(short)
        if not planned and (is_foreign(short) or touches(short, question, sql)):
            planned = planned_operations(short, about=True)
        return (delexicalise(short), " ".join(planned)) if planned else ("", "")

    def _summed(
        self, texts: dict[tuple[str, str, str], tuple[str, ...]], given: Sequence[tuple[str, str, str]]
    ) -> list[Vector | None]:
        import numpy as np

        from finer_rewards.memory.index import unit

        moved: dict[tuple[int, str], Wide | None] = {}
        length = 1
        for number, column in enumerate(zip(*texts.values(), strict=True)):
            # If no thought is about a query, embed some word all the same, to know the length of the zero vectors.
            wanted = list(dict.fromkeys(filter(None, column))) or ["query"]
            centre = self._centre_vectors[number] if self._centre_vectors else None
            for text, vector in zip(wanted, self.embedder.vectors(wanted), strict=True):
                length = length if vector is None else len(vector)
                moved[number, text] = _moved(vector, centre)
        made: dict[tuple[str, str, str], Vector | None] = {}
        for one, parts in texts.items():
            total: Wide | None = np.zeros(length)
            for place in enumerate(parts):
                part = moved[place] if place[1] else 0.0
                total = None if part is None or total is None else total + part
            # Rounded like stored vectors, so that a thought has similarity 1 to its own trace.
            made[one] = None if total is None else unit(total[None])[0].astype(np.float16).astype(np.float32)
        return [made[one] for one in given]


@lru_cache(maxsize=20_000)
def _asked(thought: str, question: str) -> tuple[str, str]:
    """Return the operations that a question asks for, and these together with the planned ones, as texts."""
    asked = asked_operations(shorten(question))
    planned = planned_operations(shorten(thought), about=True)
    return " ".join(asked), " ".join(sorted({*asked, *planned}))


def operation_flags(thoughts: Sequence[str], questions: Sequence[str]) -> Wide:
    """Return a line for each thought: 1 for each of `OPERATIONS` that it plans or its question asks for, else 0.

    Example:
        >>> operation_flags(["Sort by age."], ["How many singers are there?"]).nonzero()[1].tolist()
        [3, 14]
    """
    import numpy as np

    lines = [_asked(*one)[1].split() for one in zip(thoughts, questions, strict=True)]
    return np.array([[name in line for name in OPERATIONS] for line in lines], dtype=float)


def operation_rates(lines: Wide) -> Wide:
    """Return the share of thoughts that speak of each operation, drawn towards one in ten when there are few thoughts.

    Example:
        >>> import numpy as np
        >>> operation_rates(np.ones((90, 1))).round(2).tolist(), operation_rates(np.zeros((0, 1))).tolist()
        ([0.91], [0.1])
    """
    import numpy as np

    return np.asarray((lines.sum(axis=0) + 1) / (len(lines) + 10))


def with_operations(vectors: Vector, lines: Wide) -> Vector:
    """Return unit vectors: each vector with its line of operations, scaled to length 1, appended; zero stays zero."""
    import numpy as np

    from finer_rewards.memory.index import unit

    about = vectors.any(axis=1, keepdims=True)
    return unit(np.hstack([vectors, unit(lines) * about])).astype(np.float16).astype(np.float32)


def _moved(vector: Vector | None, centre: Vector | None) -> Wide | None:
    """Return a vector minus the centre, scaled to length 1; zero stays zero."""
    import numpy as np

    if vector is None:
        return None
    wide = vector.astype(np.float64)
    if centre is None or not wide.any():
        return wide
    wide = wide - centre
    length = float(np.sqrt((wide * wide).sum()))
    return wide / length if length else wide
