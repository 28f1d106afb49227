"""What FAISS and the memory's own index do with 5,000 vectors; run by `benchmarks.research.retrieval`."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from finer_rewards.memory.index import Index, unit

# Its stubs know no selectors.
faiss: Any = import_module("faiss")

ROWS, DIMENSION, DATABASES, LISTS = 5_000, 64, 50, 141
OWN = ROWS // DATABASES
KINDS = ("flat", "IVF", "HNSW")


class Data(NamedTuple):
    """Rows that lie by kind and by database, as reasoning does, and queries likewise."""

    rows: Any
    db: Any
    queries: Any
    asking: Any


def made() -> Data:
    random = np.random.default_rng(0)
    kind, home = random.normal(size=(40, DIMENSION)), random.normal(size=(DATABASES, DIMENSION))

    def draw(db: Any) -> Any:
        noise = random.normal(size=(len(db), DIMENSION))
        return unit(kind[random.integers(40, size=len(db))] + 0.7 * home[db] + 0.7 * noise)

    db, asking = np.repeat(np.arange(DATABASES), OWN), random.integers(DATABASES, size=200)
    return Data(draw(db), db, draw(asking), asking)


DATA = made()
FOREIGN = DATA.db[None] != DATA.asking[:, None]


def nearest(rows: Any, allowed: Any = True, queries: Any = DATA.queries) -> Any:
    """Return the 20 best rows by definition."""
    products = np.where(allowed, queries.astype(float) @ rows.astype(float).T, -np.inf)
    return np.argsort(-products, axis=1, kind="stable")[:, :20]


def recall(found: Any, wanted: Any) -> str:
    shares = [len({*row} & {*best}) / len(best) for row, best in zip(found, wanted, strict=True)]
    return f"{np.mean(shares):.2f}"


def index(kind: str, rows: Any, learnt: Any = None) -> Any:
    if kind == "flat":
        built = faiss.IndexFlatIP(DIMENSION)
    elif kind == "IVF":
        built = faiss.index_factory(DIMENSION, f"IVF{LISTS},Flat", faiss.METRIC_INNER_PRODUCT)
        built.cp.min_points_per_centroid = 1
        built.train(rows if learnt is None else learnt)
        built.nprobe = 16
    else:
        built = faiss.IndexHNSWFlat(DIMENSION, 32, faiss.METRIC_INNER_PRODUCT)
    built.add(rows)
    return built


def chosen(kind: str, selector: Any, **effort: int) -> Any:
    if kind == "flat":
        return faiss.SearchParameters(sel=selector)
    if kind == "IVF":
        return faiss.SearchParametersIVF(sel=selector, **effort)
    return faiss.SearchParametersHNSW(sel=selector, **effort)


def one_by_one(kind: str, built: Any, own: bool) -> Any:
    """Search each query with a filter of its own, as much being looked at as without one."""
    found = []
    effort = {"IVF": {"nprobe": 16}, "HNSW": {"efSearch": 16}}.get(kind, {})
    for query, db in zip(DATA.queries, DATA.asking.tolist(), strict=True):
        home = faiss.IDSelectorRange(db * OWN, (db + 1) * OWN)
        selector = home if own else faiss.IDSelectorNot(home)
        found.append(built.search(query[None], 20, params=chosen(kind, selector, **effort))[1][0])
    return np.array(found)


def left_out(kind: str, built: Any) -> str:
    return recall(one_by_one(kind, built, False), nearest(DATA.rows, FOREIGN))


def alone(kind: str, built: Any) -> str:
    return recall(one_by_one(kind, built, True), nearest(DATA.rows, ~FOREIGN))


def five(kind: str, built: Any) -> str:
    effort = {"IVF": {"nprobe": 16}, "HNSW": {"efSearch": 16}}.get(kind, {})
    some = faiss.IDSelectorBatch(np.arange(7, ROWS, 1000))
    found = built.search(DATA.queries, 20, params=chosen(kind, some, **effort))[1]
    return f"{(found >= 0).sum(axis=1).mean():.1f}"


def reset(kind: str, built: Any) -> str:
    if kind == "HNSW":
        built.hnsw.efSearch = 512
    found = built.search(DATA.queries, 20, params=chosen(kind, faiss.IDSelectorAll()))[1]
    if kind == "HNSW":
        built.hnsw.efSearch = 16
    return recall(found, nearest(DATA.rows))


def stretched(kind: str, built: Any) -> str:
    lengths = np.random.default_rng(1).uniform(0.5, 2, size=(ROWS, 1)).astype(np.float32)
    found = index(kind, DATA.rows * lengths).search(DATA.queries, 20)[1]
    return recall(found, nearest(DATA.rows))


def rounded(kind: str, built: Any) -> str:
    return recall(index(kind, bf16(DATA.rows)).search(DATA.queries, 20)[1], nearest(DATA.rows))


def bf16(rows: Any) -> Any:
    return ((rows.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)


def equal(kind: str, built: Any) -> str:
    rows = DATA.rows.copy()
    rows[100:110] = rows[100]
    found = index(kind, rows).search(rows[100:101], 3)[1][0]
    return ", ".join(str(row - 100) for row in found.tolist())


def holding_nan(kind: str, built: Any) -> str:
    rows = DATA.rows.copy()
    rows[5] = np.nan
    held = index(kind, rows, DATA.rows)
    rows[5] = -9 * DATA.queries.mean(axis=0)
    found = held.search(DATA.rows, 50)[1]
    share = recall(held.search(DATA.queries, 20)[1], nearest(rows, np.arange(ROWS) != 5))
    return f"{'found' if (found == 5).any() else 'never found'}, others {share}"


def asking_nan(kind: str, built: Any) -> str:
    if kind == "HNSW":
        return "-"
    query = DATA.queries[:1].copy()
    query[0, 0] = np.nan
    return ", ".join(map(str, built.search(query, 3)[1][0].tolist()))


def holding_inf(kind: str, built: Any) -> str:
    rows = DATA.rows.copy()
    rows[5, 0] = np.inf
    queries = DATA.queries[DATA.queries[:, 0] > 0]
    return f"{(index(kind, rows, DATA.rows).search(queries, 1)[1] == 5).mean():.2f}"


def zeros(kind: str, built: Any) -> str:
    return ", ".join(map(str, built.search(np.zeros((1, DIMENSION), np.float32), 3)[1][0].tolist()))


def too_many(kind: str, built: Any) -> str:
    return str((built.search(DATA.queries[:1], ROWS + 2)[1] >= 0).sum())


def removed(kind: str, built: Any) -> str:
    held = index(kind, DATA.rows)
    try:
        held.remove_ids(faiss.IDSelectorRange(0, 10))
    except RuntimeError:
        return "refused"
    return str(held.search(DATA.rows[10:11], 1)[1][0, 0])


def batched(kind: str, built: Any) -> str:
    single = np.vstack([built.search(query[None], 20)[0] for query in DATA.queries])
    return "the same" if (single == built.search(DATA.queries, 20)[0]).all() else "last digits differ"


def with_itself(kind: str, built: Any) -> str:
    return f"{built.search(DATA.rows, 1)[0].max():.7f}"


#: By the name of the row in `benchmarks.research.retrieval`.
PROBES: dict[str, Callable[[str, Any], str]] = {
    "no filter": lambda kind, built: recall(built.search(DATA.queries, 20)[1], nearest(DATA.rows)),
    "left out": left_out,
    "alone": alone,
    "five": five,
    "reset": reset,
    "stretched": stretched,
    "bf16": rounded,
    "equal": equal,
    "holding nan": holding_nan,
    "asking nan": asking_nan,
    "holding inf": holding_inf,
    "zeros": zeros,
    "too many": too_many,
    "removed": removed,
    "batched": batched,
    "with itself": with_itself,
}


def memory_rows() -> dict[str, str]:
    """Return what the memory's index finds of the same data, rounded as it is stored."""
    dbs, asking = [f"db{number:02}" for number in DATA.db], [f"db{number:02}" for number in DATA.asking]
    rows, queries = (each.astype(np.float16).astype(np.float32) for each in (DATA.rows, DATA.queries))
    found = {}
    ways: dict[str, dict[str, Any]] = {
        "exact, FAISS": {"backend": "faiss"},
        "exact, NumPy": {"backend": "numpy"},
        "past `exact_up_to`, IVF": {"backend": "faiss", "exact_up_to": 0},
    }
    for name, options in ways.items():
        held = Index(rows, dbs, **options)
        hits = [hit for hit, _ in held.search(queries, asking, 20)]
        own = [hit for hit, _ in held.search(queries, asking, 20, "same")]
        most = Index(rows, ["big"] * (ROWS - 5) + ["small"] * 5, **options).search(queries, ["big"] * 200, 20)
        single = [held.search(query[None], [db], 20)[0] for query, db in zip(queries, asking, strict=True)]
        together = held.search(queries, asking, 20)
        bits = all(
            len(a[1]) == len(b[1]) and (a[1] == b[1]).all() for a, b in zip(single, together, strict=True)
        )
        found[name] = "; ".join(
            (
                f"left out {recall(hits, nearest(rows, FOREIGN, queries))}",
                f"alone {recall(own, nearest(rows, ~FOREIGN, queries))}",
                f"all but five left out: {np.mean([len(hit) for hit, _ in most]):.1f}",
                f"alone and in a batch {'the same' if bits else 'differ'}",
            )
        )
    return found


if __name__ == "__main__":
    faiss.omp_set_num_threads(1)
    indexes = {kind: index(kind, DATA.rows) for kind in KINDS}
    answers = {name: [probe(kind, indexes[kind]) for kind in KINDS] for name, probe in PROBES.items()}
    print(json.dumps([answers, memory_rows()]))
