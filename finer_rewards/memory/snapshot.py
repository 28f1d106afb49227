"""`Snapshot`, a frozen view of a memory that searches run on: the traces in order, and indexes over their vectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import numpy as np

from finer_rewards.memory.index import Index, Scope
from finer_rewards.memory.segments import ROUNDING
from finer_rewards.memory.thought_embedder import operation_flags, operation_rates, with_operations
from finer_rewards.memory.trace import Trace
from finer_rewards.types import Recall

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]
    Stored = NDArray[np.float16]
    Wide = NDArray[np.float64]
    #: From vectors, thoughts and questions to vectors with what the questions ask for added.
    Joins = Callable[[Sequence[Vector | None], Sequence[str], Sequence[str]], list[Vector | None]]

_WORDS: Final = re.compile(r"\w+")
# Words in a run that counts as copied. Real thoughts about other databases share 0.1 of their runs of five words in the
# median, and never 0.8.
_RUN: Final = 5


@dataclass(frozen=True)
class TraceRow:
    """A trace and its unit vector, in float16 as it is stored."""

    trace: Trace
    vector: Stored

    @property
    def place(self) -> tuple[str, str]:
        """The key by which traces are sorted: database, then the trace's own key."""
        return self.trace.db, self.trace.key

    @property
    def is_unit(self) -> bool:
        """Whether the vector has length 1, or is all zeros, as that of a thought about no query."""
        wide = self.vector.astype(np.float32)
        square = float(wide @ wide)
        return len(wide) > 0 and (square == 0.0 or abs(square - 1.0) <= ROUNDING)

    @property
    def age(self) -> tuple[int, float, str]:
        """Of two records of one trace the one with the lesser `age` counts, in whatever order they are read."""
        return self.trace.step, self.trace.time, repr(self.trace)


class TraceIndex:
    """The traces of one outcome, in order of database and key, and the index over them."""

    def __init__(self, rows: Iterable[TraceRow], dimension: int, options: Mapping[str, Any]) -> None:
        ordered = sorted(rows, key=lambda row: row.place)
        vectors = np.stack([row.vector for row in ordered]) if ordered else np.zeros((0, max(1, dimension)))
        self.traces = tuple(row.trace for row in ordered)
        self._options = options
        self.index = self._index(vectors.astype(np.float32))
        self._asked: Index | None = None

    def on(self, db: str) -> tuple[Trace, ...]:
        """Return the traces about one database."""
        start, end = self.index.ranges.get(db, (0, 0))
        return self.traces[start:end]

    @cached_property
    def operation_flags(self) -> Wide:
        """For each trace, 1 for each operation that it plans or its question asks for; see `operation_flags`."""
        texts, questions = self._texts()
        return operation_flags(texts, questions)

    def join(self, join: Joins, operation_rates: Wide) -> None:
        """Make the second index, over traces together with what their questions ask for; see `thought_embedder.py`."""
        if self._asked is None and self.traces:
            made = join(list(self.index.vectors), *self._texts())
            whole = [own if one is None else one for one, own in zip(made, self.index.vectors, strict=True)]
            self._asked = self._index(
                with_operations(np.stack(whole), self.operation_flags - operation_rates)
            )

    def chosen(self, asked: bool) -> Index:
        """Return the index over thoughts with questions if `asked`, else the one over thoughts alone."""
        return self._asked if asked and self._asked is not None else self.index

    def to_centroid(self, vector: Vector, rows: NDArray[np.int64], asked: bool = False) -> float | None:
        """Return the cosine of a vector to the mean of some rows; `None` when there are none."""
        if not len(rows):
            return None
        middle = self.chosen(asked).vectors[rows].astype(np.float64).mean(axis=0)
        length = float(np.sqrt((middle * middle).sum()))
        return float((middle * vector.astype(np.float64)).sum() / length) if length else 0.0

    def _texts(self) -> tuple[list[str], list[str]]:
        return [trace.text for trace in self.traces], [trace.question for trace in self.traces]

    def _index(self, vectors: Vector) -> Index:
        return Index(vectors, [trace.db for trace in self.traces], **self._options)


