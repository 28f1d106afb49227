"""Searching a memory for a batch of thoughts: the checks, the embedding, and one `Recall` for each thought.

When the embedder fails, the recalls say `memory_unavailable`, so that nothing is scored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from finer_rewards.errors import ConfigError, FinerError, suggest
from finer_rewards.memory.calibration_texts import UNRELATED
from finer_rewards.types import Recall, Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from finer_rewards.memory.snapshot import Joins, Snapshot

    Vector = NDArray[np.float32]

Scope = Literal["other", "same", "any"]
#: A thought, the database it is about, its question and its SQL.
Asked = tuple[str, "str | tuple[str, ...]", str, str]


class MemoryLostError(ConfigError):
    """A memory in another process is gone, or did not answer in time."""


class MemoryElsewhere(ABC):
    """The base of memories that another process holds (a server, a Ray actor).

    If that process is lost, recalls have the status `memory_unavailable`.
    """

    def search(
        self,
        thoughts: Sequence[str],
        dbs: Sequence[str | tuple[str, ...]],
        top_k: int = 20,
        scope: Scope = "other",
        *,
        questions: Sequence[str] = (),
        sqls: Sequence[str] = (),
    ) -> list[Recall]:
        """Find the traces most similar to each thought; see `TraceMemory.search`."""
        check_search(thoughts, dbs, top_k, scope, questions, sqls)
        none = [""] * len(thoughts)
        given: list[Asked] = list(zip(thoughts, dbs, questions or none, sqls or none, strict=True))
        # Completions of a group often have the same thought; it is sent only once.
        asked = list(dict.fromkeys(given))
        found: dict[Asked, Recall] = {}
        lost = Recall()
        try:
            for recall in self._recalls(asked, top_k, scope):
                found[asked[len(found)]] = recall
        except MemoryLostError as error:
            lost = Recall(Status.memory_unavailable, error=str(error))
        return [found.get(one, lost) for one in given]

    @abstractmethod
    def describe(self) -> Mapping[str, object]:
        """Return what determines a score, for the signature: embedder, flags and digest of the content."""

    def __len__(self) -> int:
        """Return the number of verified traces that a search sees."""
        return int(str(self.describe()["traces"]))

    @abstractmethod
    def _recalls(self, asked: Sequence[Asked], top_k: int, scope: Scope) -> Iterable[Recall]:
        """Yield the recall of each thought, in order; raise `MemoryLostError` when the memory stops answering."""


def check_search(
    thoughts: Sequence[str],
    dbs: Sequence[str | tuple[str, ...]],
    top_k: int,
    scope: Scope,
    questions: Sequence[str] = (),
    sqls: Sequence[str] = (),
) -> None:
    """Raise `ConfigError` when the arguments of a search do not fit together."""
    for name, given in (("questions", questions), ("sqls", sqls)):
        if len(given) not in (0, len(thoughts)):
            raise ConfigError(
                f"`search({name}=...)` should be empty or one a thought, but got {len(given)} for {len(thoughts)}."
            )
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
    questions: Sequence[str],
    sqls: Sequence[str],
    snapshot: Snapshot,
    embed: Callable[..., list[Vector | None]],
    join: Joins | None,
    fingerprint: str,
) -> list[Recall]:
    """Embed the thoughts together and search for each.

    Texts about other things altogether (`UNRELATED`) are embedded too: a similarity no larger than theirs
    counts as 0.

    Args:
        thoughts: the thoughts; an empty one finds nothing, and is not embedded.
        dbs: the id of the database that each is about.
        top_k: how many verified traces a thought finds at most, and how many failed ones.
        scope: whether it finds traces of other databases, of the same one, or of any.
        questions: the question of each, or nothing at all.
        sqls: the SQL of each, or nothing at all.
        snapshot: the traces to search.
        embed: returns the unit vector of each thought, `None` if it is not finite.
        join: mixes into the vector of a thought what its question asks for; `None` when questions are not compared.
        fingerprint: the name of the embedder, for messages.
    """
    asked = [place for place, thought in enumerate(thoughts) if thought.strip()]

    def of_asked(texts: Sequence[str]) -> list[str]:
        return [texts[place] for place in asked] if texts else []

    said, about = of_asked(thoughts), of_asked(questions)
    try:
        vectors = embed(said, about, of_asked(sqls))
        unrelated = embed(UNRELATED) if asked else []
        compared = [bool(join and question.strip()) for question in about] or [False] * len(asked)
        if join and any(compared):
            vectors = join(vectors, said, about)
            snapshot.join(join)
    except FinerError:
        raise
    # An embedder may raise anything. It is the system's fault, and is passed on as such.
    except Exception as error:  # noqa: BLE001
        lost = Recall(Status.memory_unavailable, error=f"{fingerprint}: {error!r:.300}")
        return [lost if thought.strip() else Recall() for thought in thoughts]
    not_finite = Recall(
        Status.memory_unavailable, error=f"{fingerprint} returned numbers that are not finite"
    )
    found = dict.fromkeys(asked, not_finite)
    # Thoughts with and without a question are searched separately: a thought without one is compared with thoughts
    # only, so its recall does not depend on the rest of the batch.
    for with_question in (False, True):
        together = [
            (place, vector)
            for place, vector, has_question in zip(asked, vectors, compared, strict=True)
            if vector is not None and has_question == with_question
        ]
        places = [place for place, _ in together]
        recalls = snapshot.recall(
            [vector for _, vector in together],
            [dbs[place] for place in places],
            top_k,
            scope,
            [vector for vector in unrelated if vector is not None],
            thoughts=[thoughts[place] for place in places],
            questions=[questions[place] for place in places] if with_question else (),
        )
        found.update(zip(places, recalls, strict=True))
    return [found.get(place, Recall()) for place in range(len(thoughts))]
