"""What the trace memory can tell apart, and what a search costs.

    python -m benchmarks.memory discrimination [--model FOLDER] [--data FOLDER]
    python -m benchmarks.memory real [--model FOLDER] [--data FOLDER]
    python -m benchmarks.memory speed [--rows 1000 10000 100000 1000000] [--dimensions 384 1024]

`discrimination` needs the folder of real data (questions, databases, candidate predictions). Tables are printed
as Markdown; those in `benchmarks/results/memory.md` were.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.memory_parts import take_apart
from benchmarks.memory_real import real_tables
from benchmarks.memory_speed import embedding_table, space_table, speed_table
from benchmarks.memory_traces import Made, database_columns, made_traces, write
from benchmarks.memory_writers import HELD_OUT, WRITERS
from finer_rewards.memory.calibration_texts import UNRELATED
from finer_rewards.memory.embedders import Embedder, HashingEmbedder
from finer_rewards.memory.index import Index
from finer_rewards.memory.thought_embedder import ThoughtEmbedder

Array = NDArray[Any]
ROOT = Path(__file__).parent.parent


def auc(better: Array, worse: Array) -> float:
    """Return the share of pairs in which the better one is ahead; ties count half."""
    return float((better[:, None] > worse[None]).mean() + 0.5 * (better[:, None] == worse[None]).mean())


def kind_aucs(vectors: Array, traces: Sequence[Made]) -> dict[str, float]:
    """Return, averaged over traces, how often the same kind on another database is the more similar.

    easy: than another kind on another database. hard: than another kind on the same database. hard, other hand:
    the same, and both were written by another writer than the trace.
    """
    products = vectors @ vectors.T
    kind, db, hand = (
        np.array([getattr(trace, name) for trace in traces]) for name in ("kind", "db", "writer")
    )
    found: dict[str, list[float]] = {"easy": [], "hard": [], "hard, other hand": []}
    for row in range(len(traces)):
        same, home = kind == kind[row], db == db[row]
        for name in found:
            allowed = hand != hand[row] if "other" in name else np.ones(len(traces), dtype=bool)
            better = products[row][same & ~home & allowed]
            worse = products[row][~same & (~home if name == "easy" else home) & allowed]
            if len(better) and len(worse):
                found[name].append(auc(better, worse))
    return {name: float(np.mean(values)) for name, values in found.items()}


def thought_embedders(embedders: Sequence[Embedder]) -> list[tuple[str, ThoughtEmbedder]]:
    """Return the ways to embed that are compared."""
    ways = (("raw, as published", False, False), ("centred", False, True), ("masked", True, False))
    named = [(name, masks, centres) for name, masks, centres in ways] + [
        ("masked, centred (default)", True, True)
    ]
    return [
        (
            f"{embedder.fingerprint.partition('|')[0]}: {name}",
            ThoughtEmbedder(embedder, masks=masks, centres=centres),
        )
        for embedder in embedders
        for name, masks, centres in named
    ]


def embedded(thought_embedder: ThoughtEmbedder, texts: Sequence[str]) -> Array:
    return np.stack([vector for vector in thought_embedder.vectors(texts) if vector is not None])


def kinds_table(data: Path, embedders: Sequence[Embedder]) -> None:
    traces = made_traces(data, seed=0, writers=WRITERS)
    unseen = made_traces(data, seed=1, writers=HELD_OUT)
    spread = Counter(kind for kind, _ in {(trace.kind, trace.db) for trace in traces})
    eight = sorted(spread, key=lambda kind: (-spread[kind], kind))[:8]
    sets = (
        ("eight kinds", [trace for trace in traces if trace.kind in eight]),
        ("eight kinds, held-out writers", [trace for trace in unseen if trace.kind in eight]),
    )
    print(f"\n## Same kind of query or another\n\nKinds: {', '.join(eight)}.")
    for title, chosen in sets:
        dbs = len({trace.db for trace in chosen})
        hands = len({trace.writer for trace in chosen})
        print(f"\n{title}: {len(chosen)} traces, {dbs} databases, {hands} writers\n")
        print("| embedding | easy | hard | hard, other hand |\n|---|---|---|---|")
        for name, thought_embedder in thought_embedders(embedders):
            found = kind_aucs(embedded(thought_embedder, [trace.text for trace in chosen]), chosen)
            print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in found.values()) + " |", flush=True)


def candidates(data: Path, right: int, wrong: int) -> list[tuple[str, str, bool, int]]:
    """Return (trace, database, right?, question) of real predictions; the trace is made from the predicted SQL."""
    draw = random.Random(0)
    rows: list[tuple[int, str, str, Any, bool]] = []
    with gzip.open(data / "candidates/spider_dev_dev.jsonl.gz", "rt") as lines:
        for line in lines:
            record = json.loads(line)
            seen: dict[str, Any] = {}
            for candidate in record["candidates"].values():
                if candidate["set_ex"] in (0, 1):
                    seen.setdefault(candidate["sql"].casefold().strip(" ;"), candidate)
            for candidate in seen.values():
                parts = take_apart(candidate["sql"])
                if parts is not None and parts.tables:
                    rows.append(
                        (record["idx"], record["db_id"], record["question"], parts, candidate["set_ex"] == 1)
                    )
    draw.shuffle(rows)
    good, bad = ([row for row in rows if row[4] is flag] for flag in (True, False))
    made = []
    for number, db, question, parts, flag in good[:right] + bad[:wrong]:
        writer = draw.randrange(len(WRITERS))
        text = write(
            parts, question, WRITERS[writer], writer, database_columns(data, db), draw.randrange(10**6)
        )
        made.append((text, db, flag, number))
    return made


def verdicts_table(data: Path, embedders: Sequence[Embedder], right: int = 600, wrong: int = 400) -> None:
    rows = candidates(data, right, wrong)
    dbs = [db for _, db, _, _ in rows]
    flags = np.array([flag for _, _, flag, _ in rows])
    print(
        f"\n## Right completions or wrong ones\n\n{right} right and {wrong} wrong predictions of real systems on "
        f"{len(set(dbs))} databases; the memory holds those of the other databases. Area under the curve of the "
        "reward, and its mean for unrelated text.\n"
    )
    print(
        "| embedding | variant | AUC raw | AUC calibrated | mean, right | unrelated, raw | unrelated, calibrated |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, thought_embedder in thought_embedders(embedders):
        vectors = embedded(thought_embedder, [text for text, _, _, _ in rows])
        strays = embedded(thought_embedder, UNRELATED[::2])
        others = embedded(thought_embedder, UNRELATED[1::2])
        indexes = {
            flag: _sorted_index(
                vectors[flags == flag], [db for db, own in zip(dbs, flags, strict=True) if own == flag]
            )
            for flag in (True, False)
        }
        for variant in ("centroid", "max", "contrastive"):
            raw = _similarities(indexes, vectors, dbs, variant)
            zero = 0.0
            if variant != "contrastive":
                # Half of the unrelated texts set the zero, the other half is measured.
                zero = max(0.0, float(_similarities(indexes, strays, [""] * len(strays), variant).max()))
            off = _similarities(indexes, others, [""] * len(others), variant)
            value, stray = (np.clip((given - zero) / (1 - zero), 0, 1) for given in (raw, off))
            aucs = (auc(raw[flags], raw[~flags]), auc(value[flags], value[~flags]))
            figures = (*aucs, value[flags].mean(), off.mean(), stray.mean())
            print(
                f"| {name} | {variant} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |",
                flush=True,
            )


def _sorted_index(vectors: Array, dbs: Sequence[str]) -> Index:
    order = sorted(range(len(dbs)), key=lambda row: dbs[row])
    return Index(vectors[order], [dbs[row] for row in order])


def _similarities(indexes: dict[bool, Index], queries: Array, dbs: Sequence[str], variant: str) -> Array:
    near = indexes[True].search(queries, dbs, 20, "other")
    if variant == "max":
        return np.array([values[0] for _, values in near])
    if variant == "contrastive":
        far = indexes[False].search(queries, dbs, 1, "other")
        return np.array([good[1][0] - bad[1][0] for good, bad in zip(near, far, strict=True)])
    middles = [indexes[True].vectors[rows].mean(axis=0) for rows, _ in near]
    return np.array(
        [query @ middle / np.linalg.norm(middle) for query, middle in zip(queries, middles, strict=True)]
    )


def machine() -> str:
    faiss: Any = sys.modules.get("faiss")
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, FAISS {getattr(faiss, '__version__', '-')}"
    return f"{versions}, {platform.machine()}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["discrimination", "real", "speed"])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--model", help="folder or id of a sentence-transformers model to compare as well")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--dimensions", type=int, nargs="+", default=[384, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.what == "speed":
        speed_table(options.rows, options.dimensions, options.rounds)
        space_table(options.dimensions)
        embedding_table()
    else:
        embedders: list[Embedder] = [HashingEmbedder()]
        if options.model:
            from finer_rewards.memory.sentence_embedder import SentenceEmbedder

            embedders.append(SentenceEmbedder(options.model))
        if options.what == "real":
            real_tables(options.data, embedders)
        else:
            kinds_table(options.data, embedders)
            verdicts_table(options.data, embedders)
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