class Snapshot:
    """The verified and the failed traces of a memory at one moment, ready to be searched."""

    def __init__(self, rows: Sequence[TraceRow], dimension: int, options: Mapping[str, Any]) -> None:
        self.verified = TraceIndex((row for row in rows if row.trace.verified), dimension, options)
        self.failed = TraceIndex((row for row in rows if not row.trace.verified), dimension, options)
        self._zeros: dict[tuple[int, bool], tuple[float, float]] = {}

    def of(self, trace: Trace) -> TraceIndex:
        """Return the traces with the same outcome, verified or failed, as a trace."""
        return self.verified if trace.verified else self.failed

    @cached_property
    def operation_rates(self) -> Wide:
        """The share of the verified traces that speak of each operation."""
        return operation_rates(self.verified.operation_flags)

    def join(self, join: Joins) -> None:
        """Make the indexes for thoughts whose questions are known."""
        self.verified.join(join, self.operation_rates)
        self.failed.join(join, self.operation_rates)

    def recall(
        self,
        vectors: Sequence[Vector],
        dbs: Sequence[str],
        top_k: int,
        scope: Scope,
        unrelated: Sequence[Vector],
        *,
        thoughts: Sequence[str],
        questions: Sequence[str] = (),
    ) -> list[Recall]:
        """Search for thoughts.

        Args:
            vectors: the vectors of the thoughts, joined with their questions if those are given.
            dbs: the id of the database that each thought is about.
            top_k: most verified and most failed traces for a thought.
            scope: traces of other databases, of the same one, or of any.
            unrelated: vectors of texts about something else, whose similarity counts as 0.
            thoughts: the thoughts themselves, to see how much of each is copied from the traces found.
            questions: the question of each thought if questions are compared, else nothing.
        """
        if not vectors:
            return []
        asked, queries = bool(questions), np.stack(vectors)
        if asked:
            queries = with_operations(queries, operation_flags(thoughts, questions) - self.operation_rates)
        zero_centroid, zero_nearest = self._zero(unrelated, top_k, asked)
        near = self.verified.chosen(asked).search(queries, dbs, top_k, scope)
        far = self.failed.chosen(asked).search(queries, dbs, top_k, scope)
        return [
            Recall(
                verified=tuple(similarities.tolist()),
                failed=tuple(others.tolist()),
                centroid=self.verified.to_centroid(vector, rows, asked),
                traces=tuple(self.verified.traces[row].key for row in rows),
                zero_centroid=zero_centroid,
                zero_nearest=zero_nearest,
                copied=copied(thought, self._texts_elsewhere(rows, db)),
            )
            for vector, db, (rows, similarities), (_, others), thought in zip(
                queries, dbs, near, far, thoughts, strict=True
            )
        ]

    def _texts_elsewhere(self, rows: NDArray[np.int64], db: str) -> list[str]:
        """Return the texts of the traces about other databases; a repeated thought about the same one is no copy."""
        found = (self.verified.traces[row] for row in rows)
        return [trace.text for trace in found if trace.db != db]

    def _zero(self, unrelated: Sequence[Vector], top_k: int, asked: bool) -> tuple[float, float]:
        """Return the largest similarities that unrelated texts get: to the centroid, and to the nearest trace."""
        if (top_k, asked) not in self._zeros:
            index, none = self.verified.chosen(asked), [""] * len(unrelated)
            if asked and unrelated:
                unrelated = list(
                    with_operations(np.stack(unrelated), operation_flags(none, none) - self.operation_rates)
                )
            found = index.search(np.stack(unrelated), none, top_k, "any") if unrelated else []
            centroids = [
                self.verified.to_centroid(vector, rows, asked) or 0.0
                for vector, (rows, _) in zip(unrelated, found, strict=True)
            ]
            nearest = [float(similarities[0]) for _, similarities in found if len(similarities)]
            self._zeros[top_k, asked] = max([0.0, *centroids]), max([0.0, *nearest])
        return self._zeros[top_k, asked]


def copied(thought: str, texts: Sequence[str]) -> float:
    """Return the share of a thought's runs of five words that occur in the texts; 0 for a very short thought.

    Example:
        >>> text = "I join both tables on their key, group by the city and count what is in each of them."
        >>> copied(text, ["Sort it.", text]), copied(text, ["Sort it."])
        (1.0, 0.0)
    """
    runs = _runs(thought)
    if len(runs) < 6 or not texts:
        return 0.0
    # A search in the sorted runs takes a tenth of the time of `np.isin`.
    held = np.sort(np.concatenate([_runs(text) for text in texts]))
    places = np.minimum(np.searchsorted(held, runs), len(held) - 1)
    return float((held[places] == runs).mean()) if len(held) else 0.0


@lru_cache(maxsize=50_000)
def _runs(text: str) -> NDArray[np.uint32]:
    """Return the distinct runs of five words of a text, as sorted checksums."""
    words = _WORDS.findall(text.casefold())
    runs = (" ".join(words[place : place + _RUN]).encode() for place in range(len(words) - _RUN + 1))
    return np.unique(np.fromiter(map(crc32, runs), dtype=np.uint32))


def packed(vector: Stored) -> bytes:
    """Return a vector as the bytes that are stored: float16, little-endian."""
    return vector.astype("<f2").tobytes()


def unpacked(data: bytes) -> Stored:
    """Return the vector that stored bytes hold."""
    return np.frombuffer(data, dtype="<f2")
