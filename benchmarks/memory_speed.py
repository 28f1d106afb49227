"""What a search of the trace memory costs, and what a trace takes; `python -m benchmarks.memory speed` prints it."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finer_rewards.memory import HashingEmbedder, TraceMemory
from finer_rewards.memory.calibration_texts import BACKGROUND
from finer_rewards.memory.index import Index
from finer_rewards.memory.thought_embedder import ThoughtEmbedder

Array = NDArray[Any]


def clustered(
    rows: int, dimension: int, databases: int, *, crowded: bool, seed: int
) -> tuple[NDArray[np.float32], list[str]]:
    """Return unit vectors in clusters, rounded to float16 as they are stored, and their databases.

    A cluster is a database when crowded, else it lies on all of them.
    """
    centres = np.random.default_rng(0).standard_normal((databases, dimension), dtype=np.float32)
    draw = np.random.default_rng(seed)
    own = np.arange(rows) * databases // rows
    vectors = np.empty((rows, dimension), dtype=np.float32)
    for start in range(0, rows, 65_536):  # A million of them must not be in memory twice.
        part = vectors[start : start + 65_536]
        draw.standard_normal(out=part, dtype=np.float32)
        which = own[start : start + 65_536] if crowded else draw.integers(databases, size=len(part))
        part += centres[which]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
        part[:] = part.astype(np.float16)
    return vectors, [f"db{number:04d}" for number in own]


def speed_table(sizes: Sequence[int], dimensions: Sequence[int], rounds: int) -> None:
    import faiss

    print(
        f"\n## Speed, threads: {faiss.omp_get_max_threads()}\n\n"
        "1,024 queries, top 20, 100 databases. Milliseconds of CPU (all threads) and, in brackets, of the clock a\n"
        f"batch, medians of {rounds} interleaved rounds (the scan and one at a time: of one); the ratio is the median\n"
        "of the rounds' ratios of CPU time. *spread*: a cluster lies on all databases; *crowded*: a database is one\n"
        "cluster, and its own rows crowd others out. Ours searches the other databases (filter on) or the same; FAISS\n"
        "flat has no filter; *filtered*: one search a database, with a selector that leaves its rows out, to 10,000\n"
        "traces. Recall@20 is against exact search.\n"
    )
    print(
        "| traces | d | data | index | build | ours: others | FAISS flat | ours / flat, CPU | recall@20 "
        "| ours: same | NumPy scan | one at a time, FAISS | FAISS flat, filtered |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for dimension in dimensions:
        for rows in sizes:
            for crowded in (False, True):
                print(_speed_row(rows, dimension, crowded, rounds), flush=True)


def _speed_row(rows: int, dimension: int, crowded: bool, rounds: int) -> str:
    import faiss

    vectors, dbs = clustered(rows, dimension, 100, crowded=crowded, seed=1)
    queries, asked = clustered(1024, dimension, 100, crowded=crowded, seed=2)
    index = Index(vectors, dbs)
    build = _cost(lambda: index.search(queries[:1], asked[:1], 20))
    some = max(4, min(64, 2_000_000 // rows))
    metric: Any = faiss.METRIC_INNER_PRODUCT
    actions: dict[str, Callable[[], Any]] = {
        "ours": lambda: index.search(queries, asked, 20),
        "flat": lambda: faiss.knn(queries, vectors, 20, metric=metric),
        "same": lambda: index.search(queries, asked, 20, "same"),
    }
    if rows <= 10_000:
        actions["filtered"] = _filtered(index, queries, asked)
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            costs[name].append(_cost(action))
    shown = {name: _shown(np.median(np.array(found), axis=0)) for name, found in costs.items()}
    ratio = np.median(
        [ours / flat for (ours, _), (flat, _) in zip(costs["ours"], costs["flat"], strict=True)]
    )
    scan = np.array(_cost(lambda: _plain_scan(vectors, queries[:128]))) * 8
    singly = np.array(
        _cost(lambda: [faiss.knn(queries[[row]], vectors, 20, metric=metric) for row in range(some)])
    )
    cells = [
        f"{rows:,}", str(dimension), "crowded" if crowded else "spread", index.kind, f"{build[0]:.0f}",
        shown["ours"], shown["flat"], f"{ratio:.2f}", f"{_recall(index, queries, asked):.3f}",
        shown["same"], _shown(scan), _shown(singly * 1024 / some), shown.get("filtered", "-"),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _shown(cost: Array) -> str:
    return f"{cost[0]:.0f} ({cost[1]:.0f})"


def _cost(action: Callable[[], Any]) -> tuple[float, float]:
    """Return the milliseconds of CPU, of all threads, and of the clock."""
    start, began = time.process_time(), time.perf_counter()
    action()
    return (time.process_time() - start) * 1000, (time.perf_counter() - began) * 1000


def _recall(index: Index, queries: Array, asked: Sequence[str]) -> float:
    """Return the share of the 20 nearest rows of other databases that is found, over 64 queries."""
    step = len(queries) // 64
    queries, asked = queries[::step], asked[::step]
    shared = 0
    for query, db, (rows, _) in zip(queries, asked, index.search(queries, asked, 20), strict=True):
        products = index.vectors @ query
        products[slice(*index.ranges[db])] = -np.inf
        shared += len(set(np.argpartition(-products, 20)[:20].tolist()) & set(rows.tolist()))
    return shared / (20 * len(queries))


def _plain_scan(vectors: Array, queries: Array) -> Array:
    products = queries @ vectors.T
    return np.argpartition(-products, 20, axis=1)[:, :20]


def _filtered(index: Index, queries: Array, dbs: Sequence[str]) -> Callable[[], Any]:
    """Return FAISS's own filter: a search a database, with a selector that leaves its rows out."""
    import faiss

    flat: Any = faiss.IndexFlatIP(queries.shape[1])
    flat.add(index.vectors)
    selector: Any = faiss.SearchParameters
    names = np.array(dbs)

    def search() -> None:
        for db in sorted(set(dbs)):
            others = faiss.IDSelectorNot(faiss.IDSelectorRange(*index.ranges[db]))
            flat.search(queries[names == db], 20, params=selector(sel=others))

    return search


