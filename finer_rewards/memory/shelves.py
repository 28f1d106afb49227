"""One frozen view of a memory: its traces in order, the indexes over them, and what a search of them recalls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from finer_rewards.memory.index import Index, Scope
from finer_rewards.memory.trace import Trace
from finer_rewards.types import Recall

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]
    Stored = NDArray[np.float16]

__all__ = ["Row", "Shelf", "Shelves", "packed", "unpacked"]


@dataclass(frozen=True)
class Row:
    """A trace and its unit vector, in the numbers it is stored in."""

    trace: Trace
    vector: Stored

    @property
    def place(self) -> tuple[str, str]:
        """Where it stands among others: by database, then by key."""
        return self.trace.db, self.trace.key

    @property
    def age(self) -> tuple[int, float, str]:
        """Of two records of one trace the one with the lesser age counts, whoever reads them in what order."""
        return self.trace.step, self.trace.time, repr(self.trace)


class Shelf:
    """The traces of one outcome, in order of database and key, and the index over them."""

    def __init__(self, rows: Iterable[Row], dimension: int, options: Mapping[str, Any]) -> None:
        ordered = sorted(rows, key=lambda row: row.place)
        vectors = np.stack([row.vector for row in ordered]) if ordered else np.zeros((0, max(1, dimension)))
        self.traces = tuple(row.trace for row in ordered)
        self.index = Index(vectors.astype(np.float32), [trace.db for trace in self.traces], **options)

    def on(self, db: str) -> tuple[Trace, ...]:
        """Return the traces of one database."""
        start, end = self.index.ranges.get(db, (0, 0))
        return self.traces[start:end]

    def to_centroid(self, vector: Vector, rows: NDArray[np.int64]) -> float | None:
        """Return the cosine of a vector to the mean of some rows; `None` when there are none."""
        if not len(rows):
            return None
        middle = self.index.vectors[rows].astype(np.float64).mean(axis=0)
        length = float(np.sqrt((middle * middle).sum()))
        return float((middle * vector.astype(np.float64)).sum() / length) if length else 0.0


class Shelves:
    """The verified and the failed traces of one snapshot."""

    def __init__(self, rows: Sequence[Row], dimension: int, options: Mapping[str, Any]) -> None:
        self.verified = Shelf((row for row in rows if row.trace.verified), dimension, options)
        self.failed = Shelf((row for row in rows if not row.trace.verified), dimension, options)
        self._zeros: dict[int, tuple[float, float]] = {}

    def of(self, trace: Trace) -> Shelf:
        """Return the shelf of a trace's outcome."""
        return self.verified if trace.verified else self.failed

    def recall(
        self,
        vectors: Sequence[Vector],
        dbs: Sequence[str],
        top_k: int,
        scope: Scope,
        unrelated: Sequence[Vector],
    ) -> list[Recall]:
        """Search for vectors of thoughts; `unrelated` are those of texts about something else."""
        if not vectors:
            return []
        zero_centroid, zero_nearest = self._zero(unrelated, top_k)
        queries = np.stack(vectors)
        near = self.verified.index.search(queries, dbs, top_k, scope)
        far = self.failed.index.search(queries, dbs, top_k, scope)
        return [
            Recall(
                verified=tuple(similarities.tolist()),
                failed=tuple(others.tolist()),
                centroid=self.verified.to_centroid(vector, rows),
                traces=tuple(self.verified.traces[row].key for row in rows),
                zero_centroid=zero_centroid,
                zero_nearest=zero_nearest,
            )
            for vector, (rows, similarities), (_, others) in zip(vectors, near, far, strict=True)
        ]

    def _zero(self, unrelated: Sequence[Vector], top_k: int) -> tuple[float, float]:
        """Return the most that unrelated texts get: similarity to the centroid, and to the nearest."""
        if top_k not in self._zeros:
            index = self.verified.index
            found = (
                index.search(np.stack(unrelated), [""] * len(unrelated), top_k, "any") if unrelated else []
            )
            centroids = [
                self.verified.to_centroid(vector, rows) or 0.0
                for vector, (rows, _) in zip(unrelated, found, strict=True)
            ]
            nearest = [float(similarities[0]) for _, similarities in found if len(similarities)]
            self._zeros[top_k] = max([0.0, *centroids]), max([0.0, *nearest])
        return self._zeros[top_k]


def packed(vector: Stored) -> bytes:
    """Return a vector as it is stored: float16, little-endian."""
    return vector.astype("<f2").tobytes()


def unpacked(data: bytes) -> Stored:
    """Return a stored vector."""
    return np.frombuffer(data, dtype="<f2")
