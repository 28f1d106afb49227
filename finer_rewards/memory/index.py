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
_BLOCK: Final = 8_192  # Rows that NumPy searches at once,
_BATCH: Final = 1024  # and queries.
_PROBE: Final = 16  # Queries that tell whether own rows crowd others out.


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
            Rows and similarities of each query, most similar first; fewer than `top_k` when there are fewer. The
            similarities do not depend on the batch; which of equally similar rows come last may.
        """
        if not len(self):
            return [(np.zeros(0, dtype=np.int64), np.zeros(0))] * len(dbs)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        owns = np.array([self.ranges.get(db, (0, 0)) for db in dbs], dtype=np.int64).reshape(-1, 2)
        found = np.full((len(dbs), top_k + _SPARE), -1, dtype=np.int64)
        left = np.arange(len(dbs))
        if scope == "same":
            for place in left:
                start, end = owns[place]
                if end > start:
                    near = start + _best(self.vectors[start:end] @ queries[place], found.shape[1])
                    found[place, : len(near)] = near
            left = left[:0]
        elif self.kind != "numpy":
            left = self._search_all(queries, owns, scope, found)
        for start in range(0, len(left), _BATCH):
            some = left[start : start + _BATCH]
            found[some] = self._search_blocks(queries[some], owns[some], scope, found.shape[1])
        return self._exactly(queries, found, top_k)

    def _search_all(
        self, queries: NDArray[np.float32], owns: NDArray[np.int64], scope: Scope, found: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Search all rows with FAISS and drop own ones; return the queries that this leaves with too few.

        Asking for twice as many is cheaper than a filter, unless the own database crowds the others out: when it
        does for many of a sample of the queries, none is tried.
        """
        wanted = found.shape[1]
        asked = min(wanted if scope == "any" else 2 * wanted, len(self))
        if scope == "other" and len(queries) > _PROBE:
            step = len(queries) // _PROBE
            if self._is_crowded(queries[::step][:_PROBE], owns[::step][:_PROBE], asked, wanted):
                return np.arange(len(queries))
        rows = self._nearest(queries, asked)
        if scope == "other":
            rows[(rows >= owns[:, :1]) & (rows < owns[:, 1:])] = -1
        kept = np.take_along_axis(rows, np.argsort(rows < 0, axis=1, kind="stable")[:, :wanted], axis=1)
        found[:, : kept.shape[1]] = kept
        if scope == "any":
            return np.zeros(0, dtype=np.int64)
        enough = np.minimum(wanted, len(self) - (owns[:, 1] - owns[:, 0]))
        return np.nonzero((kept >= 0).sum(axis=1) < enough)[0]

    def _is_crowded(
        self, queries: NDArray[np.float32], owns: NDArray[np.int64], asked: int, wanted: int
    ) -> bool:
        products = queries @ self.vectors.T
        nearest = np.argpartition(-products, asked - 1, axis=1)[:, :asked]
        own = ((nearest >= owns[:, :1]) & (nearest < owns[:, 1:])).sum(axis=1)
        return bool((own > asked - wanted).mean() > 0.25)

    def _nearest(self, queries: NDArray[np.float32], asked: int) -> NDArray[np.int64]:
        if self.kind == "faiss-ivf":
            _, rows = self._ivf.search(queries, asked)
        else:
            metric = self._faiss.METRIC_INNER_PRODUCT
            _, rows = self._faiss.knn(queries, self.vectors, asked, metric=metric)
        return np.array(rows, dtype=np.int64)

    def _search_blocks(
        self, queries: NDArray[np.float32], owns: NDArray[np.int64], scope: Scope, wanted: int
    ) -> NDArray[np.int64]:
        """Search block by block with NumPy, where leaving rows out is free."""
        rows = np.full((len(queries), wanted), -1, dtype=np.int64)
        values = np.full((len(queries), wanted), -np.inf, dtype=np.float32)
        for first in range(0, len(self), _BLOCK):
            products = queries @ self.vectors[first : first + _BLOCK].T
            if scope == "other":
                for line, (start, end) in zip(products, owns, strict=True):
                    line[max(start - first, 0) : max(end - first, 0)] = -np.inf
            rows, values = _take_in(rows, values, products, first)
        return np.where(values > -np.inf, rows, -1)

    def _exactly(self, queries: NDArray[np.float32], found: NDArray[np.int64], top_k: int) -> Hits:
        """Return the best of the rows found, their similarities computed one by one."""
        hits: Hits = []
        for start in range(0, len(found), 64):
            rows = np.sort(found[start : start + 64], axis=1)
            products = self.vectors[rows].astype(np.float64) * queries[start : start + 64, None].astype(
                np.float64
            )
            values = np.where(rows < 0, -np.inf, np.clip(products.sum(axis=2), -1.0, 1.0))
            order = np.argsort(-values, axis=1, kind="stable")[:, :top_k]
            for line, kept in enumerate(order):
                kept = kept[rows[line, kept] >= 0]
                hits.append((rows[line, kept], values[line, kept]))
        return hits

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


def _take_in(
    rows: NDArray[np.int64], values: NDArray[np.float32], products: NDArray[np.float32], first: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Take in a block: once enough are kept, few of its products beat the worst, and only those are looked at."""
    wanted = rows.shape[1]
    worst = values.min(axis=1)
    if np.isneginf(worst).any():
        columns = np.broadcast_to(np.arange(first, first + products.shape[1]), products.shape)
        return _cut(np.hstack([rows, columns]), np.hstack([values, products]), wanted)
    lines, columns = np.nonzero(products > worst[:, None])
    counts = np.bincount(lines, minlength=len(rows))
    width = int(counts.max()) if len(lines) else 0
    offsets = np.arange(len(lines)) - np.repeat(np.cumsum(counts) - counts, counts)
    new_rows = np.full((len(rows), width), -1, dtype=np.int64)
    new_values = np.full((len(rows), width), -np.inf, dtype=np.float32)
    new_rows[lines, offsets] = first + columns
    new_values[lines, offsets] = products[lines, columns]
    return _cut(np.hstack([rows, new_rows]), np.hstack([values, new_values]), wanted)