def space_table(dimensions: Sequence[int], traces: int = 2_000) -> None:
    """Print what a trace takes, on the disk and in RAM, of real texts of 1,000 characters."""
    print(f"\n## Bytes of a trace\n\n{traces:,} traces with texts of 1,000 characters, in a real memory.\n")
    print("| d | disk | of it the vector | RAM: index | RAM: stored vector | compacted, disk |")
    print("|---|---|---|---|---|---|")
    draw = random.Random(0)
    for dimension in dimensions:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "traces.jsonl")
            lines = []
            for number in range(traces):
                words = " ".join(f"count{draw.randrange(10**6)}" for _ in range(85))[:1000]
                lines.append(json.dumps({"text": words, "db": f"db{number % 100}", "sql": "SELECT 1"}))
            source.write_text("\n".join(lines))
            with TraceMemory.open(Path(folder, "memory"), f"hashing:{dimension}", durable=False) as memory:
                memory.import_(source)
                disk = memory.stats()["bytes"] / traces
                memory.compact()
                after = memory.stats()["bytes"] / traces
        cells = [dimension, f"{disk:.0f}", 2 * dimension, 4 * dimension, 2 * dimension, f"{after:.0f}"]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def embedding_table(thoughts: int = 1_024, words: int = 300, rounds: int = 3) -> None:
    """Print what it costs to turn a batch of thoughts into vectors with the hashing embedder."""
    draw, known = random.Random(0), " ".join(BACKGROUND).split()
    # Other texts each round, as what was read once is remembered.
    batches = [[" ".join(draw.choices(known, k=words)) for _ in range(thoughts)] for _ in range(rounds)]
    embedder = HashingEmbedder()

    def least(embed: Callable[[list[str]], Any]) -> str:
        return f"{min(_cost(partial(embed, batch))[0] for batch in batches):.0f}"

    alone = least(embedder.embed)
    whole = least(lambda batch: ThoughtEmbedder(embedder).vectors(batch))
    alike = least(lambda batch: ThoughtEmbedder(embedder).vectors(batch[:1] * thoughts))
    print(
        f"\n## Embedding\n\n{thoughts:,} thoughts of {words} words, hashing, milliseconds of CPU: {alone} for their "
        f"words, {whole} masked and with their operations, {alike} where all think alike."
    )
