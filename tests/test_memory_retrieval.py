"""What retrieval libraries do otherwise does not reach the memory: the last column of docs/engines/retrieval.md."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy", reason="the memory extra is not installed")

from finer_rewards.errors import DataError  # noqa: E402
from finer_rewards.memory import HashingEmbedder, TraceMemory  # noqa: E402
from finer_rewards.memory.embedders import CachedEmbedder  # noqa: E402
from finer_rewards.memory.index import Index, unit  # noqa: E402
from finer_rewards.types import Status  # noqa: E402

try:
    import faiss  # noqa: F401

    WAYS: list[dict[str, Any]] = [
        {"backend": "faiss"},
        {"backend": "numpy"},
        {"backend": "faiss", "exact_up_to": 0},
    ]
except ImportError:
    WAYS = [{"backend": "numpy"}]

PLANS = [
    f"{start} the {table} rows by the year and count how many of the {table} there are in each group of them."
    for start in ("Group", "Filter", "Order", "Join")
    for table in ("singer", "pet", "car")
]


class Odd:
    """An embedder whose vectors are changed before they are handed on."""

    fingerprint = "odd"

    def __init__(self, change: Any) -> None:
        self.change = change

    def embed(self, texts: Sequence[str]) -> Any:
        return np.stack(
            [
                self.change(row, text)
                for row, text in zip(HashingEmbedder(64).embed(texts), texts, strict=True)
            ]
        )


def clustered(count: int, dbs: int, seed: int) -> tuple[Any, list[str]]:
    random = np.random.default_rng(seed)
    kinds, homes = np.random.default_rng(0).normal(size=(2, 40, 32))
    home = np.repeat(np.arange(dbs), count // dbs)
    rows = kinds[random.integers(40, size=count)] + 0.7 * homes[home] + 0.7 * random.normal(size=(count, 32))
    return unit(rows), [f"db{number:02}" for number in home]


def filled(folder: Path, embedder: Any, **options: Any) -> TraceMemory:
    lines = [json.dumps({"text": text, "db": f"db{number % 3}"}) for number, text in enumerate(PLANS)]
    (folder / "traces.jsonl").write_text("\n".join(lines))
    memory = TraceMemory.open(folder / "memory", embedder, durable=False, **options)
    memory.import_(folder / "traces.jsonl")
    return memory


@pytest.mark.parametrize("way", WAYS)
def test_a_filter_that_leaves_five_rows_finds_them_all(way: dict[str, Any]) -> None:
    vectors, _ = clustered(2_000, 20, seed=1)
    index = Index(vectors, ["big"] * 1_995 + ["small"] * 5, **way)
    for rows, _ in index.search(clustered(40, 20, seed=2)[0], ["big"] * 40, 20):
        assert sorted(rows.tolist()) == [1995, 1996, 1997, 1998, 1999]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scope", ["other", "same"])
def test_a_filter_costs_no_recall(way: dict[str, Any], scope: Any) -> None:
    vectors, dbs = clustered(6_000, 30, seed=1)
    queries, asking = clustered(90, 30, seed=2)
    found = Index(vectors, dbs, **way).search(queries, asking, 20, scope)
    own = np.array(dbs)[None] == np.array(asking)[:, None]
    products = np.where(own == (scope == "same"), queries.astype(float) @ vectors.astype(float).T, -np.inf)
    best = np.argsort(-products, axis=1)[:, :20]
    shares = [
        len({*rows.tolist()} & {*line}) / 20 for (rows, _), line in zip(found, best.tolist(), strict=True)
    ]
    # With one list probed, as FAISS does when a filter comes without nprobe, IVF finds half of them.
    assert np.mean(shares) > (0.95 if way.get("exact_up_to") == 0 and scope == "other" else 0.999)


@pytest.mark.parametrize("way", WAYS)
def test_ties_zeros_and_more_than_there_are(way: dict[str, Any]) -> None:
    vectors, dbs = clustered(300, 3, seed=1)
    vectors = vectors.copy()
    vectors[100:110] = vectors[100]
    index = Index(vectors, dbs, **way)
    [(_, values)] = index.search(vectors[100:101], ["db00"], 3)
    crowd = np.vstack([clustered(300, 3, seed=2)[0], vectors[100:101]])
    [*_, (_, together)] = index.search(crowd, [*dbs, "db00"], 3)
    assert len(set(values.tolist())) == 1
    assert values.tolist() == together.tolist()
    [(rows, none)] = index.search(np.zeros((1, 32), np.float32), ["db00"], 10_000)
    assert sorted(rows.tolist()) == list(range(100, 300))
    assert set(none.tolist()) == {0.0}
    assert max(values.max() for _, values in index.search(vectors, dbs, 1, "same")) <= 1.0


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite_are_neither_stored_nor_searched_with(
    tmp_path: Path, wrong: float
) -> None:
    def spoilt(row: Any, text: str) -> Any:
        return np.where(np.arange(len(row)) == 7, wrong, row) if "pet" in text else row

    # Without masks, as masking would take the word away that spoils the vector.
    plain: dict[str, Any] = {"delexicalise": False, "centre": False}
    with pytest.raises(DataError, match="not finite"):
        filled(tmp_path, Odd(spoilt), **plain)
    assert CachedEmbedder(Odd(spoilt)).vectors(["a pet", "a car"])[0] is None
    with TraceMemory.open(tmp_path / "other", Odd(spoilt), durable=False, **plain) as memory:
        recalls = memory.search(["Count the pet rows.", "Count the car rows."], ["a", "a"])
    assert [recall.status for recall in recalls] == [Status.memory_unavailable, Status.ok]


@pytest.mark.parametrize("name", ["longer", "shorter", "bf16"])
def test_vectors_of_another_length_change_nothing(tmp_path: Path, name: str) -> None:
    def bf16(row: Any, text: str) -> Any:
        return ((row.view(np.uint32) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)

    changes = {
        "longer": lambda row, text: row * (1 + len(text)),
        "shorter": lambda row, text: row / (1 + len(text)),
        "bf16": bf16,
    }
    recalls = []
    for folder, change in (("plain", lambda row, text: row), ("changed", changes[name])):
        (tmp_path / folder).mkdir()
        with filled(tmp_path / folder, Odd(change)) as memory:
            recalls.append(memory.search(PLANS, ["elsewhere"] * len(PLANS)))
    for plain, changed in zip(*recalls, strict=True):
        assert changed.verified == pytest.approx(plain.verified, abs=5e-3)
        assert changed.centroid == pytest.approx(plain.centroid, abs=5e-3)


def test_an_index_never_changes(tmp_path: Path) -> None:
    with filled(tmp_path, "hashing:64") as memory:
        held = memory._folder.state.snapshot()
        before = held.verified.index.vectors.copy()
        (tmp_path / "more.jsonl").write_text(json.dumps({"text": "Sort the boats by age.", "db": "aa"}))
        memory.import_(tmp_path / "more.jsonl")
        assert (held.verified.index.vectors == before).all()
        assert memory._folder.state.snapshot() is not held
        assert len(memory._folder.state.snapshot().verified.traces) == len(held.verified.traces) + 1


LIBRARY = '''
import numpy as np

class SentenceTransformer:
    """As the real one: a prompt that is left out is the model's default."""

    def __init__(self, model, *, truncate_dim=None, device=None, trust_remote_code=False, model_kwargs=None):
        pass

    def encode(self, texts, *, prompt=None, **options):
        prompt = "query: " if prompt is None else prompt
        return np.array([[len(prompt), len(text)] for text in texts], dtype=np.float32)
'''


@pytest.mark.parametrize(("prompt", "length"), [(None, 0), ("", 0), ("plan: ", 6)])
def test_the_model_s_default_prompt_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prompt: str | None, length: int
) -> None:
    (tmp_path / "sentence_transformers").mkdir()
    (tmp_path / "sentence_transformers" / "__init__.py").write_text(LIBRARY)
    for name in [name for name in sys.modules if name.partition(".")[0] == "sentence_transformers"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    from finer_rewards.memory.sentence_embedder import SentenceEmbedder

    embedder = SentenceEmbedder("folder/of-a-model", prompt=prompt)
    assert embedder.embed(["count"]).tolist() == [[length, 5]]
    assert f"prompt={prompt or ''}|" in embedder.fingerprint
    monkeypatch.delitem(sys.modules, "sentence_transformers")
