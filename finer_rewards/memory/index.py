"""Finding the stored vectors with the largest inner product to a query, for one memory and one outcome.

Rows are sorted by database, so that a database's rows are a slice, which can be left out or searched alone.

There are three ways to find the candidates:

- up to `FLAT_UP_TO` rows, a flat FAISS search, if FAISS is installed;
- beyond `exact_up_to` rows, an inverted file of FAISS (IVF), which is approximate;
- otherwise NumPy, in blocks. A sample of rows is scored first; its `top_k`-th best value is a lower bound, the floor.
  Then all rows are scored block by block, and only those above the floor, which rises as better ones are found, are
  kept. `benchmarks/memory.py` compares the costs.

The similarities returned are then computed again in float64, for the candidates only. All numbers are float16 values,
so these sums are exact in any order, and a score cannot depend on what else was in its batch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from finer_rewards._util.extras import optional, package_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Rows = NDArray[np.int64]

Scope = Literal["other", "same", "any"]
Backend = Literal["auto", "faiss", "numpy"]
#: One (rows, similarities) pair a query, most similar first.
Hits = list[tuple["NDArray[np.int64]", "NDArray[np.float64]"]]

#: Most rows for flat FAISS. Beyond them it takes as long as NumPy (one thread) or twice as long (two threads).
FLAT_UP_TO: Final = 20_000
# If the query's own database has at most this many rows, FAISS searches all rows for that many more, and the own rows
# are dropped from the answer.
_OWN_AT_MOST: Final = 512
# Candidates beyond `top_k`, so that rounding in float32 cannot change which rows are among the best.
_SPARE: Final = 4
# Rows that are multiplied at once with a full batch of queries. So few rows are scored without taking a sample first.
_BLOCK: Final = 2_048
# About how many rows the sample has that sets the first floors.
_SAMPLE: Final = 1_024
# The most queries that are searched at once.
_BATCH: Final = 1_024
# More than the float32 inner products of the same two unit vectors can differ by.
_ROUNDING: Final = 1e-5
# Collect this many times `top_k` rows for each query before choosing the best and raising the floors.
_FRESH: Final = 2


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
    """A frozen set of unit vectors, each of which belongs to a database.

    Args:
        vectors: float32 [n, d], the rows of each database side by side.
        dbs: the database of each row.
        exact_up_to: with more rows than this FAISS searches approximately; `None` for never.
        backend: `"faiss"`, `"numpy"` (always exact), or `"auto"`: FAISS if it is installed.

    Example:
        >>> index = Index(unit(np.eye(3)), ["concert", "concert", "pets"])
        >>> [(rows, similarities)] = index.search(unit(np.array([[3.0, 0.0, 4.0]])), ["concert"], top_k=2)
        >>> rows.tolist(), similarities.round(2).tolist()
        ([2], [0.8])
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
        """How it searches: `exact`, or `faiss-ivf`, which is approximate."""
        small = self.exact_up_to is None or len(self) <= self.exact_up_to
        return "exact" if small or not self._has_faiss else "faiss-ivf"

    @property
    def _has_faiss(self) -> bool:
        """Whether FAISS can be used; not after a fork, because its threads exist only in the parent."""
        return self._faiss is not None and os.getpid() == _loaded_in["faiss"]

    def search(self, queries: Floats, dbs: Sequence[str], top_k: int, scope: Scope = "other") -> Hits:
        """Find the `top_k` most similar rows for each query.

        Args:
            queries: float32 [m, d], of unit length.
            dbs: the database of each query.
            top_k: most rows for a query.
            scope: search rows of `other` databases, of the `same` database, or of `any`.

        Returns:
            Rows and similarities for each query, most similar first; fewer than `top_k` when there are fewer. The
            similarities do not depend on the rest of the batch. Which rows are among the last may, if they tie.
        """
        if not len(self):
            return [(np.zeros(0, dtype=np.int64), np.zeros(0))] * len(dbs)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        owns = np.array([self.ranges.get(db, (0, 0)) for db in dbs], dtype=np.int64).reshape(-1, 2)
        if scope == "any":
            owns = np.zeros_like(owns)
        hits: Hits = []
        top_k = min(top_k, len(self))
        for start in range(0, len(dbs), _BATCH):
            some, own = queries[start : start + _BATCH], owns[start : start + _BATCH]
            search = self._own_rows if scope == "same" else self._other_rows
            hits += self._exactly(some, search(some, own, top_k + _SPARE), top_k)
        return hits

    def _own_rows(self, queries: Floats, owns: Rows, wanted: int) -> Rows:
        """Return the best rows of each query's own database, -1 for those that are lacking."""
        found = np.full((len(queries), wanted), -1, dtype=np.int64)
        for start, end in np.unique(owns, axis=0):
            if end > start:
                lines = np.nonzero(owns[:, 0] == start)[0]
                lines = lines[owns[lines, 1] == end]
                rows, _ = _best(queries[lines] @ self.vectors[start:end].T, wanted)
                found[lines, : rows.shape[1]] = start + rows
        return found

    def _other_rows(self, queries: Floats, owns: Rows, wanted: int) -> Rows:
        """Return the best rows outside each query's own database (a range of rows), -1 for those that are lacking."""
        if self.kind != "faiss-ivf":
            flat = self._has_faiss and len(self) <= FLAT_UP_TO
            return (self._flat_rows if flat else self._exact_rows)(queries, owns, wanted)
        found = self._listed_rows(queries, owns, wanted)
        enough = np.minimum(wanted, len(self) - (owns[:, 1] - owns[:, 0]))
        few = np.nonzero((found >= 0).sum(axis=1) < enough)[0]
        if len(few):
            found[few] = self._exact_rows(queries[few], owns[few], wanted)
        return found

    def _flat_rows(self, queries: Floats, owns: Rows, wanted: int) -> Rows:
        """Search with FAISS, and leave the rows of the query's own database out.

        FAISS searches all rows for as many more as the database has; its own rows are then dropped. (FAISS's selectors
        cost more, since with one it computes no matrix product.) For a database with many rows, the rows before it and
        those after it are searched instead.
        """
        found = np.full((len(queries), wanted), -1, dtype=np.int64)
        sizes = owns[:, 1] - owns[:, 0]
        lines = np.flatnonzero(sizes <= _OWN_AT_MOST)
        if len(lines):
            most = wanted + int(sizes[lines].max())
            values, rows = self._nearest(queries[lines], 0, len(self), most)
            values[(rows >= owns[lines, :1]) & (rows < owns[lines, 1:])] = -np.inf
            found[lines] = _chosen(values, rows, wanted)
        for start, end in np.unique(owns[sizes > _OWN_AT_MOST], axis=0).tolist():
            lines = np.flatnonzero((owns[:, 0] == start) & (owns[:, 1] == end))
            parts = [
                self._nearest(queries[lines], first, last, wanted)
                for first, last in ((0, start), (end, len(self)))
            ]
            values, rows = (np.hstack(column) for column in zip(*parts, strict=True))
            found[lines] = _chosen(values, rows, wanted)
        return found

    def _nearest(self, queries: Floats, first: int, last: int, count: int) -> tuple[Floats, Rows]:
        """Return the similarities and numbers of the nearest rows from `first` to `last` (exclusive)."""
        count = max(1, min(count, last - first))
        if first == last:
            return np.full((len(queries), 1), -np.inf, dtype=np.float32), np.full((len(queries), 1), -1)
        values, rows = self._faiss.knn(
            queries, self.vectors[first:last], count, metric=self._faiss.METRIC_INNER_PRODUCT
        )
        return values, rows + first

    def _exact_rows(self, queries: Floats, owns: Rows, wanted: int) -> Rows:
        """Search with NumPy: sort the queries by database, so that their own rows are struck out block by block."""
        order = np.argsort(owns[:, 0], kind="stable")
        queries, owns = np.ascontiguousarray(queries[order]), owns[order]
        found = np.empty((len(queries), wanted), dtype=np.int64)
        found[order] = self._side_by_side(queries, _Owners(owns), wanted)
        return found

    def _side_by_side(self, queries: Floats, owners: _Owners, wanted: int) -> Rows:
        best = _Best(len(queries), wanted)
        size = _BLOCK * max(1, _BATCH // len(queries))
        if len(self) <= size:
            products = self.vectors @ queries.T
            owners.strike_out(products, 0)
            best.take_all(np.ascontiguousarray(products.T))
            return best.rows
        step = -(-len(self) // _SAMPLE)
        products = self.vectors[::step] @ queries.T
        owners.strike_out(products, 0, step)
        best.expect(np.ascontiguousarray(products.T))
        products = np.empty((size, len(queries)), dtype=np.float32)
        # Nearly no product is above the floor, so eight booleans at a time are read as one integer and skipped if 0.
        above = np.zeros((size, -(-len(queries) // 8) * 8), dtype=bool)
        eights = above.reshape(-1, 8)
        for first in range(0, len(self), size):
            block = self.vectors[first : first + size]
            np.matmul(block, queries.T, out=products[: len(block)])
            owners.strike_out(products[: len(block)], first)
            np.greater(products, best.floors, out=above[:, : len(queries)])
            above[len(block) :] = False
            some = np.flatnonzero(eights.view(np.uint64) != 0)
            which, place = np.divmod(np.flatnonzero(eights[some]), 8)
            rows, lines = np.divmod(some[which] * 8 + place, above.shape[1])
            best.take(lines, rows + first, products[rows, lines])
        best.settle()
        return best.rows

    def _exactly(self, queries: Floats, found: Rows, top_k: int) -> Hits:
        """Return the best `top_k` of the candidate rows, with similarities computed in float64."""
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
        """Search the inverted lists, the queries of one database at a time; a selector of FAISS leaves its rows out."""
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
        """The inverted-file index: about 2 sqrt(n) lists, of which a sixteenth is searched.

        It holds float16 numbers, which loses nothing, because the vectors are stored as such.
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
    """Return the module faiss, `None` if it is not installed; raise if something needs it."""
    if needed_by:
        package_folder("memory", needed_by, "faiss")
    module = optional("faiss")
    if module is not None:
        _loaded_in.setdefault("faiss", os.getpid())
    return module


def _ranges(dbs: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return the range of rows of each database."""
    ranges: dict[str, tuple[int, int]] = {}
    for row, db in enumerate(dbs):
        start, end = ranges.get(db, (row, row))
        if end != row:
            raise ValueError(f"rows of database {db!r} do not lie side by side")
        ranges[db] = (start, row + 1)
    return ranges


class _Owners:
    """Which rows belong to each query's own database, for queries sorted by database.

    Args:
        owns: for each query the range of rows (first, end) of its own database.
    """

    def __init__(self, owns: Rows) -> None:
        firsts = np.flatnonzero(np.any(np.diff(owns, axis=0, prepend=-1), axis=1)).tolist()
        self._groups = [
            (left, right, *owns[left].tolist())
            for left, right in pairwise([*firsts, len(owns)])
            if owns[left, 1] > owns[left, 0]
        ]

    def strike_out(self, products: Floats, first: int, step: int = 1) -> None:
        """Set the products of queries with rows of their own database to minus infinity.

        Args:
            products: [rows, queries], changed in place.
            first: the row that stands first in it.
            step: it holds every `step`-th row from there.
        """
        for left, right, start, end in self._groups:
            top, bottom = -((first - start) // step), -((first - end) // step)
            if bottom > 0 and top < len(products):
                products[max(top, 0) : bottom, left:right] = -np.inf


class _Best:
    """The best rows of each query so far, and the floor that another row has to exceed.

    Args:
        count: how many queries there are.
        wanted: how many rows each of them wants.
    """

    def __init__(self, count: int, wanted: int) -> None:
        self.rows = np.full((count, wanted), -1, dtype=np.int64)
        self.floors = np.full(count, -np.inf, dtype=np.float32)
        self._values = np.full((count, wanted), -np.inf, dtype=np.float32)
        self._fresh: list[tuple[Rows, Rows, Floats]] = []
        self._limit = _FRESH * count * wanted

    def expect(self, products: Floats) -> None:
        """Set the floors from the products with a sample of the rows.

        The floor is the `wanted`-th best of the sample, so at least that many rows reach it.
        """
        wanted = self.rows.shape[1]
        if products.shape[1] >= wanted:
            self.floors = np.partition(products, -wanted, axis=1)[:, -wanted] - np.float32(_ROUNDING)

    def take(self, lines: Rows, rows: Rows, values: Floats) -> None:
        """Collect rows above the floors: the query, the row and the similarity of each."""
        self._fresh.append((lines, rows, values))
        if sum(len(fresh) for fresh, _, _ in self._fresh) > self._limit:
            self.settle()

    def take_all(self, products: Floats) -> None:
        """Choose the best among all rows at once, when these fit in a single block."""
        columns, values = _best(products, self.rows.shape[1])
        self.rows[:, : columns.shape[1]] = np.where(values > -np.inf, columns, -1)

    def settle(self) -> None:
        """Choose the best of the rows kept and collected, and raise the floors."""
        if not self._fresh:
            return
        count, wanted = self.rows.shape
        held = (np.repeat(np.arange(count), wanted), self.rows.ravel(), self._values.ravel())
        lines, rows, values = (np.concatenate(column) for column in zip(held, *self._fresh, strict=True))
        self._fresh = []
        order = np.argsort(-values)
        # NumPy sorts uint16 with a radix sort, which takes linear time.
        order = order[np.argsort(lines[order].astype(np.uint16), kind="stable")]
        counts = np.bincount(lines, minlength=count)
        chosen = order[(np.cumsum(counts) - counts)[:, None] + np.arange(wanted)]
        self.rows, self._values = rows[chosen], values[chosen]
        self.floors = np.maximum(self.floors, self._values[:, -1])


def _chosen(values: Floats, rows: Rows, wanted: int) -> Rows:
    """Return the rows with the largest values of each line, filled up with -1."""
    columns, kept = _best(values, wanted)
    chosen = np.where(kept > -np.inf, np.take_along_axis(rows, columns, axis=1), -1)
    return np.pad(chosen, ((0, 0), (0, wanted - chosen.shape[1])), constant_values=-1)


def _best(products: Floats, wanted: int) -> tuple[Rows, Floats]:
    """Return the columns of the `wanted` largest numbers of each line, in no order, and these numbers."""
    if products.shape[1] > wanted:
        columns = np.argpartition(products, -wanted, axis=1)[:, -wanted:]
    else:
        columns = np.broadcast_to(np.arange(products.shape[1]), products.shape)
    return columns, np.take_along_axis(products, columns, axis=1)
