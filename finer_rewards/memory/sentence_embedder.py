"""An embedder that runs a sentence-transformers model in this process."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from finer_rewards._util.extras import package_folder
from finer_rewards._util.locks import ForkSafeLock

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The embedder of the FINER-SQL paper.
DEFAULT_EMBEDDER: Final = "Qwen/Qwen3-Embedding-0.6B"
#: The task, which Qwen3-Embedding wants before a text. Stored traces and searched thoughts get the same, being alike.
QWEN_PROMPT: Final = (
    "Instruct: Given the reasoning behind an SQL query, retrieve reasoning behind queries of the same kind"
    "\nQuery:"
)


class SentenceEmbedder:
    """Any sentence-transformers model, loaded at first use.

    Args:
        model: model id or folder.
        prompt: text put before every text, stored or searched for; `None` means `QWEN_PROMPT` for Qwen3-Embedding and
            nothing for other models, whatever prompts the model's own files name.
        dimension: cut vectors to this length (Matryoshka models); `None` for full length.
        batch_size: texts that go through the model at once.
        device: `"cpu"`, `"cuda"`, ...; `None` lets the library choose.
        dtype: `"float32"`, `"bfloat16"`, ...

    Raises:
        MissingExtraError: sentence-transformers is not installed.
    """

    def __init__(
        self,
        model: str = DEFAULT_EMBEDDER,
        *,
        prompt: str | None = None,
        dimension: int | None = None,
        batch_size: int = 32,
        device: str | None = None,
        dtype: str = "float32",
    ) -> None:
        package_folder("sentence", f"The embedder {model!r}", "sentence-transformers")
        self.model = str(model)
        self.prompt = (QWEN_PROMPT if "Qwen3-Embedding" in self.model else "") if prompt is None else prompt
        self.dimension = dimension
        self.batch_size = batch_size
        self.device = device
        self.dtype = dtype
        self._loaded: Any = None
        self._lock = ForkSafeLock()

    @property
    def fingerprint(self) -> str:
        """Model, prompt, dimension and number type, as one text."""
        name = self.model.rstrip("/").rpartition("/")[2] if self.model.startswith("/") else self.model
        parts = (name, f"prompt={self.prompt}", f"dimension={self.dimension or 'all'}", self.dtype)
        return f"sentence-transformers:{'|'.join(parts)}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors that the model makes, one for each text."""
        import numpy as np

        # One thread at a time: torch uses all cores anyway, and tokenizers are not thread-safe.
        with self._lock:
            model = self._load()
            vectors = model.encode(
                list(texts),
                # Pass it even if empty: without it the model's own default prompt would be used, which the fingerprint
                # does not name.
                prompt=self.prompt,
                batch_size=self.batch_size,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        return np.asarray(vectors, dtype=np.float32)

    def _load(self) -> Any:
        if self._loaded is None:
            library = import_module("sentence_transformers")
            options: dict[str, Any] = {"truncate_dim": self.dimension, "device": self.device}
            options["trust_remote_code"] = False
            options["model_kwargs"] = {"dtype": self.dtype}
            # Qwen3-Embedding reads the last token's vector, so padding has to stand in front. Releases of
            # sentence-transformers before 6.2 have another name for the option.
            accepted = inspect.signature(library.SentenceTransformer.__init__).parameters
            processor = "processor_kwargs" if "processor_kwargs" in accepted else "tokenizer_kwargs"
            if "Qwen3-Embedding" in self.model:
                options[processor] = {"padding_side": "left"}
            self._loaded = library.SentenceTransformer(self.model, **options)
        return self._loaded

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.model, self.prompt, self.dimension, self.batch_size, self.device, self.dtype)

    def __repr__(self) -> str:
        return f"SentenceEmbedder({self.model!r})"


def _restore(
    model: str, prompt: str, dimension: int | None, batch_size: int, device: str | None, dtype: str
) -> SentenceEmbedder:
    return SentenceEmbedder(
        model, prompt=prompt, dimension=dimension, batch_size=batch_size, device=device, dtype=dtype
    )
