"""Exact search by inner product over vectors kept in order of database.

Rows of one database lie side by side, so that leaving a database out, or searching it alone, is a slice.

What a query is looking for is known before the search: among every 32nd row that it may find, the `top_k`-th
best sets a floor, and only rows above it are collected. Blocks of rows that hold none of the query's own database
are searched by FAISS (range search: a matrix product, one comparison a number, no heap); in the block that
does, own rows are struck out with NumPy, which also does everything where FAISS is not installed. How many own
rows would have crowded others out is therefore no matter. Past `exact_up_to` rows FAISS builds an IVF index
instead, which is approximate (`benchmarks/memory.py` tells how).

The similarities handed back are computed once more, in float64. Stored numbers are float16, so that no sum is
rounded, in whatever order it is added: a score cannot depend on what else was in its batch.
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

    Floats = NDArray[np.float32]
    Rows = NDArray[np.int64]

__all__ = ["Hits", "Index", "Scope", "unit"]

Scope = Literal["other", "same", "any"]
Backend = Literal["auto", "faiss", "numpy"]
#: One (rows, similarities) pair a query, most similar first.
Hits = list[tuple["NDArray[np.int64]", "NDArray[np.float64]"]]

_SPARE: Final = 8  # Candidates beyond `top_k`, so that rounding cannot change who is in.
_SMALL: Final = 4_096  # Up to so many rows nothing is worth preparing.
_PARTS: Final = 8  # Blocks that the rows are searched in, about; a query's own rows lie in one.
_ROWS: Final = 8_192  # Rows that NumPy searches at once, at most,
_BATCH: Final = 1_024  # and queries.
_SAMPLE: Final = 2_048  # At least so many rows set the floors,
_STEP: Final = 16  # and at least one in so many.
_ROUNDING: Final = 1e-5  # More than float32 products of unit vectors can differ by.
_TIES: Final = 8  # So many times `top_k` rows of the sample at the floor, and they are taken for ties.


def unit(vectors: NDArray[Any]) -> Floats:
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
        vectors: Floats,
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

    def search(self, queries: Floats, dbs: Sequence[str], top_k: int, scope: Scope = "other") -> Hits:
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
        if scope == "any":
            owns = np.zeros_like(owns)
        hits: Hits = []
        for start in range(0, len(dbs), _BATCH):
            some, own = queries[start : start + _BATCH], owns[start : start + _BATCH]
            search = self._own_rows if scope == "same" else self._other_rows
            hits += self._exactly(some, search(some, own, top_k + _SPARE), top_k)
        return hits

    def _own_rows(self, queries: Floats, owns: Rows, wanted: int) -> Rows:
        found = np.full((len(queries), wanted), -1, dtype=np.int64)
        for start, end in np.unique(owns, axis=0):
            if end > start:
                lines = np.nonzero(owns[:, 0] == start)[0]
                lines = lines[owns[lines, 1] == end]
                rows, _ = _best(queries[lines] @ self.vectors[start:end].T, wanted)
                found[lines, : rows.shape[1]] = start + rows
        return found

    def _other_rows(self, queries: Floats, owns: Rows, wanted: int) -> Rows:
        if self.kind != "faiss-ivf":
            return self._exact_rows(queries, owns, wanted)
        found = self._listed_rows(queries, owns, wanted)
        enough = np.minimum(wanted, len(self) - (owns[:, 1] - owns[:, 0]))
        few = np.nonzero((found >= 0).sum(axis=1) < enough)[0]
        if len(few):
            found[few] = self._exact_rows(queries[few], owns[few], wanted)
        return found

    def _exact_rows(self, queries: Floats, owns: Rows, wanted: int) -> Rows:
        floors, plain = self._floors(queries, owns, wanted)
        lines: list[Rows] = []
        rows: list[Rows] = []
        values: list[Floats] = []
        for first, last in self._blocks:
            inside = (owns[:, 0] < last) & (owns[:, 1] > first)
            slow = inside | ~plain | (self.kind == "numpy")
            all_own = (owns[:, 0] <= first) & (owns[:, 1] >= last)
            for some, above in (
                (np.nonzero(slow & ~all_own)[0], self._struck_out),
                (np.nonzero(~slow)[0], self._ranged),
            ):
                if len(some):
                    line, row, value = above(queries[some], owns[some], floors[some], first, last, wanted)
                    lines.append(some[line])
                    rows.append(row)
                    values.append(value)
        if not lines:
            return np.full((len(queries), wanted), -1, dtype=np.int64)
        return _chosen(
            len(queries), np.concatenate(lines), np.concatenate(rows), np.concatenate(values), wanted
        )

    def _floors(self, queries: Floats, owns: Rows, wanted: int) -> tuple[Floats, NDArray[np.bool_]]:
        """Return what each query's rows must exceed, and whether few rows are likely to lie about there.

        As many rows as are wanted reach the floor in the sample alone, so none below can be among the best.
        """
        sample = np.arange(0, len(self), max(1, min(_STEP, len(self) // _SAMPLE)))
        if len(self) <= _SMALL or len(sample) < wanted:
            return np.full(len(queries), -np.inf, dtype=np.float32), np.zeros(len(queries), dtype=bool)
        products = queries @ self.vectors[sample].T
        _strike_out(products, np.searchsorted(sample, owns))
        floors = np.partition(products, -wanted, axis=1)[:, -wanted] - np.float32(_ROUNDING)
        ties = (products > (floors - np.float32(_ROUNDING))[:, None]).sum(axis=1) > _TIES * wanted
        return floors, (floors > 0.01) & ~ties

    def _struck_out(
        self, queries: Floats, owns: Rows, floors: Floats, first: int, last: int, wanted: int
    ) -> tuple[Rows, Rows, Floats]:
        """Return what is above the floors in a block, own rows left out, with NumPy; of many the best."""
        pieces: list[tuple[Rows, Rows, Floats]] = []
        for start in range(first, last, _ROWS):
            end = min(start + _ROWS, last)
            products = queries @ self.vectors[start:end].T
            _strike_out(products, np.clip(owns, start, end) - start)
            above = products > floors[:, None]
            if above.sum() > _TIES * wanted * len(queries):
                kept, values = _best(products, wanted)
                line, place = np.nonzero(values > floors[:, None])
                pieces.append((line, start + kept[line, place], values[line, place]))
            else:
                line, row = np.divmod(np.flatnonzero(above), end - start)
                pieces.append((line, start + row, products[line, row]))
        line, row, value = (np.concatenate(column) for column in zip(*pieces, strict=True))
        return line, row, value

    def _ranged(
        self, queries: Floats, owns: Rows, floors: Floats, first: int, last: int, wanted: int
    ) -> tuple[Rows, Rows, Floats]:
        """Return what is above the floors in a block, with FAISS, which has one radius for all queries."""
        faiss = self._faiss
        scaled = np.ascontiguousarray(queries / floors[:, None])
        found = faiss.RangeSearchResult(len(queries))
        faiss.range_search_inner_product(
            faiss.swig_ptr(scaled),
            faiss.swig_ptr(self.vectors[first:last]),
            self.vectors.shape[1],
            len(queries),
            last - first,
            1.0,
            found,
        )
        counts = np.diff(faiss.rev_swig_ptr(found.lims, len(queries) + 1).astype(np.int64))
        total = int(counts.sum())
        line = np.repeat(np.arange(len(queries)), counts)
        rows = faiss.rev_swig_ptr(found.labels, total).astype(np.int64) if total else np.zeros(0, np.int64)
        values = (
            faiss.rev_swig_ptr(found.distances, total) * floors[line] if total else np.zeros(0, np.float32)
        )
        return line, first + rows, values

    @cached_property
    def _blocks(self) -> list[tuple[int, int]]:
        """The rows in blocks of whole databases; a large one is a block of its own."""
        size = len(self) if len(self) <= _SMALL else max(1, len(self) // _PARTS)
        blocks, first = [], 0
        for start, last in sorted(self.ranges.values()):
            if last - start >= size and start > first:
                blocks.append((first, start))
                first = start
            if last - first >= size or last == len(self):
                blocks.append((first, last))
                first = last
        return blocks

    def _exactly(self, queries: Floats, found: Rows, top_k: int) -> Hits:
        """Return the best of the rows found, their similarities computed without rounding."""
        hits: Hits = []
        for start in range(0, len(found), 64):
            rows = np.sort(found[start : start + 64], axis=1)
            wide = queries[start : start + 64, :, None].astype(np.float64)
            products = np.matmul(self.vectors[rows].astype(np.float64), wide)[:, :, 0]
            values = np.where(rows < 0, -np.inf, np.clip(products, -1.0, 1.0))
            order = np.argsort(-values, axis=1, kind="stable")[:, :top_k]
            rows, values = np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)
            for row, value in zip(rows, values, strict=True):
                hits.append((row, value) if row[-1] >= 0 else (row[row >= 0], value[row >= 0]))
        return hits

    def _listed_rows(self, queries: Floats, owns: Rows, wanted: int) -> Rows:
        """Search the inverted lists, the queries of one database at a time, its own rows left out by FAISS."""
        faiss = self._faiss
        found = np.full((len(queries), wanted), -1, dtype=np.int64)
        for start, end in np.unique(owns, axis=0):
            lines = np.nonzero((owns[:, 0] == start) & (owns[:, 1] == end))[0]
            own = faiss.IDSelectorRange(int(start), int(end))
            others = faiss.IDSelectorNot(own)
            chosen = {"sel": others} if end > start else {}
            params = faiss.SearchParametersIVF(nprobe=self._ivf.nprobe, **chosen)
            _, rows = self._ivf.search(queries[lines], wanted, params=params)
            found[lines] = rows
        return found

    @cached_property
    def _ivf(self) -> Any:
        """An inverted-file index: about 2 sqrt(n) lists, of which a sixteenth is searched.

        It holds float16 numbers, as they are stored, which loses nothing.
        """
        faiss = self._faiss
        lists = max(1, int(2 * math.sqrt(len(self))))
        dimension = self.vectors.shape[1]
        quantizer = faiss.IndexFlatIP(dimension)
        index = faiss.IndexIVFScalarQuantizer(
            quantizer,
            dimension,
            lists,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
            False,
        )
        index.cp.max_points_per_centroid = 64
        index.cp.min_points_per_centroid = 1
        step = max(1, len(self) // (64 * lists))
        index.train(np.ascontiguousarray(self.vectors[::step]))
        for start in range(0, len(self), 65_536):
            index.add(self.vectors[start : start + 65_536])
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


def _strike_out(products: Floats, owns: Rows) -> None:
    for line in np.nonzero(owns[:, 1] > owns[:, 0])[0]:
        products[line, owns[line, 0] : owns[line, 1]] = -np.inf


def _best(products: Floats, wanted: int) -> tuple[Rows, Floats]:
    """Return the columns of the largest numbers of each line, in no order, and the numbers."""
    if products.shape[1] > wanted:
        columns = np.argpartition(products, -wanted, axis=1)[:, -wanted:]
    else:
        columns = np.broadcast_to(np.arange(products.shape[1]), products.shape)
    return columns, np.take_along_axis(products, columns, axis=1)


def _chosen(count: int, lines: Rows, rows: Rows, values: Floats, wanted: int) -> Rows:
    """Return the `wanted` best rows of each line of what was collected, -1 where there are fewer."""
    order = np.argsort(lines.astype(np.uint16), kind="stable")  # a radix sort
    lines, rows, values = lines[order], rows[order], values[order]
    counts = np.bincount(lines, minlength=count)
    places = np.arange(len(lines)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = max(wanted, int(counts.max(initial=0)))
    table = np.full((count, width), -np.inf, dtype=np.float32)
    table[lines, places] = values
    kept, best = _best(table, wanted)
    table_rows = np.full((count, width), -1, dtype=np.int64)
    table_rows[lines, places] = rows
    return np.where(best > -np.inf, np.take_along_axis(table_rows, kept, axis=1), -1)
