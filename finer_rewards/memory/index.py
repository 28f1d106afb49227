"""Exact search by inner product over vectors kept in order of database.

Rows of one database lie side by side, so that leaving a database out, or searching it alone, is a slice and
costs nothing. FAISS searches the matrix where it lies; without FAISS the same is done with NumPy. Past
`exact_up_to` rows FAISS builds an IVF index instead, which is approximate (`benchmarks/memory.py` tells how).

The similarities handed back are computed once more, row by row in float64: a library may round a product
differently in a batch of one than in a batch of a thousand, and a score must not depend on that.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from finer_rewards.memory.extras import optional

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Hits", "Index", "Scope", "unit"]

Scope = Literal["other", "same", "any"]
Backend = Literal["auto", "faiss", "numpy"]
#: One (rows, similarities) pair a query, most similar first.
Hits = list[tuple["NDArray[np.int64]", "NDArray[np.float64]"]]

_SPARE: Final = 8  # Candidates beyond `top_k`, so that rounding cannot change who is in.
_BLOCK: Final = 8192


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Return the vectors scaled to length 1; zero vectors stay zero.

    Example:
        >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    wide = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.ascontiguousarray(wide / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


class Index:
    """A frozen set of unit vectors, each of one database.

    Args:
        vectors: float32 [n, d], rows of one database side by side.
        dbs: database of each row.
        exact_up_to: most rows searched exactly with FAISS; `None` for no limit.
        backend: `"faiss"`, `"numpy"`, or `"auto"`: FAISS where it is installed.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        dbs: Sequence[str],
        *,
        exact_up_to: int | None = 200_000,
        backend: Backend = "auto",
    ) -> None:
        self.vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self.ranges = _ranges(dbs)
        self.exact_up_to = exact_up_to
        self._faiss: Any = (
            None if backend == "numpy" else _faiss("the FAISS index" if backend == "faiss" else "")
        )

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def kind(self) -> str:
        """What searches: `faiss-flat`, `faiss-ivf` or `numpy`."""
        if self._faiss is None or os.getpid() != _loaded_in.get("faiss"):
            return "numpy"
        return "faiss-flat" if self.exact_up_to is None or len(self) <= self.exact_up_to else "faiss-ivf"

    def search(
        self, queries: NDArray[np.float32], dbs: Sequence[str], top_k: int, scope: Scope = "other"
    ) -> Hits:
        """Find the `top_k` most similar rows of each query.

        Args:
            queries: float32 [m, d], of unit length.
            dbs: database of each query.
            top_k: most rows a query.
            scope: rows of other databases, of the same one, or of any.

        Returns:
            Rows and similarities of each query, most similar first; fewer than `top_k` when there are fewer.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        owns = [self.ranges.get(db, (0, 0)) for db in dbs]
        found: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)] * len(dbs)
        wanted = top_k + _SPARE
        left: list[int] = []
        if scope == "same":
            left = list(range(len(dbs)))
        elif len(self) and len(dbs):
            found, left = self._nearest(queries, owns, wanted, scope)
        for start in range(0, len(left), 1024):
            self._scan(queries, owns, left[start : start + 1024], wanted, scope, found)
        return [self._exactly(queries[place], rows, top_k) for place, rows in enumerate(found)]

    def _nearest(
        self, queries: NDArray[np.float32], owns: list[tuple[int, int]], wanted: int, scope: Scope
    ) -> tuple[list[NDArray[np.int64]], list[int]]:
        """Search all rows at once; return what was found, and the queries whose own rows left too few."""
        kind = self.kind
        nothing = np.zeros(0, dtype=np.int64)
        if kind == "numpy":
            return [nothing] * len(owns), list(range(len(owns)))
        # Own rows are dropped afterwards: asking for twice as many is cheaper than a filter.
        asked = min(wanted if scope == "any" else 2 * wanted, len(self))
        if kind == "faiss-flat":
            metric = self._faiss.METRIC_INNER_PRODUCT
            _, rows = self._faiss.knn(queries, self.vectors, asked, metric=metric)
        else:
            _, rows = self._ivf.search(queries, asked)
        found: list[NDArray[np.int64]] = []
        crowded: list[int] = []
        for place, (start, end) in enumerate(owns):
            kept = rows[place][rows[place] >= 0]
            if scope == "other":
                kept = kept[(kept < start) | (kept >= end)]
                if len(kept) < min(wanted, len(self) - (end - start)):
                    crowded.append(place)
            found.append(kept[:wanted])
        return found, crowded

    def _scan(
        self,
        queries: NDArray[np.float32],
        owns: list[tuple[int, int]],
        places: list[int],
        wanted: int,
        scope: Scope,
        found: list[NDArray[np.int64]],
    ) -> None:
        """Search the allowed rows of some queries with NumPy, block by block."""
        if scope == "same":
            for place in places:
                start, end = owns[place]
                found[place] = start + _best(self.vectors[start:end] @ queries[place], wanted)
            return
        asked = queries[places]
        rows = np.zeros((len(places), 0), dtype=np.int64)
        values = np.zeros((len(places), 0), dtype=np.float32)
        for first in range(0, len(self), _BLOCK):
            last = min(first + _BLOCK, len(self))
            products = asked @ self.vectors[first:last].T
            if scope == "other":
                for line, place in enumerate(places):
                    start, end = owns[place]
                    if start < last and end > first:
                        products[line, max(start - first, 0) : max(end - first, 0)] = -np.inf
            if values.shape[1] >= wanted:
                rows, values = _merge(rows, values, products, first, wanted)
            else:
                rows = np.hstack([rows, np.broadcast_to(np.arange(first, last), products.shape)])
                values = np.hstack([values, products])
                rows, values = _cut(rows, values, wanted)
        for line, place in enumerate(places):
            found[place] = rows[line][values[line] > -np.inf]

    def _exactly(
        self, query: NDArray[np.float32], rows: NDArray[np.int64], top_k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        products = self.vectors[rows].astype(np.float64) * query.astype(np.float64)
        values = np.clip(products.sum(axis=1), -1.0, 1.0)
        order = np.lexsort((rows, -values))[:top_k]
        return rows[order], values[order]

    @cached_property
    def _ivf(self) -> Any:
        """An inverted-file index: about 4 sqrt(n) lists, of which a sixteenth is searched."""
        lists = max(1, int(4 * math.sqrt(len(self))))
        quantizer = self._faiss.IndexFlatIP(self.vectors.shape[1])
        index = self._faiss.IndexIVFFlat(
            quantizer, self.vectors.shape[1], lists, self._faiss.METRIC_INNER_PRODUCT
        )
        index.cp.max_points_per_centroid = 64
        index.cp.min_points_per_centroid = 1
        step = max(1, len(self) // (64 * lists))
        index.train(np.ascontiguousarray(self.vectors[::step]))
        index.add(self.vectors)
        index.nprobe = max(16, lists // 16)
        return index


#: The process that loaded FAISS. Its threads do not survive a fork, and a child would wait for them for ever.
_loaded_in: dict[str, int] = {}


def _faiss(needed_by: str) -> Any:
    module = optional("faiss", needed_by)
    if module is not None:
        _loaded_in.setdefault("faiss", os.getpid())
    return module


def _ranges(dbs: Sequence[str]) -> dict[str, tuple[int, int]]:
    ranges: dict[str, tuple[int, int]] = {}
    for row, db in enumerate(dbs):
        start, end = ranges.get(db, (row, row))
        if end != row:
            raise ValueError(f"rows of database {db!r} do not lie side by side")
        ranges[db] = (start, row + 1)
    return ranges


def _best(values: NDArray[Any], wanted: int) -> NDArray[np.int64]:
    if len(values) <= wanted:
        return np.arange(len(values), dtype=np.int64)
    return np.argpartition(-values, wanted - 1)[:wanted].astype(np.int64)


def _cut(
    rows: NDArray[np.int64], values: NDArray[np.float32], wanted: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if values.shape[1] <= wanted:
        return rows, values
    kept = np.argpartition(-values, wanted - 1, axis=1)[:, :wanted]
    return np.take_along_axis(rows, kept, axis=1), np.take_along_axis(values, kept, axis=1)


def _merge(
    rows: NDArray[np.int64],
    values: NDArray[np.float32],
    products: NDArray[np.float32],
    first: int,
    wanted: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Take in a block: few of its products beat the worst kept so far, and only those are looked at."""
    lines, columns = np.nonzero(products > values.min(axis=1)[:, None])
    counts = np.bincount(lines, minlength=len(rows))
    width = int(counts.max()) if len(lines) else 0
    if not width:
        return rows, values
    offsets = np.arange(len(lines)) - np.repeat(np.cumsum(counts) - counts, counts)
    new_rows = np.full((len(rows), width), -1, dtype=np.int64)
    new_values = np.full((len(rows), width), -np.inf, dtype=np.float32)
    new_rows[lines, offsets] = first + columns
    new_values[lines, offsets] = products[lines, columns]
    return _cut(np.hstack([rows, new_rows]), np.hstack([values, new_values]), wanted)
