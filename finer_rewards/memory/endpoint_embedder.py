"""An embedder that asks an OpenAI-compatible server, such as `vllm serve MODEL --runner pooling`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from finer_rewards._util.endpoint import Endpoint, EndpointError
from finer_rewards.memory.sentence_embedder import DEFAULT_EMBEDDER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False, repr=False)
class EndpointEmbedder(Endpoint):
    """Sends `POST URL/embeddings`, many texts in one request, with the standard library only.

    The key and the texts go to that address alone: a redirect is an error. A request that is refused because of load
    (429) or by a server error (5xx), or whose connection is lost, is repeated, after a wait that doubles each time; any
    other failure raises at once.

    Args:
        url: base URL, e.g. `"http://localhost:8000/v1"`.
        model: the model's name on the server.
        prompt: text put before every text.
        dimension: the length of vectors to ask for; `None` for the model's own.
        batch_size: texts in one request.
        timeout: seconds a request may take.
        retries: further attempts after the first.
        key_variable: environment variable that holds the API key, if there is one.

    Raises:
        ConfigError: the URL is not http or https, or holds a password or a query.

    Example:
        >>> EndpointEmbedder("http://localhost:8000/v1", "my-model").fingerprint
        'endpoint:my-model|prompt=|dimension=all'
    """

    model: str = DEFAULT_EMBEDDER
    _: KW_ONLY
    prompt: str = ""
    dimension: int | None = None
    batch_size: int = 64
    timeout: float = 30.0

    @property
    def fingerprint(self) -> str:
        """Model, prompt and dimension; the URL is left out, because the same server may move."""
        return f"endpoint:{self.model}|prompt={self.prompt}|dimension={self.dimension or 'all'}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors that the server makes, one for each text."""
        import numpy as np

        rows: list[NDArray[np.float32]] = []
        for start in range(0, len(texts), self.batch_size):
            rows += self._ask([self.prompt + text for text in texts[start : start + self.batch_size]])
        return np.stack(rows) if rows else np.zeros((0, self.dimension or 1), dtype=np.float32)

    def _ask(self, texts: list[str]) -> list[NDArray[np.float32]]:
        asked = {"dimensions": self.dimension} if self.dimension else {}
        answer = self.ask("embeddings", {"input": texts, "encoding_format": "float", **asked})
        try:
            ordered = sorted(answer["data"], key=lambda item: item["index"])
            rows = [_numbers(item["embedding"]) for item in ordered]
        except (KeyError, TypeError) as error:
            raise EndpointError(f"{self.url} did not answer in the OpenAI form: {error!r}") from error
        if len(rows) != len(texts):
            raise EndpointError(f"{self.url} returned {len(rows)} vectors for {len(texts)} texts")
        if self.dimension and any(len(row) != self.dimension for row in rows):
            raise EndpointError(f"{self.url} returned vectors of length {len(rows[0])}, not {self.dimension}")
        return rows


def _numbers(embedding: list[float] | str) -> NDArray[np.float32]:
    import numpy as np

    if isinstance(embedding, str):
        # Some servers send base64 although floats were asked for.
        return np.frombuffer(base64.b64decode(embedding), dtype="<f4").astype(np.float32)
    return np.asarray(embedding, dtype=np.float32)
