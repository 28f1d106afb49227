"""From thoughts to what a memory recalls of them; an embedder that fails is told, not scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from finer_rewards.errors import ConfigError, FinerError, suggest
from finer_rewards.memory.texts import UNRELATED
from finer_rewards.types import Recall, Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from finer_rewards.memory.shelves import Shelves

    Vector = NDArray[np.float32]

__all__ = ["Asked", "MemoryElsewhere", "MemoryLostError", "Scope", "check_search", "recall_thoughts"]

Scope = Literal["other", "same", "any"]
Asked = tuple[str, "str | tuple[str, ...]"]


class MemoryLostError(ConfigError):
    """A memory elsewhere is gone, or did not answer in time."""


class MemoryElsewhere(ABC):
    """A memory that another process holds; one that is lost is `Status.memory_unavailable`."""

    def search(
        self,
        thoughts: Sequence[str],
        dbs: Sequence[str | tuple[str, ...]],
        top_k: int = 20,
        scope: Scope = "other",
    ) -> list[Recall]:
        """Find the traces most similar to each thought; see `TraceMemory.search`."""
        check_search(thoughts, dbs, top_k, scope)
        # Each thought travels once: a group of completions often thinks alike.
        asked = list(dict.fromkeys(zip(thoughts, dbs, strict=True)))
        found: dict[Asked, Recall] = {}
        lost = Recall()
        try:
            for recall in self._recalls(asked, top_k, scope):
                found[asked[len(found)]] = recall
        except MemoryLostError as error:
            lost = Recall(Status.memory_unavailable, error=str(error))
        return [found.get(pair, lost) for pair in zip(thoughts, dbs, strict=True)]

    @abstractmethod
    def describe(self) -> Mapping[str, object]:
        """Return what of the memory determines a score."""

    def __len__(self) -> int:
        """Return the number of verified traces that a search sees."""
        return int(str(self.describe()["traces"]))

    @abstractmethod
    def _recalls(self, asked: Sequence[Asked], top_k: int, scope: Scope) -> Iterable[Recall]:
        """Yield what is recalled of each thought, in order, as far as the memory answers."""


def check_search(
    thoughts: Sequence[str], dbs: Sequence[str | tuple[str, ...]], top_k: int, scope: Scope
) -> None:
    """Raise `ConfigError` when a search cannot be made of these."""
    if len(thoughts) != len(dbs):
        raise ConfigError(
            f"`search(thoughts, dbs)` should get as many of each, but got {len(thoughts)} and {len(dbs)}."
        )
    if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1:
        raise ConfigError(f"`search(top_k=...)` should be a whole number from 1 on, but got {top_k!r}.")
    if scope not in get_args(Scope):
        raise ConfigError(
            f"`search(scope=...)` should be 'other', 'same' or 'any', but got {scope!r}. "
            f"{suggest(str(scope), get_args(Scope))}".rstrip()
        )


def recall_thoughts(
    thoughts: Sequence[str],
    dbs: Sequence[str],
    top_k: int,
    scope: Scope,
    *,
    shelves: Shelves,
    embed: Callable[[Sequence[str]], list[Vector | None]],
    fingerprint: str,
) -> list[Recall]:
    """Embed the thoughts together and search for each.

    Args:
        thoughts: reasoning; an empty one finds nothing.
        dbs: the id of the database each is about.
        top_k: most verified and most failed traces a thought.
        scope: traces of other databases, of the same one, or of any.
        shelves: where to search.
        embed: returns the unit vector of each text, `None` where the embedder made none.
        fingerprint: what the embedder is called.
    """
    asked = [place for place, thought in enumerate(thoughts) if thought.strip()]
    try:
        vectors = embed([thoughts[place] for place in asked])
        unrelated = embed(UNRELATED) if asked else []
    except FinerError:
        raise
    except Exception as error:  # noqa: BLE001  Whatever an embedder raises is handed on as the system's fault.
        lost = Recall(Status.memory_unavailable, error=f"{fingerprint}: {error!r:.300}")
        return [lost if thought.strip() else Recall() for thought in thoughts]
    not_finite = Recall(
        Status.memory_unavailable, error=f"{fingerprint} returned numbers that are not finite"
    )
    recalls = [not_finite if thought.strip() else Recall() for thought in thoughts]
    found = [(place, vector) for place, vector in zip(asked, vectors, strict=True) if vector is not None]
    strangers = [vector for vector in unrelated if vector is not None]
    answers = shelves.recall(
        [vector for _, vector in found], [dbs[place] for place, _ in found], top_k, scope, strangers
    )
    for (place, _), recall in zip(found, answers, strict=True):
        recalls[place] = recall
    return recalls
