"""A memory in a Ray actor: the same as a local one for every client; lost, it is nobody's zero. On a real local Ray."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("numpy", reason="the memory extra is not installed")

import finer_rewards as fr
from finer_rewards.errors import ConfigError, MissingExtraError
from finer_rewards.memory import TraceMemory
from finer_rewards.memory_protocol import LearningMemory
from finer_rewards.remote.ray_memory import RayMemory
from finer_rewards.types import Answer, Evidence, Execution, Sample, Score, Status

WORDS = (
    "so the table singer holds one row for each singer and the column age is a number which can be compared, "
    "therefore the query keeps the singer rows whose age passes the test and returns the name of the singer"
)


def observed(topic: str, db: str) -> tuple[Evidence, Score]:
    thought = f"We filter the singer by {' '.join(f'{topic}{number}' for number in range(20))} {WORDS}"
    gold = Execution(Status.ok, ("name",), (("Joe",), ("Rose",)), tables=frozenset({"singer"}))
    sql = "SELECT name FROM singer"
    sample = Sample(f"<think>{thought}</think>{sql}", gold=sql, db=db, question=topic)
    return Evidence(sample, Answer(thought, sql), predicted=gold, gold=gold), Score(1.0)


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"finer-rewards\[ray\]"):
        RayMemory("traces", tmp_path, "hashing")


@pytest.fixture
def ray() -> Iterator[Any]:
    package = pytest.importorskip("ray", reason="ray is not installed")
    options = {"num_cpus": 2, "object_store_memory": 80 << 20, "include_dashboard": False}
    for left in (2, 1, 0):  # a busy machine may miss the 30 seconds that Ray allows a node to start
        try:
            package.init("local", **options, log_to_driver=False)
            break
        except Exception:
            if not left:
                raise
            package.shutdown()
    yield package
    package.shutdown()
    gc.collect()  # Ray leaves its processes to the collector, which would complain after the test


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_all_clients_share_one_memory(ray: Any, tmp_path: Path) -> None:
    first = [
        observed(topic, f"db{place % 3}") for place, topic in enumerate(("alpha", "beta", "gamma", "delta"))
    ]
    second = [*first[2:], observed("epsilon", "db0"), observed("zeta", "db1")]
    asked = [pair[0].answer.thought or "" for pair in [*first, *second]]
    dbs = [f"db{place % 4}" for place in range(len(asked))]

    local = TraceMemory.open(tmp_path / "local", "hashing")
    for batch in (first, second):
        local.remember(batch)

    here = RayMemory("traces", tmp_path / "shared", "hashing", durable=False)
    assert isinstance(here, LearningMemory)
    empty = here.search(asked, dbs)

    @ray.remote(num_cpus=0)
    def there(memory: RayMemory) -> tuple[int, int]:
        """Another client, in another process."""
        return memory.remember(second, step=1).admitted, len(memory)

    assert here.remember(first, step=1, signature="s").admitted == 4
    assert here.search(asked, dbs) == empty  # until somebody takes a snapshot
    assert ray.get(there.remote(here)) == (2, 0)
    assert here.snapshot() == local.digest
    assert len(here) == len(local) == 6
    assert here.describe() == local.describe()
    assert here.stats()["databases"] == local.stats()["databases"]
    assert here.search(asked, dbs, top_k=3) == local.search(asked, dbs, top_k=3)
    assert RayMemory("traces").search(asked[:1], dbs[:1]) == local.search(asked[:1], dbs[:1])
    with pytest.raises(ConfigError, match="top_k"):
        here.search(asked, dbs, top_k=0)

    # The actor dies: no number for anyone, and what was remembered is on the disk.
    twin = pickle.loads(pickle.dumps(here))
    ray.kill(here._actor)
    with fr.Scorer("memory(executed=False)", memory=twin) as scorer:
        score = scorer.score_one(first[0][0].sample)
    assert (score.value, score.status) == (None, Status.memory_unavailable)
    assert "was lost" in score.reason
    assert "was lost" in next(iter(here.remember(first).refused))
    with pytest.raises(ConfigError, match="was lost"):
        here.snapshot()
    with pytest.raises(ConfigError, match="there is no 'elsewhere'"):
        RayMemory("elsewhere")
    with pytest.raises(ConfigError, match=r"hashing:1024.*hashing:64"):
        RayMemory("again", tmp_path / "shared", "hashing:64")
    again = RayMemory("again", tmp_path / "shared", "hashing")
    assert again.describe() == local.describe()
    assert again.search(asked, dbs) == local.search(asked, dbs)
