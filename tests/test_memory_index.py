"""The index: exact, the same with FAISS and NumPy, and the filter is right."""

from __future__ import annotations

from typing import Any

import pytest
from bounds import examples
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy", reason="the memory extra is not installed")

from finer_rewards.memory import index as module  # noqa: E402
from finer_rewards.memory.index import Index, unit  # noqa: E402

try:
    import faiss  # noqa: F401

    BACKENDS = ["faiss", "numpy"]
except ImportError:
    BACKENDS = ["numpy"]


def made(seed: int, sizes: list[int], dimension: int = 8) -> tuple[Any, list[str]]:
    random = np.random.default_rng(seed)
    dbs = [f"db{number}" for number, size in enumerate(sizes) for _ in range(size)]
    centres = random.standard_normal((len(sizes), dimension))
    rows = [
        centres[number] * 2 + random.standard_normal(dimension)
        for number, size in enumerate(sizes)
        for _ in range(size)
    ]
    return unit(np.array(rows).reshape(len(dbs), dimension)), dbs


def by_definition(index: Index, dbs: list[str], query: Any, db: str, top_k: int, scope: str) -> list[float]:
    allowed = [row for row, own in enumerate(dbs) if scope == "any" or (scope == "same") == (own == db)]
    return sorted(
        (float(index.vectors[row].astype(float) @ query.astype(float)) for row in allowed), reverse=True
    )[:top_k]


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=examples(60), deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(0, 60), max_size=6),
    top_k=st.integers(1, 30),
    scope=st.sampled_from(["other", "same", "any"]),
    asked=st.lists(st.integers(0, 7), max_size=12),
    block=st.sampled_from([8, 40, 8192]),
    copies=st.booleans(),
    owned=st.sampled_from([0, 20, 512]),
)
def test_search_is_the_definition(
    backend: Any,
    seed: int,
    sizes: list[int],
    top_k: int,
    scope: Any,
    asked: list[int],
    block: int,
    copies: bool,
    owned: int,
) -> None:
    vectors, dbs = made(seed, sizes)
    queries, _ = made(seed + 1, [1] * len(asked))
    if copies and len(vectors):
        vectors[:] = vectors[0]  # all alike: nothing stands out, and every row ties
        queries[::2] = 0.0
    with pytest.MonkeyPatch.context() as small:
        small.setattr(module, "_BLOCK", block)
        small.setattr(module, "_SAMPLE", block)
        small.setattr(module, "_BATCH", 5)
        small.setattr(module, "_OWN_AT_MOST", owned)
        index = Index(vectors, dbs, backend=backend)
        check_search(index, dbs, queries, top_k, scope, asked)


def check_search(
    index: Index, dbs: list[str], queries: Any, top_k: int, scope: Any, asked: list[int]
) -> None:
    names = [f"db{number}" for number in asked]
    found = index.search(queries, names, top_k, scope)
    assert len(found) == len(asked)
    for place, (rows, similarities) in enumerate(found):
        expected = by_definition(index, dbs, queries[place], names[place], top_k, scope)
        assert similarities.tolist() == pytest.approx(expected, abs=1e-12)
        assert len(set(rows.tolist())) == len(rows)


@pytest.mark.skipif(len(BACKENDS) == 1, reason="needs faiss")
@pytest.mark.parametrize(("rows", "by"), [(20_000, "faiss"), (20_001, "numpy")])
def test_faiss_finds_the_candidates_where_people_are(
    rows: int, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, dbs = made(8, [rows // 2, rows - rows // 2])
    index = Index(vectors, dbs)
    asked: list[str] = []
    monkeypatch.setattr(index, "_flat_rows", lambda *given: asked.append("faiss") or _no_rows(*given))
    monkeypatch.setattr(index, "_exact_rows", lambda *given: asked.append("numpy") or _no_rows(*given))
    index.search(vectors[:2], ["db0", "db1"], 3)
    assert asked == [by]


def _no_rows(queries: Any, owns: Any, wanted: int) -> Any:
    return np.full((len(queries), wanted), -1)


@pytest.mark.skipif(len(BACKENDS) == 1, reason="needs faiss")
@pytest.mark.parametrize("scope", ["other", "same", "any"])
def test_faiss_and_numpy_agree_bit_for_bit(scope: Any) -> None:
    vectors, dbs = made(1, [300, 9000, 40, 1, 700], dimension=32)
    queries, _ = made(2, [40] * 5, dimension=32)
    names = [f"db{number // 40}" for number in range(200)]
    results = [
        Index(vectors, dbs, backend=backend).search(queries, names, 20, scope)
        for backend in ("faiss", "numpy")
    ]
    for (rows, values), (other_rows, other_values) in zip(*results, strict=True):
        assert rows.tolist() == other_rows.tolist()
        assert values.tolist() == other_values.tolist()


@pytest.mark.skipif(len(BACKENDS) == 1, reason="needs faiss")
def test_a_search_does_not_depend_on_its_batch_where_own_rows_crowd() -> None:
    vectors, dbs = made(6, [3000] * 6, dimension=48)
    index = Index(vectors.astype(np.float16).astype(np.float32), dbs)
    queries = made(7, [20] * 6, dimension=48)[0].astype(np.float16).astype(np.float32)
    names = [f"db{number // 20}" for number in range(120)]
    for scope in ("other", "same", "any"):
        together = index.search(queries, names, 20, scope)  # type: ignore[arg-type]
        for place in range(0, 120, 17):
            [(_, alone)] = index.search(queries[place : place + 1], names[place : place + 1], 20, scope)  # type: ignore[arg-type]
            assert alone.tolist() == together[place][1].tolist()


@pytest.mark.skipif(len(BACKENDS) == 1, reason="needs faiss")
def test_past_the_stated_size_faiss_searches_lists_and_still_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, dbs = made(3, [400] * 6, dimension=16)
    exact, approximate = (Index(vectors, dbs, exact_up_to=limit) for limit in (None, 1000))
    assert (exact.kind, approximate.kind) == ("exact", "faiss-ivf")
    queries, _ = made(4, [10] * 6, dimension=16)
    names = [f"db{number // 10}" for number in range(60)]
    shared = total = 0
    for place, (near, far) in enumerate(
        zip(exact.search(queries, names, 20), approximate.search(queries, names, 20), strict=True)
    ):
        assert all(dbs[row] != names[place] for row in far[0])
        shared += len(set(near[0].tolist()) & set(far[0].tolist()))
        total += 20
    assert shared / total > 0.8
    monkeypatch.setitem(module._loaded_in, "faiss", -1)  # as in a process forked from the one that loaded it
    assert approximate.kind == "exact"
    for (_, near), (_, far) in zip(
        exact.search(queries, names, 20), approximate.search(queries, names, 20), strict=True
    ):
        assert near.tolist() == far.tolist()


def test_rows_of_a_database_must_lie_together() -> None:
    vectors, _ = made(5, [3])
    with pytest.raises(ValueError, match="side by side"):
        Index(vectors, ["a", "b", "a"])
