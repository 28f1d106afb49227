"""SQL on several nodes: the same executions as on one, whatever becomes of the nodes. On a real local Ray cluster."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import json
import math
import pickle
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bounds import LONG

import finer_rewards as fr
from finer_rewards.comparing import modes
from finer_rewards.comparing.partial_results import ResultPair
from finer_rewards.errors import ConfigError, MissingExtraError
from finer_rewards.executing import pooled
from finer_rewards.executing.protocol import Executor, Query
from finer_rewards.executing.stopping import STOP, Stop, StoppedError
from finer_rewards.remote import ray_executor as module
from finer_rewards.remote import ray_node
from finer_rewards.remote.ray_dispatch import Dispatch
from finer_rewards.remote.ray_executor import RayExecutor
from finer_rewards.types import Status

SLOW = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT max(i) + {} FROM n"

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


def make_database(path: Path, names: tuple[str, ...] = ("Joe", "Rose")) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE singer (name, age)")
    connection.executemany("INSERT INTO singer VALUES (?, 30)", [(name,) for name in names])
    connection.commit()
    connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_database(tmp_path / "concert.sqlite")
    make_database(tmp_path / "pets.sqlite", ("Rex",))
    return tmp_path


def test_arguments_are_checked(folder: Path) -> None:
    with pytest.raises(ConfigError, match="should be an executor"):
        RayExecutor(fr.SQLite)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="check"):
        RayExecutor(fr.SQLite(folder), check="contents")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="patience"):
        RayExecutor(fr.SQLite(folder), patience=0)


def test_it_is_an_executor_with_the_signature_of_the_one_it_spreads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    local = fr.SQLite(folder.name, timeout=3, workers=1)
    spread = RayExecutor(local, check="size", patience=7)
    assert isinstance(spread, Executor)
    assert spread.describe() == local.describe()
    again = pickle.loads(pickle.dumps(spread))
    assert repr(again) == repr(spread)
    assert again.executor.root == str(folder)
    signatures = [fr.Scorer("execution_match()", executor).signature.digest for executor in (local, spread)]
    assert signatures[0] == signatures[1]
    assert RayExecutor(fr.SQLite(folder, deadline="relative")).deadline == "relative"


def test_without_ray_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"finer-rewards\[ray\]"):
        RayExecutor(fr.SQLite(folder)).execute("SELECT 1", "concert")


def test_a_folder_that_differs_is_told_by_its_first_difference(folder: Path) -> None:
    whole = ray_node.files(folder, whole=True)
    assert sorted(whole) == ["concert.sqlite", "pets.sqlite"]
    make_database(folder / "other" / "concert.sqlite", ("Joe", "Ross"))
    other = ray_node.files(folder / "other", whole=True)
    assert ray_node.difference(whole, other) == "another 'concert.sqlite'"
    assert ray_node.difference(whole, {"concert.sqlite": whole["concert.sqlite"]}) == "no 'pets.sqlite'"
    assert ray_node.difference(whole, {**whole, "x.db": ""}) == "'x.db', which the first node has not"
    assert ray_node.difference(whole, whole) == ""
    same_size = ray_node.files(folder / "other", whole=False)["concert.sqlite"]
    assert same_size == ray_node.files(folder, whole=False)["concert.sqlite"]


class FakeRay:
    """Just enough of Ray to deal a batch out: what a node answers is a list, an error, or nothing for ever."""

    class exceptions:  # noqa: N801
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            cause = ValueError("broken executor")

    def wait(
        self, references: list[Any], num_returns: int = 1, timeout: float = 0.0
    ) -> tuple[list[Any], list[Any]]:
        done = [reference for reference in references if "never" not in reference]
        if not done:
            time.sleep(0.01)
        return done[:num_returns], []

    def get(self, reference: Any, timeout: float) -> Any:
        if isinstance(reference[0], Exception):
            raise reference[0]
        return list(reference[0])


class FakeNode:
    def __init__(self, answers: Any, alive: bool = True) -> None:
        self.parts: list[Any] = []
        self.answers, self.alive = answers, alive
        self.run = self.pulse = self.stop = self
        self.stopped: list[str] = []

    def options(self, **_: Any) -> FakeNode:
        return self

    def remote(self, call: str = "", part: Any = None) -> Any:
        if part is None:
            self.stopped += [call] if call else []
            return Box(["beat" if self.alive else "never"])
        self.parts.append(part)
        answer = self.answers(part)
        return Box([answer])


class Box(list):  # type: ignore[type-arg]
    """A reference: hashable by identity."""

    __hash__ = object.__hash__  # type: ignore[assignment]
    __eq__ = object.__eq__


def right(part: Any) -> Any:
    return [fr.Execution(Status.ok, ("sql",), ((query.sql,),)) for query in part]


def deal(nodes: dict[str, FakeNode], patience: float = 0.05) -> Any:
    dropped: list[str] = []
    queries = [Query(f"SELECT {number}", "db") for number in range(12)]
    parts = [range(start, start + 2) for start in range(0, 12, 2)]

    def lost(why: str) -> fr.Execution:
        return fr.Execution(Status.unavailable, error=why)

    found = Dispatch(FakeRay(), nodes, "run", queries, parts, lost, patience, dropped.append).run()
    assert set(found) == set(range(12))
    return {queries[place]: run for place, run in found.items()}, dropped


def test_parts_go_to_the_node_with_the_least() -> None:
    nodes = {"a": FakeNode(right), "b": FakeNode(right)}
    found, dropped = deal(nodes)
    assert all(run.rows == ((query.sql,),) for query, run in found.items())
    assert sorted(len(node.parts) for node in nodes.values()) == [3, 3]
    assert dropped == []


@pytest.mark.parametrize("how", ["raises", "is silent"])
def test_what_a_lost_node_had_goes_to_the_others(how: str) -> None:
    lost = FakeRay.exceptions.RayError()
    nodes = {
        "a": FakeNode(lambda part: lost if how == "raises" else "never", alive=False),
        "b": FakeNode(right),
    }
    found, dropped = deal(nodes)
    assert all(run.rows == ((query.sql,),) for query, run in found.items())
    assert set(dropped) == {"a"}


@pytest.mark.parametrize("how", ["raises", "is silent"])
def test_without_a_node_the_system_is_at_fault(how: str) -> None:
    lost = FakeRay.exceptions.RayError()
    nodes = {
        name: FakeNode(lambda part: lost if how == "raises" else "never", alive=False) for name in "abcd"
    }
    found, dropped = deal(nodes)
    assert {run.status for run in found.values()} == {Status.unavailable}
    assert {run.status.blame for run in found.values()} == {"system"}
    assert set(dropped) <= set("abcd")


def test_an_executor_that_breaks_is_told() -> None:
    broken = FakeRay.exceptions.RayTaskError()
    found, dropped = deal({"a": FakeNode(lambda part: broken)})
    assert all("broken executor" in run.error for run in found.values())
    assert dropped == []


def test_a_call_that_nobody_waits_for_is_stopped_on_every_node() -> None:
    stop = Stop()
    threading.Timer(0.1, stop.set).start()
    nodes = {name: FakeNode(lambda part: "never") for name in "ab"}

    def run() -> None:
        STOP.set(stop)
        with pytest.raises(StoppedError):
            deal(nodes, patience=60)

    contextvars.copy_context().run(run)
    assert [len(node.stopped) for node in nodes.values()] == [1, 1]


def test_a_node_ends_the_queries_of_a_call_and_of_no_other(folder: Path) -> None:
    endless = Query(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n", "pets"
    )
    with fr.SQLite(folder, workers=2, timeout=10 * LONG) as executor, ThreadPoolExecutor(2) as threads:
        node = ray_node.Node(executor)
        began = time.monotonic()
        running = threads.submit(node.run, "mine", [endless])
        other = threads.submit(node.run, "yours", [Query(SLOW.format(0), "concert")])
        time.sleep(0.2)
        node.stop("mine")
        assert running.result(LONG) == []
        assert other.result(LONG)[0].rows == ((300000,),)
        assert node.run("mine", [endless]) == []  # it came late
        assert time.monotonic() - began < LONG


class Here:
    """A node in this process: what travels is pickled all the same."""

    def __init__(self, node: ray_node.Node) -> None:
        self.run, self.settle = Here.Method(node.run), Here.Method(node.settle)

    class Method:
        def __init__(self, work: Any) -> None:
            self.work = work

        def remote(self, call: str, asked: Any) -> Any:
            return Box([pickle.loads(pickle.dumps(self.work(call, pickle.loads(pickle.dumps(asked)))))])


def test_large_results_are_compared_on_the_nodes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooled, "SHIP", 1)
    gold = "SELECT name, age FROM singer"
    texts = [
        gold,
        f"{gold} ORDER BY name DESC",
        "SELECT name, age + 0.0 FROM singer",
        "SELECT name, 31 FROM singer",
    ]
    samples = [fr.Sample(text, gold, "concert") for text in texts]
    with fr.SQLite(folder, workers=1, max_rows=1) as local:
        spread = RayExecutor(local)
        monkeypatch.setattr(module, "connected_ray", FakeRay)
        monkeypatch.setattr(spread, "_look", lambda: {"a": Here(ray_node.Node(local))})
        for executor in (local, spread):
            scorer = fr.Scorer("execution_match(mode='strict')", executor, neighbours=0)
            assert [score.value for score in scorer.score(samples)] == [1, 1, 1, 0]
        monkeypatch.setattr(spread, "_look", dict)
        (open_still,) = spread.settle([ResultPair("concert", ROWS, ROWS, modes()["strict"])])
        assert open_still.comparison is None and "no Ray node" in open_still.reason


ROWS = fr.Execution(Status.ok, ("a",), ((1,),), truncated=True)


def test_rows_with_nan_compare_as_local_ones_do() -> None:
    nan = float("nan")
    sent = pickle.loads(
        pickle.dumps(fr.Execution(Status.ok, ("a",), ((nan, 1), (2.0, nan)), order=((nan,),)))
    )
    assert sent.rows != fr.Execution(Status.ok, ("a",), ((math.nan, 1), (2.0, math.nan))).rows
    assert module._one_nan(sent).rows == ((math.nan, 1), (2.0, math.nan))
    assert module._one_nan(sent).order == ((math.nan,),)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Three nodes on this machine, small ones; nothing of them is left afterwards."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 << 20}
    made = Cluster()
    try:
        for number in range(3):
            for left in (2, 1, 0):  # a busy machine may miss the 30 seconds that Ray allows a node to start
                try:
                    made.add_node(**small, **({} if number else {"include_dashboard": False}))
                    break
                except Exception:
                    if not left:
                        raise
        ray.init(address=made.address, log_to_driver=False)
        made.wait_for_nodes()
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
        gc.collect()  # Ray leaves its processes to the collector, which would complain after the test


def samples(count: int) -> list[fr.Sample]:
    predictions = [
        "SELECT name FROM singer",
        "SELECT age FROM singer",
        "SELECT nme FROM singer",
        "DROP TABLE singer",
    ]
    return [
        fr.Sample(
            f"<think>Number {number} of them.</think>{predictions[number % 4]} -- {number // 8}",
            gold="SELECT name FROM singer ORDER BY name",
            db=("concert", "pets", "nowhere")[number % 3],
        )
        for number in range(count)
    ]


def as_text(scores: list[fr.Score]) -> str:
    return json.dumps([[score.value, score.reason, score.status.name, score.explain()] for score in scores])


class TrainerActor:
    """Rewards as a trainer's own actor computes them, such as verl's reward loop worker."""

    def __init__(self, reward: str, executor: Executor) -> None:
        self.scorer = fr.Scorer(reward, executor)

    def score(self, batch: list[fr.Sample]) -> tuple[str, tuple[str, ...]]:
        text = as_text(self.scorer.score(batch))
        return text, tuple(sorted(self.scorer.executor._nodes))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_scores_are_those_of_one_machine_and_a_lost_node_changes_nothing(
    cluster: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SMALLEST_PART", 4)
    ray = module.connected_ray()
    local = fr.SQLite(folder, workers=1, timeout=120)
    spread = RayExecutor(local)
    reward = "2 * execution_match() + atomic_f1()"
    with fr.Scorer(reward, local) as here, fr.Scorer(reward, spread) as there:
        batch = samples(48)
        assert as_text(there.score(batch)) == as_text(here.score(batch))
        assert there.signature.digest == here.signature.digest
        assert len(spread._nodes) == 3
        assert spread.schema("concert") == local.schema("concert")
        with pytest.raises(ConfigError, match="nowhere"):
            spread.schema("nowhere")

        # A second process, or another object, finds the same actors.
        twin = pickle.loads(pickle.dumps(spread))
        assert twin.execute("SELECT 1 FROM singer", "pets").rows == ((1,),)
        assert {node: actor._actor_id for node, actor in twin._nodes.items()} == {
            node: actor._actor_id for node, actor in spread._nodes.items()
        }

        # Actors of a trainer that started Ray, one a node, each with a scorer of its own, share them as well.
        ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        trainers = [
            ray.remote(num_cpus=0, scheduling_strategy="SPREAD")(TrainerActor).remote(reward, spread)
            for _ in range(3)
        ]
        replies = ray.get([trainer.score.remote(batch) for trainer in trainers], timeout=120)
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
        assert [text for text, _ in replies] == [as_text(here.score(batch))] * 3
        assert {nodes for _, nodes in replies} == {tuple(sorted(spread._nodes))}
        assert len(ray.util.list_named_actors(all_namespaces=True)) == 3
        for trainer in trainers:
            ray.kill(trainer)

        # What nobody waits for any more holds up no node.
        endless = [
            fr.Sample(f"{ENDLESS} WHERE i > {number}", gold="SELECT name FROM singer", db="pets")
            for number in range(9)
        ]

        async def cancelled() -> None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(there.ascore(endless), 2)

        began = time.monotonic()
        asyncio.run(cancelled())
        assert as_text(there.score(samples(24))) == as_text(here.score(samples(24)))
        assert time.monotonic() - began < LONG

        # One node is killed while the batch runs.
        queries = [Query(SLOW.format(number), ("concert", "pets")[number % 2]) for number in range(24)]
        victim = cluster.list_all_nodes()[1]
        killer = threading.Timer(0.2, cluster.remove_node, (victim,), {"allow_graceful": False})
        killer.start()
        started = time.monotonic()
        found = spread.execute_many(queries)
        assert time.monotonic() - started > 0.2, "the batch was over before the node was lost"
        killer.join()
        assert len(spread._nodes) == 2
        assert [(run.status, run.rows) for run in found] == [
            (Status.ok, ((300000 + number,),)) for number in range(24)
        ]

        # Those that are left go on; when they are gone as well, nobody is to blame but the system.
        assert as_text(there.score(samples(30))) == as_text(here.score(samples(30)))
        for actor in spread._nodes.values():
            ray.kill(actor)
        lost = RayExecutor(local)
        lost._nodes, lost._looked = dict(spread._nodes), time.monotonic()
        [run] = lost.execute_many([Query("SELECT 1 FROM singer", "concert")])
        assert run.status is Status.unavailable
        # Actors that died are made anew at the next look.
        time.sleep(1.1)
        assert lost.execute("SELECT 2 FROM singer", "pets").rows == ((2,),)
        lost.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_node_with_other_databases_is_named(
    cluster: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(ray_node.Node):
        """As if the folder were another one on each node."""

        def content(self, check: str) -> tuple[dict[str, str], dict[str, object]]:
            found, described = super().content(check)
            import ray

            return {**found, "pets.sqlite": ray.get_runtime_context().get_node_id()}, described

    Elsewhere.__module__ = "__main__"  # so that it travels by value
    monkeypatch.setattr(module, "Node", Elsewhere)
    spread = RayExecutor(fr.SQLite(folder, workers=1))
    with pytest.raises(ConfigError, match=r"same on every node, but node .* has another 'pets.sqlite'"):
        spread.execute("SELECT 1 FROM singer", "concert")
    spread.close()
