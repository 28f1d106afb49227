"""Turning texts into vectors: the protocol `Embedder`, an embedder that needs no download, and a cache with checks.

Embedders that run a model or ask a server are in `sentence_embedder.py` and `endpoint_embedder.py`.
"""

from __future__ import annotations

import re
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from finer_rewards._util.locks import ForkSafeLock
from finer_rewards.errors import ConfigError
from finer_rewards.memory.sentence_embedder import DEFAULT_EMBEDDER, SentenceEmbedder
from finer_rewards.memory.vector_file import VectorFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Longest text that is embedded whole; of a longer text only the beginning and the end are embedded.
MAX_CHARACTERS: Final = 16_000

_TOKEN = re.compile(r"[^\W_]+|[<>=!]+")


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors. Any exception from `embed` counts as the system's fault, not the model's.

    Attributes:
        fingerprint: identifies the vectors it makes: model, prompt, dimension. Memories with different fingerprints
            cannot be mixed.
    """

    @property
    def fingerprint(self) -> str: ...  # noqa: D102

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return an array [n, d] of float32 with one vector for each text; they need not be of length 1."""
        ...


class HashingEmbedder:
    """Hashes words and pairs of words: deterministic, no download, 2,000 texts a second.

    It knows words, not meanings: the same idea in other words is not similar. For tests and small machines.

    Args:
        dimension: the number of entries of a vector.

    Example:
        >>> HashingEmbedder().fingerprint
        'hashing:1024'
    """

    def __init__(self, dimension: int = 1024) -> None:
        if isinstance(dimension, bool) or not isinstance(dimension, int) or not 8 <= dimension <= 1 << 16:
            raise ConfigError(
                f"`HashingEmbedder(dimension=...)` should be from 8 to 65536, but got {dimension!r}."
            )
        self.dimension = dimension

    @property
    def fingerprint(self) -> str:
        """The text `hashing:` and the dimension."""
        return f"hashing:{self.dimension}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a vector for each text; each word or pair adds the root of its count, at a hashed place and sign."""
        import numpy as np

        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for line, text in enumerate(texts):
            words = _TOKEN.findall(text.casefold())
            counts: dict[str, int] = {}
            for feature in (*words, *(f"{a} {b}" for a, b in pairwise(words))):
                counts[feature] = counts.get(feature, 0) + 1
            for feature, count in counts.items():
                code = zlib.crc32(feature.encode("utf-8", "surrogatepass"))
                vectors[line, (code >> 1) % self.dimension] += (1.0 if code & 1 else -1.0) * count**0.5
        return vectors

    def __repr__(self) -> str:
        return f"HashingEmbedder(dimension={self.dimension})"


class CachedEmbedder:
    """Wraps an embedder: embeds each text once, shortens long texts, and checks the vectors.

    A vector with numbers that are not finite becomes `None`; a vector of zeros stays zeros.

    Args:
        inner: the embedder.
        size: how many vectors are kept in memory.
        folder: where vectors are kept on disk as well, so that the next run does not make them again.
    """

    def __init__(self, inner: Embedder, size: int = 20_000, folder: str | Path | None = None) -> None:
        self.inner = inner
        self.size = size
        self.folder = folder
        self._file = None if folder is None else VectorFile(folder, inner.fingerprint)
        self._vectors: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = ForkSafeLock()

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the wrapped embedder."""
        return self.inner.fingerprint

    def vectors(self, texts: Sequence[str]) -> list[NDArray[np.float32] | None]:
        """Return one unit vector for each text, rounded to float16 as in storage; `None` if it is not finite."""
        import numpy as np

        from finer_rewards.memory.index import unit

        short = [shorten(text) for text in texts]
        with self._lock:
            known: dict[str, NDArray[np.float32] | None] = {
                text: self._vectors[text] for text in short if text in self._vectors
            }
        if self._file is not None:
            kept = self._file.get([text for text in dict.fromkeys(short) if text not in known])
            known |= {text: np.frombuffer(vector, "<f2").astype(np.float32) for text, vector in kept.items()}
        # Sorted by length, because a model pads the texts of a batch to the longest.
        missing = sorted({text for text in short if text not in known}, key=lambda text: (len(text), text))
        if missing:
            made = self._checked(self.inner.embed(missing), len(missing))
            finite: NDArray[np.bool_] = np.asarray(np.isfinite(made).all(axis=1))
            rounded = unit(np.where(finite[:, None], made, 0.0)).astype(np.float16).astype(np.float32)
            new = {text: rounded[line] for line, text in enumerate(missing) if finite[line]}
            known |= {text: new.get(text) for text in missing}
            if self._file is not None:
                self._file.put({text: vector.astype("<f2").tobytes() for text, vector in new.items()})
        with self._lock:
            for text in dict.fromkeys(short):
                vector = known[text]
                if vector is not None:
                    self._vectors[text] = vector
            while len(self._vectors) > self.size:
                self._vectors.popitem(last=False)
        return [known[text] for text in short]

    def _checked(self, made: Any, count: int) -> NDArray[np.float64]:
        import numpy as np

        array = np.asarray(made, dtype=np.float64)
        if array.ndim != 2 or len(array) != count or array.shape[1] == 0:
            raise ConfigError(
                f"`{self.fingerprint}`.embed(...) should return an array of shape ({count}, d), "
                f"but got {array.shape}. Return one row a text."
            )
        return array

    def __reduce__(self) -> tuple[type[CachedEmbedder], tuple[Embedder, int, str | Path | None]]:
        return type(self), (self.inner, self.size, self.folder)


def shorten(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return at most `limit` characters: all of a short text, beginning and end of a long one.

    Example:
        >>> shorten("abcdefgh", 5)
        'ab gh'
    """
    if len(text) <= limit:
        return text
    half = (limit - 1) // 2
    return f"{text[:half]} {text[-half:]}"


def embedder_from(spec: str | Embedder) -> Embedder:
    """Return the embedder that a text names; an embedder is returned as it is.

    Args:
        spec: `"hashing"` or `"hashing:512"`; `"https://host/v1#model"`, an OpenAI-compatible endpoint;
            anything else is a model id or folder of sentence-transformers.

    Raises:
        ConfigError: it is neither text nor an embedder.
        MissingExtraError: sentence-transformers is not installed.

    Example:
        >>> embedder_from("hashing:256")
        HashingEmbedder(dimension=256)
    """
    if isinstance(spec, Embedder):
        return spec
    if not isinstance(spec, str) or not spec.strip():
        raise ConfigError(
            f"`embedder` should be a name or have `embed` and `fingerprint`, but got {spec!r:.80}. "
            "Write for example embedder='hashing'."
        )
    name, _, detail = spec.partition(":")
    if name == "hashing":
        if detail and not detail.isdecimal():
            raise ConfigError(
                f"`hashing:N` should have a whole number, but got {spec!r}. Write 'hashing:1024'."
            )
        return HashingEmbedder(int(detail[:9])) if detail else HashingEmbedder()
    if name in ("http", "https"):
        from finer_rewards.memory.endpoint_embedder import EndpointEmbedder

        url, _, model = spec.partition("#")
        return EndpointEmbedder(url, model or DEFAULT_EMBEDDER)
    return SentenceEmbedder(spec)
