"""A trace memory behind the server."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import finer_rewards as fr
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.errors import ConfigError
from finer_rewards.remote import RemoteMemory, wire
from finer_rewards.types import Status

pytest.importorskip("fastapi", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from servers import GOLD, SPEC, THOUGHT, completion, serving


@pytest.fixture
def memories(tmp_path: Path, root: Path):
    pytest.importorskip("numpy", reason="needs the extra [memory]")
    spec = "execution_match() + memory()"
    mine, theirs = (fr.TraceMemory.open(tmp_path / name, "hashing") for name in ("local", "served"))
    with SQLite(root, workers=1) as executor:
        scorer = fr.Scorer(spec, executor, memory=mine)
        with (
            serving(fr.Scorer(spec, executor, memory=theirs), token="secret") as (url, _),
            RemoteMemory(url, token="secret") as remote,
        ):
            yield scorer, fr.Scorer(spec, executor, memory=remote)
    mine.close()


def test_a_remote_memory_remembers_and_finds_what_a_local_one_does(memories) -> None:
    here, there = memories
    batch = [fr.Sample(completion(7), GOLD, "shop", "q1"), fr.Sample("SELECT id FROM singer", GOLD, "shop", "q2"),
             fr.Sample(completion(7), "SELECT broken", "shop", "q3")]  # fmt: skip
    later = [fr.Sample(completion(8), GOLD, db, "q9") for db in ("shop", "other")]
    for scorer in (here, there):
        assert [score.value for score in scorer.score(later)] == [1.0, 1.0]
    reports = [scorer.memory.remember(list(zip(e := scorer.observe(batch), scorer.grade(e), strict=True)), step=3)
               for scorer in (here, there)]  # fmt: skip
    assert reports[0] == reports[1] and reports[0].admitted == 1, reports
    # On the server it is seen from the next snapshot on.
    assert [score.value for score in there.score(later)] == [1.0, 1.0]
    assert here.memory.snapshot() == there.memory.snapshot()
    assert list(map(repr, there.score(later))) == list(map(repr, here.score(later)))
    assert there.score(later)[1].value > 1.0
    assert there.memory.describe() == here.memory.describe()
    assert there.signature == here.signature
    assert len(there.memory) == len(here.memory) == 1
    again = there.memory.remember(list(zip(e := there.observe(batch), there.grade(e), strict=True)))
    assert again.admitted == 0
    with pytest.raises(ConfigError, match="top_k"):
        there.memory.search(["x"], ["shop"], top_k=0)
    with pytest.raises(ConfigError, match="as many of each"):
        there.memory.search(["x"], [])
    with pytest.raises(ConfigError, match="pairs"):
        there.memory.remember([1])
    copy = pickle.loads(pickle.dumps(there.memory))
    assert copy.search([THOUGHT], [("other", "shop")]) == there.memory.search([THOUGHT], ["other"])
    copy.close()


def test_trl_learns_over_a_remote_memory(memories) -> None:
    _, there = memories
    reward = fr.adapters.trl.TRLReward(there, remember=True)
    batch = {"prompts": ["Who?"] * 2, "completions": [completion(7)] * 2, "gold": [GOLD] * 2}
    first, *later = [reward(db=[db] * 2, **batch) for db in ("shop", "other", "other")]
    assert first == [1.0, 1.0] and later[0][0] > 1.0
    assert len(there.memory) == 2  # one a database: each was offered twice


def test_adapters_find_a_server_by_its_address(local: SQLite, monkeypatch) -> None:
    from finer_rewards.adapters import openrlhf

    monkeypatch.setenv(wire.TOKEN, "secret")
    with serving(fr.Scorer(SPEC, local), token="secret") as (url, _):
        far, near = openrlhf.build(SPEC, root=url, patience=1.0), openrlhf.build(SPEC, root=local.root)
        for sql in (GOLD, "SELECT id FROM singer", "DROP TABLE singer"):
            asked = ([sql], [""], [{"gold": GOLD, "db": "shop"}])
            assert far(*asked) == near(*asked)
        with pytest.raises(ConfigError, match="or of Remote"):
            openrlhf.build(SPEC, root=url, workers=2)


def test_nobody_can_plant_a_trace(memories) -> None:
    _, there = memories
    liar = fr.Sample(completion(7).replace(GOLD, "SELECT id FROM singer"), GOLD, "shop", "q1")
    [evidence] = there.observe([liar])
    right = fr.Evidence(liar, evidence.answer, predicted=evidence.gold, gold=evidence.gold)
    report = there.memory.remember([(right, fr.Score(1.0))])
    assert not any(decision.verified for decision in report.decisions)


def test_a_memory_that_is_lost_is_the_systems_fault(memories) -> None:
    here, _ = memories
    lost = RemoteMemory("http://127.0.0.1:1", patience=0.2)
    [score] = fr.Scorer(here.reward, here.executor, memory=lost).score(
        [fr.Sample(completion(1), GOLD, "shop")]
    )
    assert (score.value, score.status) == (None, Status.memory_unavailable)
    [evidence] = here.observe([fr.Sample(completion(1), GOLD, "shop")])
    [decision] = lost.remember([(evidence, fr.Score(1.0))]).decisions
    assert "was lost" in decision.refused
    with pytest.raises(ConfigError, match="should be a server that runs"):
        lost.snapshot()
